"""Every Python block of the README and the guides runs, in order, and what it shows is true."""

import doctest
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> list[tuple[int, str]]:
    """Each Python block with the number of its first line."""
    text = page.read_text(encoding="utf-8")
    return [(text.count("\n", 0, m.start(1)), m.group(1)) for m in BLOCK.finditer(text)]


WITH_CODE = [page for page in PAGES if blocks(page)]


@pytest.mark.slow
@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: page.name)
def test_the_code_of_a_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # Pictures that a block draws go there.
    names: dict[str, object] = {"__name__": page.stem}
    for line, code in blocks(page):
        if code.startswith(">>>"):
            report: list[str] = []
            test = doctest.DocTestParser().get_doctest(code, names, page.name, str(page), line)
            runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
            runner.run(test, out=report.append, clear_globs=False)
            assert not runner.failures, "".join(report)
            names |= test.globs
        else:  # The leading newlines make a traceback name the line of the page.
            exec(compile("\n" * line + code, str(page), "exec"), names)


def test_there_is_code_to_run():
    assert {"README.md", "rules.md", "verify.md"} <= {page.name for page in WITH_CODE}
