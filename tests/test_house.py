"""The house: which room may import which, what is public, and that every shown example runs."""

import ast
import doctest
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from jnn.__main__ import main
from jnn.rules import Rule

ROOT = Path(jnn.__file__).parent
MODULES = sorted(ROOT.rglob("*.py"))

# The rooms in their order: a module imports from rooms above its own, and of these only from those
# named here, besides the ground floor.
GROUND = {
    "arithmetic",
    "errors",
    "files",
    "floats",
    "measure",
    "setting",
    "status",
    "text",
    "tree",
    "types",
    "value",
}
ROOMS = {
    "xla": set(),
    "rules": {"xla"},
    "layers": {"rules"},
    "models": {"rules", "layers"},
    "linesearch": {"xla"},
    "optim": set(),
    "solve": {"xla", "linesearch"},
    "plots": set(),
    "verify": {"xla", "rules", "plots"},
    "tuning": {"xla", "rules"},
    "data": set(),
    "store": {"layers", "models", "data"},  # A file names one of the networks, and holds scales.
    "train": {"xla", "rules", "layers", "optim", "solve", "data", "store"},
    "estimators": {"xla", "rules", "layers", "models", "optim", "solve", "data", "store", "train"},
}
DOORS = {"__init__", "__main__", "commands"}  # These open onto every room.


def room(module: Path) -> str:
    return module.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(module: Path):
    """Every imported module of a file, wherever the import stands."""
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            # `from jnn import errors` names a room by the imported name.
            yield from (f"{base}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("module", MODULES, ids=lambda m: str(m.relative_to(ROOT)))
def test_a_module_imports_only_from_rooms_above_it(module):
    home = room(module)
    if home in DOORS:
        return
    assert home in {*ROOMS, *GROUND}, f"{home} is not a room: add it to the plan"
    theirs = {name.split(".")[1] for name in imports(module) if name.startswith("jnn.")}
    assert theirs <= ROOMS.get(home, set()) | {home} | GROUND


def test_no_room_imports_from_one_below_it():
    above: set[str] = set()
    for home, allowed in ROOMS.items():
        assert allowed <= above, home
        above.add(home)


FOLDERS = sorted({module.parent for module in MODULES})


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda f: str(f.relative_to(ROOT)))
def test_a_folder_is_a_subject_of_a_dozen_files_at_most(folder):
    assert len([m for m in folder.glob("*.py") if not m.name.startswith("__")]) <= 12


@pytest.mark.parametrize("module", MODULES, ids=lambda m: str(m.relative_to(ROOT)))
def test_the_library_needs_only_jax_and_numpy(module):
    names = {name.split(".")[0] for name in imports(module)}
    outside = names - set(sys.stdlib_module_names) - {"jax", "numpy", "jnn"}
    allowed = {"plots": {"matplotlib"}, "data": {"sklearn", "PIL"}, "train": {"tqdm"}}
    allowed["layers"] = {"flax", "equinox"}  # The doors for their modules.
    allowed["estimators"] = {"sklearn"}  # Where scikit-learn asks for its own record.
    assert outside <= allowed.get(room(module), set())


def test_importing_the_library_imports_no_extra():
    extras = ("matplotlib", "sklearn", "optax", "chex", "tqdm", "PIL", "flax", "equinox")
    code = f"import sys, jnn; print([m for m in {extras} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_pictures_are_at_hand_and_come_late():
    code = """
import sys, jnn
assert not {"jnn.plots", "matplotlib"} & {*sys.modules}
assert callable(jnn.plots.history) and jnn.plots is sys.modules["jnn.plots"]
assert callable(jnn.errors.fail)
assert not hasattr(jnn, "plot")
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("module", MODULES, ids=lambda m: str(m.relative_to(ROOT)))
def test_a_file_holds_one_idea(module):
    text = module.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 350
    if text:
        assert ast.get_docstring(ast.parse(text)), "a module says in its docstring what it holds"


# Names that may be defined in two files, since they mean the same there. Besides these, a layer is
# called as its rule, and a picture as what it draws.
SAME = {
    "initial step": "the same part of another loop",
    "value input_delta filter_delta": "the three products of a convolution",
    "History Progress": "of a training run, and of a solve",
    "Regression": "the model, and data made for it",
}


def shared_names() -> dict[str, set[str]]:
    """Public functions and classes that other files use, each with the modules that define one."""
    trees = {m: ast.parse(m.read_text(encoding="utf-8")) for m in MODULES}
    dotted = {m: "jnn." + ".".join(m.relative_to(ROOT).with_suffix("").parts) for m in MODULES}
    defined: dict[str, set[str]] = {}
    for module, tree in trees.items():
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                defined.setdefault(node.name, set()).add(dotted[module])
    used: set[tuple[str, str]] = set()
    for tree in trees.values():
        modules = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                used |= {(node.module or "", alias.name) for alias in node.names}
                modules |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                used.add((modules.get(node.value.id, ""), node.attr))
    found = {name: {m for m in where if (m, name) in used} for name, where in defined.items()}
    return {name: where for name, where in found.items() if len(where) > 1}


def test_a_name_that_files_share_has_one_meaning():
    alike = {name for names in SAME for name in names.split()}
    for name, modules in shared_names().items():
        rooms = [m for m in modules if m.split(".")[1] not in ("layers", "plots")]
        assert name in alike or len(rooms) <= 1, (name, modules)


AUTODIFF = {"grad", "value_and_grad", "vjp", "jvp", "linearize", "jacfwd", "jacrev", "hessian"}


@pytest.mark.parametrize("module", sorted((ROOT / "rules").rglob("*.py")), ids=lambda m: m.name)
def test_no_rule_calls_autodiff(module):
    if module.parent.name == "core":
        return  # The machinery, which hands rules to JAX.
    tree = ast.parse(module.read_text(encoding="utf-8"))
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not used & {*AUTODIFF, "linear_transpose", "custom_vjp", "custom_jvp"}


@pytest.mark.parametrize("module", MODULES, ids=lambda m: str(m.relative_to(ROOT)))
def test_one_room_knows_the_compiler(module):
    text = module.read_text(encoding="utf-8")
    for name in ("default_backend", "XLA_FLAGS", "xla_", "compiler_options", "clear_caches"):
        assert room(module) == "xla" or not re.search(rf"\b{name}", text), name


# What is public.


def test_there_is_one_version(capsys):
    project = tomllib.loads(
        (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    )
    assert project["project"]["version"] == jnn.__version__
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"jnn {jnn.__version__}\n"


def public() -> dict[str, object]:
    """Every public object of jnn and its rooms, by the first path that reaches it."""
    found: dict[str, object] = {}
    seen: set[int] = set()
    rooms = [jnn, *(getattr(jnn, name, None) for name in ROOMS)]
    rooms += [jnn.initialisers, jnn.schedules]  # Public too, with what they define.
    for namespace in filter(inspect.ismodule, rooms):
        deep = namespace.__name__.count(".") > 1
        for name, value in vars(namespace).items():
            home = getattr(value, "__module__", None) or ""
            ours = home == namespace.__name__ if deep else home.split(".")[0] == "jnn"
            if not name.startswith("_") and ours and id(value) not in seen:
                seen.add(id(value))
                found[f"{namespace.__name__}.{name}"] = value
    return found


PUBLIC = public()


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_object_is_documented_and_typed(name):
    value = PUBLIC[name]
    assert inspect.getdoc(value), f"{name} has no docstring"
    function = value.parts.definition if isinstance(value, Rule) else value
    if inspect.isfunction(function):
        hints = inspect.signature(function)
        missing = [p.name for p in hints.parameters.values() if p.annotation is p.empty]
        assert not missing, f"{name}: {missing} are not typed"
        assert hints.return_annotation is not hints.empty, f"{name}: the result is not typed"
        assert ">>>" in (inspect.getdoc(value) or ""), f"{name} shows no example"


def documented():
    """Everything with a docstring: modules, functions, classes, methods, rules."""
    for info in pkgutil.walk_packages(jnn.__path__, "jnn."):
        if info.name.endswith("__main__"):
            continue
        module = importlib.import_module(info.name)
        for test in doctest.DocTestFinder(exclude_empty=True).find(module, module.__name__):
            if test.examples:
                yield test
    finder = doctest.DocTestFinder(recurse=False)
    for name, rule in jnn.rules.registry.items():
        yield from finder.find(rule.parts.definition, f"jnn.rules.{name}")


DOCTESTS = {test.name: test for test in documented()}


@pytest.mark.parametrize("name", DOCTESTS)
def test_the_examples_of_docstrings_run(name):
    test = DOCTESTS[name]
    test.globs |= {"jnn": jnn, "jax": jax, "jnp": jnp, "np": np}
    report: list[str] = []
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    runner = doctest.DocTestRunner(optionflags=flags)
    runner.run(test, out=report.append, clear_globs=False)
    assert not runner.failures, "".join(report)
