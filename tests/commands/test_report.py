"""`python -m jnn report`: one page that needs nothing but itself, with the numbers of `compare`."""

import html.parser
import json
import re

import pytest

from jnn.__main__ import main
from jnn.commands import report
from jnn.commands.writing import page


class Page(html.parser.HTMLParser):
    """What stands on a page: tags that were opened and closed, and their attributes."""

    VOID = ("meta", "input", "br", "wbr")

    def __init__(self, text):
        super().__init__()
        self.open, self.tags = [], []
        self.feed(text)
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    words = ["report", "tanh", "gelu", "squared_error", "--batch", "4", "--seconds", "0.01"]
    assert main([*words, "--out", str(folder)]) == 0
    return (folder / "report.html").read_text()


def test_the_page_is_whole_and_loads_nothing(made):
    page = Page(made)
    assert page.tags[0] == ("html", {"lang": "en"})
    attributes = [name for _, attrs in page.tags for name in attrs]
    assert not {"src", "href", "srcset", "onclick"} & set(attributes)
    assert not re.search(r"https?://|@import|url\(", made)
    assert "$" not in made.partition("<script>")[0]
    assert "prefers-color-scheme: dark" in made


def test_every_rule_has_a_line_the_fastest_first(made):
    entries = [attrs for tag, attrs in Page(made).tags if attrs.get("class") == "entry"]
    assert {entry["data-name"] for entry in entries} == {"tanh", "gelu", "squared_error"}
    ratios = [float(entry["data-time"]) for entry in entries]
    assert ratios == sorted(ratios)
    bars = [float(attrs["width"]) for tag, attrs in Page(made).tags if attrs.get("class") == "hand"
            and "width" in attrs]  # fmt: skip
    assert len(bars) == 6
    assert all(0 <= width <= 100 for width in bars)
    gelu = next(entry for entry in entries if entry["data-name"] == "gelu")
    assert float(gelu["data-memory"]) == pytest.approx(1 / 3)  # x alone, of three arrays.
    assert "beyond input and output" in made
    assert "its times are rough" in made


def test_json_and_a_name_that_there_is_not(tmp_path, capsys):
    words = ["report", "relu", "--batch", "2", "--seconds", "0.01", "--out", str(tmp_path)]
    assert main([*words, "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)["entries"]
    assert entry["name"] == "relu"
    assert entry["measures"]["gradient error, worst"]["by hand"] == 0
    with pytest.raises(SystemExit):
        main(["report", "rely"])
    assert "there is no 'rely'. There are: " in capsys.readouterr().err


def test_what_cannot_be_compared_gives_its_reason(monkeypatch):
    def refuse(*args, **kwargs):
        raise ValueError("no <floating> output")

    monkeypatch.setattr(report, "compare", refuse)
    entry = report.measured("tanh", 2, 0.01)
    assert "not compared: no <floating> output" in entry.line
    text = page.report_page([entry], "python -m jnn report tanh", 2, 0.0, rough=True)
    assert "<li>tanh: no &lt;floating&gt; output</li>" in text
    Page(text)
