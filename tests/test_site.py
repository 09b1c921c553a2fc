"""The pages of `python -m docs.site`: whole, without a dead link, strict about what is wrong."""

import re

import pytest

pytest.importorskip("markdown_it", reason="the pages are built with jnn[docs]")

from docs.site.build import build, numbers
from docs.site.names import called, exists
from docs.site.text import Links, docstring, markdown


@pytest.mark.slow
def test_the_pages_are_built_without_warnings_and_every_link_leads_somewhere(tmp_path):
    assert build(tmp_path) == []
    pages = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.glob("*.html")}
    marks = {url: set(re.findall(r'\bid="?([^"\s>]+)', page)) for url, page in pages.items()}
    for url, page in pages.items():
        for link in re.findall(r'<a [^>]*href="([^"]*)"', page):
            file, _, mark = link.partition("#")
            if not re.match("[a-z]+:", link):
                assert (file or url) in pages, f"{url} links to {link}"
                assert not mark or mark in marks[file or url], f"{url} links to {link}"
        for picture in re.findall(r'<img src="([^"]*)"', page):
            assert (tmp_path / picture).exists(), f"{url} shows {picture}"
    assert 'id="jnn.rules.conv"' in pages["jnn.rules.html"]
    assert 'href="equations.html#H-72"' in pages["jnn.rules.html"]
    assert "jnn.rules.html#jnn.rules.conv" in pages["equations.html"]


def test_what_is_unknown_is_a_warning():
    links = Links({"jnn.fit": "jnn.train.html#jnn.train.fit"}, {("H", 92): "equations.html#H-92"})
    text = markdown("`jnn.fit(net)` is H-92, and H-992 is `jnn.fitt`. [x](y.md)", links, "here")
    assert '<a href="jnn.train.html#jnn.train.fit"><code>jnn.fit(net)</code></a>' in text
    assert '<a class="equation" href="equations.html#H-92">H-92</a>' in text
    assert links.warnings == [
        "here: H-992 is not in docs/equations.md",
        "here: `jnn.fitt` does not exist",
    ]


def test_which_names_exist():
    paths = (
        "jnn.fit",
        "jnn.rules.core.product.Product",
        "jnn.rules.Rule.forward",
        "jnn.Layer.init",
    )
    assert all(map(exists, paths))
    assert not any(map(exists, ("jnn.fitt", "jnn.rules.nonsense", "jnn.Layer.nonsense")))


def test_a_range_ends_with_an_equation_too():
    links = Links(equations={("D", 5): "equations.html#D-5"})
    markdown("D-5..70", links, "here")
    assert links.warnings == ["here: D-70 is not in docs/equations.md"]
    assert list(numbers("before D-15, H-1..3, X-9")) == [("H", 1), ("H", 2), ("H", 3), ("X", 9)]


def test_a_docstring_becomes_lists_and_code():
    text = docstring(
        "Half of x * y.\n\nArgs:\n  x: what is\n    halved.\n  *more: the rest.\n\n"
        "    y = x / 2\n\n>>> 1 / 2\n0.5\n\nLast."
    )
    shown = markdown(text, Links(), "here")
    assert "<p>Half of x * y.</p>" in shown
    assert "<li><code>x</code>: what is halved.</li>" in shown
    assert "<li><code>*more</code>: the rest.</li>" in shown
    assert shown.count('<div class="code">') == 2
    assert "<p>Last.</p>" in shown


def test_a_call_is_shown_as_it_is_written():
    def shift(x: float, /, by: float = 1e-3, *rest: int, far=False, **others) -> float:
        return x + by

    written = "shift(x: float, /, by: float = 1e-3, *rest: int, far=False, **others) -> float"
    assert called("shift", shift) == written
