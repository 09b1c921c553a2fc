"""Rules and networks compiled for devices that need not be here: memory, traffic, kernels.

    python -m benchmarks.devices [NAME ...] [--check] [--quick] [--out FILE]

A NAME is a device, h200, v5e or cpu; rules, modern or networks; float32 or bfloat16. With --check
it fails where the hand-written rules take more than another side, but for what `known.py` lists.

Nothing runs there, so there are no times. A case is value and gradient with a barrier between, as
where other layers are between, or a training step whose parameters are given away. Temporaries are
a lower bound on a GPU where there are convolutions, whose workspace is chosen when they run, and on
a TPU, where what is in fast memory does not count: compare the peak there.
"""

import importlib
import sys
from collections.abc import Sequence

from jnn.xla.absent import DEVICES, look_for_none, target

look_for_none()

from benchmarks.devices.case import found, table  # noqa: E402
from benchmarks.devices.known import unknown  # noqa: E402
from benchmarks.report import command, destination, options, publish_section  # noqa: E402

SUBJECTS = ("rules", "modern", "networks")
DTYPES = ("float32", "bfloat16")
PAGE = "On devices that were not there"


def main(arguments: Sequence[str] | None = None) -> int:
    """Weighs what is named, or all of it on the H200 and the v5e."""
    parser = options(__doc__, "devices", *DEVICES, *SUBJECTS, *DTYPES)
    parser.add_argument("--check", action="store_true", help="fail where more is taken than known")
    chosen = parser.parse_args(arguments)
    if nothing := set(chosen.names) - {*DEVICES, *SUBJECTS, *DTYPES}:
        parser.error(f"no device, subject or dtype is called {', '.join(sorted(nothing))}")
    path = chosen.out or (None if chosen.quick else destination(chosen, "devices"))

    def named(words: Sequence[str], else_all: Sequence[str]) -> Sequence[str]:
        return [word for word in words if word in chosen.names] or else_all

    lost: list[str] = []
    for device in named(DEVICES, ("h200", "v5e")):
        try:
            target(device)
        except ImportError as error:
            print(error, file=sys.stderr)
            return 2
        for subject in named(SUBJECTS, SUBJECTS):
            cases = importlib.import_module(f"benchmarks.devices.{subject}").cases
            for dtype in named(DTYPES, DTYPES):
                results = {case.name: found(case, device) for case in cases(dtype, chosen.quick)}
                publish_section(f"{subject} on {device}, {dtype}", command(chosen, "devices"),
                                table(results), path, page=PAGE)  # fmt: skip
                lost += unknown(device, dtype, results)
    if chosen.check:
        print("\n".join(lost) or "Nowhere more than plain JAX, but for what is known.")
    return int(bool(chosen.check and lost))


if __name__ == "__main__":
    sys.exit(main())
