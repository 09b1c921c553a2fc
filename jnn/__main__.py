"""The command line: `python -m jnn COMMAND ...`, also installed as `jnn`."""

import argparse
import sys
from collections.abc import Sequence

from jnn.commands import check, compare, solve, tune

COMMANDS = {"check": check, "compare": compare, "solve": solve, "tune": tune}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="jnn", description="Neural networks in JAX in which every derivative is hand-written."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        description = command.__doc__ or ""
        subparser = commands.add_parser(
            name,
            help=description.splitlines()[0],
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.configure(subparser)
    options = parser.parse_args(arguments)
    return COMMANDS[options.command].run(options)


if __name__ == "__main__":
    sys.exit(main())
