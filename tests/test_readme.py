"""Every Python block of the README and the guides runs, in order, and what it shows is true."""

import contextlib
import doctest
import re
import warnings
from pathlib import Path

import jax
import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PEERS = {"torch", "safetensors", "optax", "flax", "jaxopt"}  # Of the extra `bench`.


def blocks(page: Path) -> list[tuple[int, str, int]]:
    """Each Python block with the number of its first line, and of its section."""
    text = page.read_text(encoding="utf-8")
    return [
        (text.count("\n", 0, m.start(1)), m.group(1), text.count("\n## ", 0, m.start(1)))
        for m in BLOCK.finditer(text)
    ]


WITH_CODE = [page for page in PAGES if blocks(page)]


@pytest.mark.slow
@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: page.name)
def test_the_code_of_a_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # Pictures that a block draws go there.
    names: dict[str, object] = {"__name__": page.stem}
    missing: dict[int, str] = {}
    for line, code, section in blocks(page):
        if section in missing:
            continue
        if code.startswith(">>>"):
            report: list[str] = []
            test = doctest.DocTestParser().get_doctest(code, names, page.name, str(page), line)
            runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
            runner.run(test, out=report.append, clear_globs=False)
            assert not runner.failures, "".join(report)
            names |= test.globs
        else:  # The leading newlines make a traceback name the line of the page.
            try:
                with lenient() if PEERS & imported(code) else contextlib.nullcontext():
                    exec(compile("\n" * line + code, str(page), "exec"), names)
            except ModuleNotFoundError as error:
                if error.name not in PEERS:
                    raise
                missing[section] = error.name
    if missing:
        pytest.skip(f"the other sections passed; not here: {', '.join(missing.values())}")


def imported(code: str) -> set[str]:
    return set(re.findall(r"^(?:import|from) (\w+)", code, re.MULTILINE))


@contextlib.contextmanager
def lenient():
    """Peers promote and are deprecated as they please."""
    with warnings.catch_warnings(), jax.numpy_dtype_promotion("standard"):
        warnings.simplefilter("ignore")
        with jax.numpy_rank_promotion("allow"):
            yield


def test_there_is_code_to_run():
    assert {"README.md", "rules.md", "verify.md"} <= {page.name for page in WITH_CODE}
