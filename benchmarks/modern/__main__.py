"""Modern rules alone and inside a step, against their peers: time, memory, size, compile time.

    python -m benchmarks.modern [SUBJECT ...] [--quick] [--seconds S] [--cpu-time] [--out FILE]

"jnn takes 0.50" of a contender: half its time. Each subject is a file of `benchmarks/modern/` with
`contests(quick) -> list[Contest]`.
"""

import importlib
import pkgutil
import sys
from collections.abc import Sequence

from benchmarks import modern
from benchmarks.modern.contest import held
from benchmarks.report import command, destination, options, publish_section

SUBJECTS = tuple(
    sorted({each.name for each in pkgutil.iter_modules(modern.__path__)} - {"__main__", "contest"})
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Holds all contests, or those of the subjects that are named."""
    parser = options(__doc__, "modern", *SUBJECTS)
    chosen = parser.parse_args(arguments)
    if unknown := set(chosen.names) - set(SUBJECTS):
        parser.error(f"no subject is called {', '.join(sorted(unknown))}")
    path = chosen.out or (None if chosen.quick else destination(chosen, "modern"))
    for subject in chosen.names or SUBJECTS:
        contests = importlib.import_module(f"benchmarks.modern.{subject}").contests(chosen.quick)
        bodies = [f"### {c.title}\n\n{held(c, chosen.seconds, chosen.clock)}" for c in contests]
        publish_section(subject, command(chosen, "modern"), "\n\n".join(bodies), path,
                        page="Modern rules")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
