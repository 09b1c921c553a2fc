"""The pages keep their word: what docs/equations.md names exists, and so do the commands shown."""

import ast
import os
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

import jnn
from jnn.__main__ import COMMANDS

TESTS = Path(__file__).parent
ROOT = TESTS.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


def rows(page: str) -> list[dict[str, str]]:
    """Every row of the page's tables, as a dictionary by the heads of the columns."""
    found, heads = [], None
    for line in (ROOT / page).read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line[:1] == "|" else None
        if cells is None:
            heads = None
        elif heads is None:
            heads = cells
        elif set(line) - set("|-"):
            assert len(cells) == len(heads), line
            found.append(dict(zip(heads, cells, strict=True)))
    return found


@cache
def functions(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def named(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


EQUATIONS = [row for row in rows("docs/equations.md") if "code" in row]
ERRATA = [row for row in rows("docs/equations.md") if "it prints" in row]


@pytest.mark.parametrize("row", EQUATIONS, ids=lambda row: row["id"])
def test_an_equation_leads_to_code_that_exists_and_to_a_test(row):
    assert named(row["code"])
    for name in named(row["code"]):
        if name.startswith("benchmarks."):
            assert find_spec(name), name
            continue
        value = jnn
        for part in name.removeprefix("jnn.").split("."):
            value = getattr(value, part)
    assert named(row["test"])
    for test in named(row["test"]):
        assert_test_exists(test)


@pytest.mark.parametrize("row", ERRATA, ids=lambda row: row["where"])
def test_an_erratum_is_shown_by_a_test_or_by_reading(row):
    if row["shown by"] == "by reading":
        return
    assert named(row["shown by"])
    for test in named(row["shown by"]):
        assert_test_exists(test)


def assert_test_exists(name: str) -> None:
    file, function = name.split("::")
    assert function in functions(TESTS / file), name


LAST = {"D": 47, "H": 191, "X": 146, "T": 39, "B": 20}  # The numbers that the documents reach.


@pytest.mark.parametrize("letter", LAST)
def test_no_equation_is_left_out(letter):
    found = set()
    for row in EQUATIONS:
        for first, last in re.findall(rf"\b{letter}-(\d+)(?:\.\.(\d+))?", row["id"]):
            found |= set(range(int(first), int(last or first) + 1))
    assert found == set(range(1, LAST[letter] + 1))


DERIVED = sorted((ROOT / "docs" / "derivations").glob("*.md"))


def test_a_derivation_its_row_and_its_lines_of_code_have_the_same_numbers():
    """A (M-1) at the end of a line of a derivation numbers an equation: once."""
    defined = [
        int(number)
        for page in DERIVED
        for number in re.findall(r"\(M-(\d+)\)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert sorted(defined) == list(range(1, len(defined) + 1))
    rules = (Path(jnn.__file__).parent / "rules").rglob("*.py")
    cells = {
        "rows": [row["id"] for row in EQUATIONS],
        "code": [path.read_text(encoding="utf-8") for path in rules],
    }
    for where, texts in cells.items():
        found = set()
        for text in texts:
            for first, last in re.findall(r"\bM-(\d+)(?:\.\.(\d+))?", text):
                found |= set(range(int(first), int(last or first) + 1))
        assert found == set(defined), where


def test_errata_of_all_five_documents_are_there():
    assert len(ERRATA) == 133


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_commands_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for link in LINK.findall(text):
        path = os.path.relpath(page.parent / link, ROOT)
        inside = path.startswith(f"jnn{os.sep}")  # Wherever the package is installed.
        assert ((Path(jnn.__file__).parents[1] if inside else ROOT) / path).exists(), link
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    shown = re.findall(r"`make ([a-z]+)", text)
    for target in shown + re.findall(r"^make ([a-z]+)", shell(text), re.MULTILINE):
        assert target in targets
    for command in re.findall(r"-m jnn ([a-z]+)", text):
        assert command in COMMANDS
    for module in re.findall(r"-m (benchmarks\.\w+)", text):
        assert find_spec(module), module
    for file in re.findall(r"python (examples/\w+\.py)", text):
        assert (ROOT / file).exists()


def test_the_guide_has_an_index_of_all_its_pages():
    linked = LINK.findall((ROOT / "docs" / "README.md").read_text(encoding="utf-8"))
    pages = {p.relative_to(ROOT / "docs").as_posix() for p in (ROOT / "docs").rglob("*.md")}
    assert pages - {"README.md"} <= set(linked)


def test_the_page_of_the_house_names_every_room_and_files_that_exist():
    page = (ROOT / "docs" / "house.md").read_text(encoding="utf-8")
    package = Path(jnn.__file__).parent
    rooms = {p.name for p in package.iterdir() if (p / "__init__.py").exists()}
    assert rooms <= {name.rstrip("/") for name in re.findall(r"^\| `(\w+/)`", page, re.MULTILINE)}
    files = re.findall(r"`([\w/]+/\w+\.py)`", page)
    assert len(files) > 15
    for file in files:
        assert (
            (package / file).exists() or (package.parent / file).exists() or (ROOT / file).exists()
        ), file


def shell(text: str) -> str:
    return "\n".join(re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
