import pytest

from deploy.docs.blocks import fill, replaced

DOCUMENT = "before\n<!-- x:start -->\nold\nlines\n<!-- x:end -->\nafter\n"


def test_only_the_block_changes():
    assert replaced(DOCUMENT, "x", "new\n") == "before\n<!-- x:start -->\nnew\n<!-- x:end -->\nafter\n"


def test_filling_twice_is_filling_once():
    once = replaced(DOCUMENT, "x", "new")
    assert replaced(once, "x", "new") == once


def test_a_backslash_in_the_output_stays_a_backslash():
    assert "\\1 \\n" in replaced(DOCUMENT, "x", "\\1 \\n")


@pytest.mark.parametrize("document", ["no block", DOCUMENT + DOCUMENT])
def test_a_missing_or_doubled_block_is_refused(document):
    with pytest.raises(LookupError, match="x:start"):
        replaced(document, "x", "new")


def test_a_file_is_rewritten(tmp_path):
    path = tmp_path / "document.md"
    path.write_text(DOCUMENT)
    fill(path, "x", "new")
    assert path.read_text() == replaced(DOCUMENT, "x", "new")
