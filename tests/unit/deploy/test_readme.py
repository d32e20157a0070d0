import pytest

from deploy.readme import marked_command


def write(tmp_path, text):
    path = tmp_path / "README.md"
    path.write_text(text)
    return path


def test_the_marked_command_is_the_line_of_the_next_block(tmp_path):
    readme = write(tmp_path, "```sh\nother\n```\n<!-- command: demo -->\n```sh\nmake demo\n```\n")
    assert marked_command("demo", readme) == "make demo"


@pytest.mark.parametrize(
    "text",
    [
        "make demo\n",
        "<!-- command: demo -->\n```sh\nmake a\nmake b\n```\n",
        "<!-- command: demo -->\n```sh\nmake a\n```\n<!-- command: demo -->\n```sh\nmake b\n```\n",
        "<!-- command: test -->\n```sh\nmake test\n```\n",
    ],
)
def test_anything_but_one_marked_line_is_refused(tmp_path, text):
    with pytest.raises(LookupError, match="demo"):
        marked_command("demo", write(tmp_path, text))


def test_the_readme_of_this_project_marks_both_commands():
    assert marked_command("demo") == "make demo"
    assert marked_command("test") == "make test"
