"""Modern rules alone and inside a step, against their peers: time, memory, size, compile time.

    python -m benchmarks.modern [SUBJECT ...] [--quick] [--seconds S] [--cpu-time] [--out FILE]

"jnn takes 0.50" of a contender: half its time. Each subject is a file of `benchmarks/modern/` with
`contests(quick) -> list[Contest]`.
"""

import importlib
import pkgutil
import sys
from collections.abc import Sequence
from types import ModuleType

from benchmarks import modern
from benchmarks.modern.contest import held
from benchmarks.report import command, destination, options, publish_section


def main(arguments: Sequence[str] | None = None) -> int:
    """Holds all contests, or those of the subjects that are named."""
    return hold(modern, __doc__, "Modern rules", arguments)


def hold(
    of: ModuleType, description: str | None, page: str, arguments: Sequence[str] | None = None
) -> int:
    """Holds the contests of a package, in which each file is a subject."""
    name = of.__name__.rpartition(".")[2]
    subjects = sorted({each.name for each in pkgutil.iter_modules(of.__path__)} - {"__main__"})
    modules = {s: importlib.import_module(f"{of.__name__}.{s}") for s in subjects}
    modules = {s: module for s, module in modules.items() if hasattr(module, "contests")}
    parser = options(description, name, *modules)
    chosen = parser.parse_args(arguments)
    if unknown := set(chosen.names) - set(modules):
        parser.error(f"no subject is called {', '.join(sorted(unknown))}")
    path = chosen.out or (None if chosen.quick else destination(chosen, name))
    for subject in chosen.names or modules:
        contests = modules[subject].contests(chosen.quick)
        bodies = [f"### {c.title}\n\n{held(c, chosen.seconds, chosen.clock)}" for c in contests]
        publish_section(subject, command(chosen, name), "\n\n".join(bodies), path, page=page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
