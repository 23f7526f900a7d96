"""The documentation holds: links lead somewhere, errors are explained, examples are valid."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hpcjobs import capabilities, errors
from hpcjobs.site import jobfile, studyfile

ROOT = Path(__file__).parent.parent.parent
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text("utf-8"))
    gone = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert gone == []


def test_every_page_can_be_reached_from_the_index() -> None:
    index = (ROOT / "docs/index.md").read_text("utf-8")
    pages = {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")} - {"index.md"}
    assert {page for page in pages if page not in index} == set()


def test_every_error_has_a_section() -> None:
    text = (ROOT / "docs/reference/errors.md").read_text("utf-8")
    classes = [
        value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, errors.HpcjobError)
    ]
    assert len(classes) > 5
    for error in classes:
        section = text.partition(f"## {error.__name__}\n\n")[2]
        assert section.startswith(f"Exit code {error.exit_code}"), error.__name__


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_blocks_compile(page: Path) -> None:
    for block in re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL):
        compile(block, str(page), "exec")


def test_the_job_file_of_the_docs_is_valid(tmp_path: Path) -> None:
    text = (ROOT / "docs/how-to/scripts-and-python.md").read_text("utf-8")
    blocks = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert blocks
    for block in blocks:
        (tmp_path / "job.yaml").write_text(block)
        assert jobfile.load_job(str(tmp_path / "job.yaml"))["command"] == ("./solve", "in.nml")


def test_the_study_files_of_the_docs_are_valid(tmp_path: Path) -> None:
    text = (ROOT / "docs/how-to/parameter-studies.md").read_text("utf-8")
    blocks = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    lengths = []
    for block in blocks:
        (tmp_path / "study.yaml").write_text(block)
        design = studyfile.load_study(tmp_path / "study.yaml").design
        lengths.append(len(design) if design else 0)
    assert lengths == [9, 8]


def test_the_table_of_runtimes_is_the_one_that_refusals_go_by(request: pytest.FixtureRequest) -> None:
    page = ROOT / "docs/reference/runtimes.md"
    before, begin, rest = page.read_text("utf-8").partition("<!-- table -->\n")
    table, end, after = rest.partition("<!-- /table -->")
    assert begin, "the page has no table"
    assert end, "the table has no end"
    if request.config.getoption("--bless"):
        table = capabilities.markdown()
        page.write_text(before + begin + table + end + after, "utf-8")
    assert table == capabilities.markdown(), "stale; run: pytest --bless tests/unit/test_docs.py"
