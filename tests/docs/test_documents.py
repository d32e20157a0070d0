import importlib.metadata
import re
import subprocess
from pathlib import Path

import pytest

from deploy.demo.foreground import READY
from deploy.docs.blocks import replaced
from models.training.config import markdown as training_table
from service.metrics import markdown as metrics_table
from service.settings import markdown as settings_table

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
CODE = re.compile(r"```sh\n(.*?)```", re.DOTALL)


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def shell_lines() -> list[tuple[str, str]]:
    """Every line of every shell block, with its document."""
    return [
        (name_of(document), line)
        for document in DOCUMENTS
        for block in CODE.findall(document.read_text())
        for line in block.splitlines()
    ]


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_relative_link_leads_somewhere(document):
    text = document.read_text()
    links = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'href="([^"]+)"', text)
    local = [link.partition("#")[0] for link in links if not re.match(r"[a-z]+:", link)]
    assert [link for link in local if link and not (document.parent / link).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_anchor_names_a_heading(document):
    text = document.read_text()
    headings = {
        re.sub(r"[^\w\- ]", "", title).strip().lower().replace(" ", "-")
        for title in re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= headings


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_every_make_command_of_the_documents_is_a_target():
    named = {
        target
        for document in DOCUMENTS
        for target in re.findall(r"(?:`|^)make ([a-z][a-z-]*)", document.read_text(), re.MULTILINE)
    }
    assert {"demo", "test"} <= named
    assert named <= make_targets()


def test_make_alone_lists_every_target_with_a_line():
    told = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    listed = dict(re.findall(r"^  make (\S+) +(\S.*)$", told, re.MULTILINE))
    assert set(listed) == make_targets()
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony is not None
    assert set(phony[1].split()) == set(listed)


def test_every_cascada_command_of_the_documents_is_a_verb():
    verbs = {entry.name for entry in importlib.metadata.entry_points(group="cascada.verbs")}
    named = {line.split()[1] for _, line in shell_lines() if line.startswith("cascada ")}
    assert {"train", "export", "serve"} <= named
    assert named <= verbs


@pytest.mark.parametrize(
    ("document", "block", "table"),
    [
        ("docs/configuration.md", "settings", settings_table),
        ("docs/training.md", "training", training_table),
        ("docs/metrics.md", "metrics", metrics_table),
    ],
)
def test_a_generated_table_is_current(document, block, table):
    text = (ROOT / document).read_text()
    assert replaced(text, block, table()) == text, "run `make docs PARTS=reference`"


def test_every_decision_is_in_the_index_and_has_its_three_parts():
    folder = ROOT / "docs" / "adr"
    pages = sorted(path.name for path in folder.glob("0*.md"))
    assert re.findall(r"\]\((0\d{3}-[\w-]+\.md)\)", (folder / "README.md").read_text()) == pages
    for page in pages:
        headings = re.findall(r"^## (.+)$", (folder / page).read_text(), re.MULTILINE)
        assert headings == ["Context", "Decision", "Consequences"], page


def test_the_readme_shows_the_real_output_of_the_demo():
    text = (ROOT / "README.md").read_text()
    shown = re.search(r"<!-- demo-output:start -->(.*?)<!-- demo-output:end -->", text, re.DOTALL)
    assert shown is not None
    assert "$ make demo\n" in shown[1], "run `make docs PARTS=demo`"
    assert READY in shown[1]
