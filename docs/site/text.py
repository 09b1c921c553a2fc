"""Markdown and docstrings as HTML, with a link wherever something known is named.

A name in backticks leads to the reference, an equation's id to its row, a file to its source. What
looks like one of these and is not known is a warning, and a warning fails the build.
"""

import html
import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound

EQUATION = re.compile(r"\b([DHXTBM])-(\d+)(?:\.\.(\d+))?\b")
TEST = re.compile(r"^([\w/]+\.py)::(\w+)$")
BENCHMARK = re.compile(r"^benchmarks\.\w+$")
NAME = re.compile(r"^(jnn(?:\.\w+)+)(?:\(.*)?$", re.DOTALL)
SECTION = re.compile(r"^(Args|Attributes|Returns|Raises|Yields):\n((?: +.*\n)+)", re.MULTILINE)
ITEM = re.compile(r"^(\*{0,2}\w[\w, *]*): (.*)", re.DOTALL)


@dataclass
class Links:
    """Where what is named leads, and what could not be found.

    Attributes:
      names: a page and an anchor for each public name, by all its paths.
      equations: a page and an anchor for each equation, by ("H", 92).
      exists: whether a name that is not public exists nevertheless, a method or an attribute.
      sources: gives the page of a file at a line or a function, None where there is none.
      warnings: a sentence for each thing that is wrong.
    """

    names: dict[str, str] = field(default_factory=dict)
    equations: dict[tuple[str, int], str] = field(default_factory=dict)
    exists: Callable[[str], bool] = lambda path: False
    sources: Callable[[str, str | int], str | None] = lambda file, place: None
    warnings: list[str] = field(default_factory=list)

    def name(self, path: str, where: str) -> str | None:
        """Where a name in backticks leads; None where it names nothing."""
        if path not in self.names and not self.exists(path):
            self.warnings.append(f"{where}: `{path}` does not exist")
            return None
        while path not in self.names and "." in path:
            path = path.rpartition(".")[0]
        return self.names.get(path)

    def equation(self, letter: str, number: int, where: str) -> str | None:
        """Where an equation's id leads."""
        if (letter, number) not in self.equations:
            self.warnings.append(f"{where}: {letter}-{number} is not in docs/equations.md")
        return self.equations.get((letter, number))


def code(text: str, language: str = "python") -> str:
    """A block of code with colours."""
    try:
        lexer = get_lexer_by_name(language or "text", stripnl=False)
    except ClassNotFound:
        lexer = get_lexer_by_name("text")
    return highlight(text, lexer, HtmlFormatter(cssclass="code"))


def anchor(text: str) -> str:
    """The anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w -]", "", text.lower()).strip().replace(" ", "-")


def markdown(text: str, links: Links, where: str, href: Callable[[str], str] = str) -> str:
    """A page, or a docstring made one by `docstring`.

    Args:
      text: in Markdown.
      links: where names and equations lead.
      where: what the text is, for warnings.
      href: what becomes of a link, or of a picture's address, that the text has itself.
    """
    parser = MarkdownIt("commonmark").enable("table").disable(["html_block", "html_inline"])
    tokens = parser.parse(text)
    for i, token in enumerate(tokens):
        if token.type == "heading_open":
            token.attrSet("id", anchor(tokens[i + 1].content))
        if token.type == "fence":
            language = "pycon" if token.content.startswith(">>>") else token.info
            tokens[i] = _html(code(token.content, language))
        if token.type == "code_block":
            tokens[i] = _html(code(token.content, "python"))
        if token.type == "table_open":
            tokens[i] = _html('<div class="wide"><table>\n')
        if token.type == "table_close":
            tokens[i] = _html("</table></div>\n")
        if token.children:
            token.children = list(_linked(token.children, links, where, href))
    return parser.renderer.render(tokens, parser.options, {})


def _linked(tokens: list[Token], links: Links, where: str, href: Callable[[str], str]) -> Any:
    """The tokens of a line, with links where something known is named outside of links."""
    inside = False
    for token in tokens:
        if token.type == "link_open":
            inside, url = True, str(token.attrGet("href"))
            token.attrSet("href", href(url))
        elif token.type == "link_close":
            inside = False
        elif token.type == "image":
            token.attrSet("src", href(str(token.attrGet("src"))))
        if inside or token.type not in ("text", "code_inline"):
            yield token
        elif token.type == "text":
            yield _html(equations(html.escape(token.content, quote=False), links, where))
        else:
            yield _html(_span(token.content, links, where))


def _span(text: str, links: Links, where: str) -> str:
    shown = f"<code>{html.escape(text, quote=False)}</code>"
    name, test = NAME.match(text), TEST.match(text)
    if name:
        target = links.name(name[1], where)
        return f'<a href="{target}">{shown}</a>' if target else shown
    if test:
        target = links.sources(f"tests/{test[1]}", test[2])
        short = test[2].removeprefix("test_").replace("_", " ")
        return f'<a href="{target}" title="{text}">{short}</a>' if target else shown
    if BENCHMARK.match(text):
        return f'<a href="{links.sources(text.replace(".", "/") + ".py", 1)}">{shown}</a>'
    if EQUATION.fullmatch(text):
        return equations(shown, links, where)
    return shown


def equations(text: str, links: Links, where: str) -> str:
    """The text with a link on each id of an equation."""

    def link(match: re.Match[str]) -> str:
        letter, first, last = match[1], int(match[2]), match[3]
        if last:
            links.equation(letter, int(last), where)
        target = links.equation(letter, first, where)
        return f'<a class="equation" href="{target}">{match[0]}</a>' if target else match[0]

    return EQUATION.sub(link, text)


def docstring(text: str) -> str:
    """A docstring as Markdown: examples fenced, arguments as lists, indented blocks as code."""
    text = SECTION.sub(lambda m: f"**{m[1]}**\n\n{_items(m[2])}\n", text + "\n")
    text = re.sub(r"^(>>>(?:.*\n)+?)(?=\n|\Z)", r"```pycon\n\1```\n", text, flags=re.MULTILINE)
    # Fenced too: behind a list, an indented block would belong to its last item.
    block = re.compile(r"(?<=\n\n)((?: {4}.*\n|\n(?= {4}))+)")
    fenced = "```python\n{}\n```\n"
    text = block.sub(lambda m: fenced.format(textwrap.dedent(m[1].strip("\n"))), text)
    # A word and a star are no emphasis in formulas outside of backticks.
    return re.sub(r"(?<=[\w)\]]) \* (?=[\w(\[])", r" \\* ", text)


def _items(block: str) -> str:
    """`name: what it is`, a line each with its continuations, as a list."""
    found: list[str] = []
    for line in textwrap.dedent(block).strip("\n").splitlines():
        if line.startswith(" ") and found:
            found[-1] += f" {line.strip()}"
        elif line.strip():
            found.append(line.strip())
    made = []
    for item in found:
        match = ITEM.match(item)
        made.append(f"- `{match[1]}`: {match[2]}" if match else f"- {item}")
    return "\n".join(made) + "\n"


def _html(content: str) -> Token:
    return Token("html_inline", "", 0, content=content)
