"""Every public name: where it is defined, how it is called, what its docstring says."""

import ast
import dataclasses
import functools
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import jnn
from jnn.rules import Rule

PACKAGE = Path(jnn.__file__).parent
LIFTED = inspect.unwrap(jnn.relu).__code__
ROOMS = (
    "rules", "layers", "models", "optim", "train", "estimators", "solve", "linesearch", "verify",
    "tuning", "data", "tree", "plots",
)  # fmt: skip


def exists(path: str) -> bool:
    """Whether a dotted path names anything: a module, a function, an attribute."""
    value: Any = jnn
    for part in path.split(".")[1:]:
        if inspect.ismodule(value) and not hasattr(value, part):
            try:
                importlib.import_module(f"{value.__name__}.{part}")
            except ModuleNotFoundError:
                return False
        if not hasattr(value, part) and part not in getattr(value, "__annotations__", ()):
            return False
        value = getattr(value, part, None)
    return True


@dataclasses.dataclass(frozen=True)
class Name:
    """A public object.

    Attributes:
      path: its room's name for it, `jnn.layers.dense`.
      kind: "rule", "layer", "class", "function", "method" or "value".
      signature: how it is called, as the source writes it.
      doc: its docstring.
      home: the module that defines it, and its docstring.
      file: where that is, from the folder that holds the package.
      line: at which line.
      alias: a shorter path to the same object, `jnn.dense`.
      methods: of a class, those that are documented.
    """

    path: str
    kind: str
    signature: str
    doc: str
    home: tuple[str, str]
    file: str
    line: int
    alias: str = ""
    methods: tuple["Name", ...] = ()

    @property
    def shown(self) -> str:
        """The path that a user writes."""
        return self.alias or self.path


def rooms() -> dict[str, tuple[str, list[Name]]]:
    """For each room its docstring and its names, in the order of its `__init__`."""
    modules = [importlib.import_module(f"jnn.{room}") for room in ROOMS]
    aliases: dict[int, str] = {}
    for name, value in vars(jnn).items():
        if not inspect.ismodule(value):
            aliases[id(value)] = f"jnn.{name}"
        elif value.__name__.count(".") > 1:  # jnn.schedules
            aliases |= {id(v): f"jnn.{name}.{n}" for n, v in vars(value).items()}
    seen: set[int] = set()
    found = {}
    for module in [*modules, jnn]:  # What only jnn itself offers comes last.
        text = inspect.getsource(module)
        names = [dataclasses.replace(describe(path, value), alias=aliases.get(id(value), ""))
                 for path, value in public(module, seen)]  # fmt: skip
        names.sort(key=lambda name: (text.find(f"from {name.home[0]} "), name.home, name.line))
        found[module.__name__] = (inspect.getdoc(module) or "", names)
    return {"jnn": found.pop("jnn"), **found}


def public(module: ModuleType, seen: set[int]) -> Iterator[tuple[str, Any]]:
    """What a module offers, and what the modules define that it offers (`jnn.schedules`)."""
    for name, value in tuple(vars(module).items()):
        if name.startswith("_") or id(value) in seen:
            continue
        path = f"{module.__name__}.{name}"
        if inspect.ismodule(value):
            within = value.__name__ == path and module is not jnn
            if within and f"import {name} as {name}" in inspect.getsource(module):
                own = public(value, seen)
                yield from (o for o in own if o[1].__module__ == value.__name__)
        elif (getattr(value, "__module__", None) or "").split(".")[0] == "jnn":
            seen.add(id(value))
            yield path, value


def describe(path: str, value: Any) -> Name:
    """What is known of one object."""
    within, _, name = path.rpartition(".")
    doc = inspect.getdoc(value) or ""
    if not (isinstance(value, Rule) or inspect.isclass(value) or inspect.isroutine(value)):
        return _constant(path, value, f"Of the class `{within}.{type(value).__name__}`.")
    function = inspect.unwrap(value.parts.definition if isinstance(value, Rule) else value)
    lifted = getattr(function, "__code__", None) is LIFTED
    module = inspect.getmodule(function)
    file, line = source(function)
    home = (module.__name__ if module else "", inspect.getdoc(module) or "")
    if isinstance(value, Rule):
        kind, signature = "rule", called(name, function)
    elif inspect.isclass(value):
        methods = tuple(_methods(path, value, home))
        made = f"class {constructed(name, function)}"
        return Name(path, "class", made, doc, home, file, line, methods=methods)
    elif inspect.signature(value).return_annotation is jnn.Layer:
        kind, signature = "layer", called(name, function, "Layer")
        if lifted:  # From a rule, whose settings it takes.
            rule = jnn.rules.registry[name].parts.definition
            signature = called(name, rule, "Layer", skip=1)
            file, line = source(rule)
    else:
        kind, signature = "function", called(name, function)
    return Name(path, kind, signature, doc, home, file, line)


def _constant(path: str, value: Any, doc: str) -> Name:
    """An object that a module makes of one of its classes."""
    module = inspect.getmodule(type(value))
    assert module is not None
    text, name = inspect.getsource(module), path.rpartition(".")[2]
    made = next(
        node
        for node in ast.parse(text).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name
    )
    file, _ = source(type(value))
    signature = ast.get_source_segment(text, made) or name
    home = (module.__name__, inspect.getdoc(module) or "")
    return Name(path, "value", signature, doc, home, file, made.lineno)


def _methods(path: str, value: type, home: tuple[str, str]) -> Iterator[Name]:
    for name, member in vars(value).items():
        function = member.fget if isinstance(member, property) else member
        function = getattr(function, "__func__", function)
        doc = inspect.getdoc(function) or ""
        if name.startswith("_") or not inspect.isfunction(function) or not doc:
            continue
        signature = name if isinstance(member, property) else called(name, function)
        yield Name(f"{path}.{name}", "method", signature, doc, home, *source(function))


def source(function: Any) -> tuple[str, int]:
    """The file, from the folder that holds the package, and the line."""
    path = Path(inspect.getsourcefile(function) or "")
    return path.relative_to(PACKAGE.parent).as_posix(), inspect.getsourcelines(function)[1]


@functools.cache
def _definitions(path: str) -> tuple[str, dict[int, Any]]:
    """A file's text, and its functions and classes by the line where they begin."""
    text = Path(path).read_text(encoding="utf-8")
    kinds = (ast.FunctionDef, ast.ClassDef)
    found = [node for node in ast.walk(ast.parse(text)) if isinstance(node, kinds)]
    return text, {min(n.lineno for n in (f, *f.decorator_list)): f for f in found}


def called(name: str, function: Any, returns: str = "", skip: int = 0) -> str:
    """The call as the source writes it, in one line or one parameter a line."""
    text, functions = _definitions(inspect.getsourcefile(function) or "")
    node = functions[inspect.getsourcelines(function)[1]]
    parameters = list(_parameters(text, node.args))[skip:]
    returned = returns or (ast.get_source_segment(text, node.returns) if node.returns else "")
    return _wrapped(name, parameters, f" -> {returned}" if returned else "")


def _wrapped(name: str, parameters: list[str], arrow: str) -> str:
    line = f"{name}({', '.join(parameters)}){arrow}"
    if len(line) <= 88:
        return line
    return "\n".join([f"{name}(", *(f"    {p}," for p in parameters), f"){arrow}"])


def constructed(name: str, made: type) -> str:
    """The call of a class: with its fields, or as its `__init__` is written."""
    if not (hasattr(made, "_fields") or dataclasses.is_dataclass(made)):
        init = vars(made).get("__init__")
        return called(name, init).removesuffix(" -> None") if init else name
    text, definitions = _definitions(inspect.getsourcefile(made) or "")
    body = definitions[inspect.getsourcelines(made)[1]].body
    fields = [ast.get_source_segment(text, f) for f in body if isinstance(f, ast.AnnAssign)]
    return _wrapped(name, [field for field in fields if field], "")


def _parameters(text: str, of: ast.arguments) -> Iterator[str]:
    def shown(arg: ast.arg, default: ast.expr | None, star: str = "") -> str:
        typed = f": {ast.get_source_segment(text, arg.annotation)}" if arg.annotation else ""
        equals = " = " if typed else "="
        value = f"{equals}{ast.get_source_segment(text, default)}" if default else ""
        return f"{star}{arg.arg}{typed}{value}"

    positional = [*of.posonlyargs, *of.args]
    defaults = [None] * (len(positional) - len(of.defaults)) + of.defaults
    for i, (arg, default) in enumerate(zip(positional, defaults, strict=True)):
        if i or arg.arg not in ("self", "cls"):
            yield shown(arg, default)
        if i + 1 == len(of.posonlyargs):
            yield "/"
    if of.vararg:
        yield shown(of.vararg, None, "*")
    elif of.kwonlyargs:
        yield "*"
    for arg, default in zip(of.kwonlyargs, of.kw_defaults, strict=True):
        yield shown(arg, default)
    if of.kwarg:
        yield shown(of.kwarg, None, "**")
