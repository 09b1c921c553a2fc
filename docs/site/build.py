"""The pages: the guide, the reference of each room, the commands, and the sources they link to."""

import contextlib
import html
import io
import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from docs.site.names import PACKAGE, Name, exists, rooms
from docs.site.text import EQUATION, Links, anchor, code, docstring, equations, markdown
from jnn.__main__ import COMMANDS, main

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
STYLE = (HERE / "style.css").read_text(encoding="utf-8")
PAGE = (HERE / "page.html").read_text(encoding="utf-8")
DAY, NIGHT = (
    HtmlFormatter(style=style, cssclass="code").get_style_defs(".code")
    for style in ("friendly", "github-dark")
)
COLOURS = f"{DAY}\n@media (prefers-color-scheme: dark) {{\n{NIGHT}\n}}\n"
COMMAND_LINE = "jnn.commands.html"


def build(folder: Path) -> list[str]:
    """Writes all pages to a folder; returns a sentence for each thing that is wrong with them."""
    site = _Site(folder)
    site.write()
    return site.links.warnings


class _Site:
    def __init__(self, folder: Path):
        self.folder = folder
        self.rooms = rooms()
        self.guide = _guide()
        self.links = Links(exists=exists, sources=self._source)
        self.wanted: set[str] = set()
        for room, (_, names) in self.rooms.items():
            self.links.names[room] = f"{room}.html"
            for name in names:
                target = f"{room}.html#{name.path}"
                self.links.names |= {name.path: target, name.shown: target}
                for path in (name.path, name.shown):  # And of jnn.schedules, where it begins.
                    self.links.names.setdefault(path.rpartition(".")[0], target)
        text = (ROOT / "docs" / "equations.md").read_text(encoding="utf-8")
        self.links.equations = _rows(text)

    def write(self) -> None:
        """Writes every page; sources last, since the others say which."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for page, title in self.guide.items():
            self._page(_url(page), title, self._of_guide(page))
        self._page("names.html", "All names", self._index())
        for room, (doc, names) in self.rooms.items():
            self._page(f"{room}.html", room, self._room(room, doc, names))
        self._page(COMMAND_LINE, "Command line", _commands())
        done: set[str] = set()
        while more := self.wanted - done:  # A page among them may link to others.
            for file in sorted(more):
                self._page(_url(file), file, self._listing(file))
            done |= more
        _known_in_sources(self.links)

    # The guide.

    def _of_guide(self, page: str) -> str:
        path = ROOT / page
        text = path.read_text(encoding="utf-8")
        body = markdown(text, self.links, page, lambda url: self._href(url, path))
        return _anchored(body) if path.name == "equations.md" else body

    def _href(self, url: str, page: Path) -> str:
        """What becomes of a link on a page of the guide."""
        if re.match(r"[a-z]+:", url) or url.startswith("#"):
            return url
        target, _, part = url.partition("#")
        file = os.path.relpath(page.parent / target, ROOT).replace(os.sep, "/")
        if file in self.guide:
            return _url(file) + (f"#{part}" if part else "")
        if file.endswith((".py", ".md")) or file in ("Makefile", "LICENSE"):
            found = self._source(file, 1)
            if found:
                return found.partition("#")[0]
        elif (ROOT / file).is_dir():
            return self._folder(file)
        elif file.endswith(".png") and (ROOT / file).exists():
            shutil.copy(ROOT / file, self.folder)
            return Path(file).name
        self.links.warnings.append(f"{page.name}: the link to {url} leads nowhere")
        return url

    def _folder(self, folder: str) -> str:
        """The page that lists the programs of a folder."""
        found = sorted((ROOT / folder).glob("*.py"))
        rows = [
            f'<li><a href="{self._source(f"{folder}/{file.name}", 1)}">{file.name}</a></li>'
            for file in found
            if file.name != "__init__.py"
        ]
        page = _url(folder)
        self._page(page, folder, f"<h1>{folder}</h1><ul>{''.join(rows)}</ul>")
        return page

    # The reference.

    def _room(self, room: str, doc: str, names: list[Name]) -> str:
        parts = [f"<h1>{room}</h1>", self._doc(doc, room), _table(names)]
        home = None
        for name in names:
            if name.home != home and len({n.home for n in names}) > 1:
                title = _title(name.home[1]) or name.home[0]
                parts.append(f'<h2 id="{anchor(title)}">{html.escape(title)}</h2>')
                home = name.home
            parts.append(self._entry(name, "h3"))
        return "\n".join(parts)

    def _entry(self, name: Name, level: str) -> str:
        if not name.doc:
            self.links.warnings.append(f"{name.path} has no docstring")
        source = self._source(name.file, name.line)
        also = f" also <code>{name.path}</code>" if name.alias and name.kind != "method" else ""
        shown = name.shown if level == "h3" else name.path.rpartition(".")[2]
        methods = "".join(self._entry(method, "h4") for method in name.methods)
        return (
            f'<section class="{name.kind}" id="{name.path}">\n'
            f'<{level}><a href="#{name.path}">{shown}</a> <span class="kind">{name.kind}</span>'
            f'</{level}>\n<div class="signature">{code(name.signature)}</div>\n'
            f'{self._doc(name.doc, name.path)}{methods}<p class="source">'
            f'<a href="{source}">source</a>{also}</p>\n</section>'
        )

    def _doc(self, doc: str, where: str) -> str:
        return markdown(docstring(doc), self.links, where)

    def _index(self) -> str:
        everything = [name for _, names in self.rooms.values() for name in names]
        everything.sort(key=lambda name: name.shown.rpartition(".")[2].lower())
        return f"<h1>All names</h1>{_table(everything, full=True)}"

    # The sources.

    def _source(self, file: str, place: str | int) -> str | None:
        """The page of a file, at a line or at a function of that name."""
        path = _path(file)
        if not path.exists():
            self.links.warnings.append(f"{file} does not exist")
            return None
        if isinstance(place, str):
            text = path.read_text(encoding="utf-8")
            found = re.search(rf"^ *def {place}\(", text, re.MULTILINE)
            if not found:
                self.links.warnings.append(f"{file} has no {place}")
                return None
            place = text.count("\n", 0, found.start()) + 1
        self.wanted.add(file)
        return f"{_url(file)}#line-{place}"

    def _listing(self, file: str) -> str:
        text = _path(file).read_text(encoding="utf-8")
        if file.endswith(".md"):
            return markdown(text, self.links, file, lambda url: self._href(url, ROOT / file))
        shown = HtmlFormatter(cssclass="code", lineanchors="line", anchorlinenos=True)
        return (
            f"<h1>{file}</h1>{equations(highlight(text, PythonLexer(), shown), self.links, file)}"
        )

    # A page.

    def _page(self, url: str, title: str, body: str) -> None:
        guide = {_url(page): name for page, name in self.guide.items()}
        reference = {f"{room}.html": room for room in self.rooms}
        reference |= {COMMAND_LINE: "python -m jnn", "names.html": "All names"}
        menu = ""
        for heading, pages in (("Guide", guide), ("Reference", reference)):
            items = "".join(_item(at, name, url) for at, name in pages.items())
            menu += f"<h2>{heading}</h2><ul>{items}</ul>"
        words = {"TITLE": html.escape(title), "STYLE": STYLE + COLOURS, "MENU": menu, "BODY": body}
        page = re.sub(r"\{([A-Z]+)\}", lambda match: words[match[1]], PAGE)
        (self.folder / url).write_text(page, encoding="utf-8")


def _guide() -> dict[str, str]:
    """The pages of the guide and their titles, in the order of its index."""
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    order = ["README.md", *re.findall(r"\]\(([\w/]+\.md)\)", index)]
    pages = (p.relative_to(ROOT / "docs").as_posix() for p in (ROOT / "docs").rglob("*.md"))
    order += sorted(page for page in pages if page not in order)
    titles = {}
    for name in order:
        text = (ROOT / "docs" / name).read_text(encoding="utf-8")
        titles[f"docs/{name}"] = text.splitlines()[0].removeprefix("# ")
    titles["docs/README.md"] = "Contents"
    return titles


def _url(file: str) -> str:
    """The page of a file: flat, so that all links are names."""
    if file == "docs/README.md":
        return "index.html"
    if file.startswith("docs/") and file.endswith(".md"):
        return f"{file.removeprefix('docs/').removesuffix('.md').replace('/', '.')}.html"
    return f"{file.replace('/', '.')}.html"


def _path(file: str) -> Path:
    return PACKAGE.parent / file if file.startswith("jnn/") else ROOT / file


def _rows(text: str) -> dict[tuple[str, int], str]:
    """The row of docs/equations.md that each equation stands in."""
    found: dict[tuple[str, int], str] = {}
    for line in text.partition("## Errata")[0].splitlines():
        if line.startswith("| "):
            for letter, number in numbers(line.split("|")[1]):
                found.setdefault((letter, number), f"equations.html#{letter}-{number}")
    return found


def numbers(cell: str) -> Iterable[tuple[str, int]]:
    """The equations that an id names: `H-1..3, H-7` are four, "before H-1" is none."""
    for letter, first, last in EQUATION.findall(re.sub(r"(?:before|after) \S+", "", cell)):
        for number in range(int(first), int(last or first) + 1):
            yield letter, number


def _anchored(body: str) -> str:
    """The first cell of each row of equations carries the anchors of its equations."""
    seen: set[tuple[str, int]] = set()

    def mark(match: re.Match[str]) -> str:
        plain = re.sub(r"<[^>]+>", "", match[1])
        new = [n for n in numbers(plain) if n not in seen]
        seen.update(new)
        return f"<td>{''.join(f'<i id={a}-{b}></i>' for a, b in new)}{match[1]}</td>"

    table, errata, rest = body.partition('<h2 id="errata">')
    return re.sub(r"(?<=<tr>\n)<td>(.*?)</td>", mark, table) + errata + rest


def _known_in_sources(links: Links) -> None:
    """Equations that the package cites, in comments too, have a row."""
    for file in sorted(PACKAGE.rglob("*.py")):
        for letter, number in numbers(file.read_text(encoding="utf-8")):
            links.equation(letter, number, file.relative_to(PACKAGE.parent).as_posix())


def _title(doc: str) -> str:
    """The first sentence of a module's docstring, without its full stop."""
    first = " ".join(doc.split("\n\n")[0].split()).replace("`", "")
    return re.split(r"(?<!e\.g)\. (?=[A-Z])", first)[0].removesuffix(".")


def _table(names: list[Name], full: bool = False) -> str:
    rows = []
    for name in names:
        url = f"{name.path.split('.')[0]}.html" if name.path.count(".") < 2 else ""
        url = url or f"{'.'.join(name.path.split('.')[:2])}.html"
        summary = html.escape(_title(name.doc), quote=False)
        at = f"{url if full else ''}#{name.path}"
        rows.append(
            f'<tr><td><a href="{at}"><code>{name.shown}</code></a></td><td>{summary}</td></tr>'
        )
    return f'<div class="wide"><table class="names">{"".join(rows)}</table></div>'


def _item(url: str, name: str, here: str) -> str:
    mark = ' aria-current="page"' if url == here else ""
    return f'<li><a href="{url}"{mark}>{html.escape(name)}</a></li>'


def _commands() -> str:
    """What each command says of itself."""
    parts = [
        "<h1>Command line</h1><p><code>python -m jnn COMMAND</code>, or <code>jnn COMMAND</code>"
    ]
    for command in ("", *COMMANDS):
        text = io.StringIO()
        with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
            main([*command.split(), "--help"])
        parts.append(f'<h2 id="{command}">{command}</h2>' if command else "")
        parts.append(code(text.getvalue(), "text"))
    return "\n".join(parts)
