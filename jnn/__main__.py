"""The command line: `python -m jnn COMMAND ...`, also installed as `jnn`."""

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence

import jax

import jnn
from jnn.commands import check, compare, predict, report, solve, train, tune
from jnn.xla.cache import kept

COMMANDS = {
    "train": train, "predict": predict, "solve": solve,
    "check": check, "compare": compare, "tune": tune, "report": report,
}  # fmt: skip
# What these compile is kept for the next time. The others say how long compiling takes, or compile
# each program once in its life.
KEEPING = ("train", "predict", "solve", "tune")
# What a user can cause: a file that is missing or wrong, settings that do not fit, no memory.
CAUSED = (ValueError, TypeError, OSError, ImportError, MemoryError, jax.errors.JaxRuntimeError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status: 2 for errors, 130 after Ctrl-C.

    An error is a sentence; with JNN_TRACEBACK=1 in the environment it is a traceback too.
    """
    parser = argparse.ArgumentParser(
        prog="jnn",
        description="Neural networks in JAX in which every derivative is hand-written.",
        epilog="`python -m jnn COMMAND --help` says more, with examples.",
    )
    parser.add_argument("--version", action="version", version=f"jnn {jnn.__version__}")
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
    try:
        with kept() if options.command in KEEPING else contextlib.nullcontext():
            status = COMMANDS[options.command].run(options)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        print(f"\njnn {options.command}: interrupted.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # Whoever read the output has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except CAUSED as error:
        if os.environ.get("JNN_TRACEBACK"):
            raise
        said = sentence(error).removeprefix(f"{options.command}: ")
        print(f"jnn {options.command}: {said}", file=sys.stderr)
        return 2


def sentence(error: BaseException) -> str:
    """What went wrong, without the traceback.

    >>> sentence(FileNotFoundError(2, "No such file or directory", "a.csv"))
    "No such file or directory: 'a.csv'"
    """
    if isinstance(error, OSError) and error.strerror:
        named = f": '{error.filename}'" if error.filename else ""
        return f"{error.strerror}{named}"
    text = str(error) or type(error).__name__
    notes = getattr(error, "__notes__", ())
    return "\n".join([text, *(n for n in notes if "JAX_TRACEBACK_FILTERING" not in n)])


if __name__ == "__main__":
    sys.exit(main())
