"""Rules and networks compiled for devices that need not be here: memory, traffic, kernels.

    python -m benchmarks.devices [NAME ...] [--quick] [--out FILE]

A NAME is a device, h200, v5e or cpu; rules, modern or networks; float32 or bfloat16.

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

from benchmarks.devices.case import table  # noqa: E402
from benchmarks.report import command, destination, options, publish_section  # noqa: E402

SUBJECTS = ("rules", "modern", "networks")
DTYPES = ("float32", "bfloat16")


def main(arguments: Sequence[str] | None = None) -> int:
    """Weighs what is named, or all of it on the H200 and the v5e."""
    parser = options(__doc__, "devices", *DEVICES, *SUBJECTS, *DTYPES)
    chosen = parser.parse_args(arguments)
    if unknown := set(chosen.names) - {*DEVICES, *SUBJECTS, *DTYPES}:
        parser.error(f"no device, subject or dtype is called {', '.join(sorted(unknown))}")
    path = chosen.out or (None if chosen.quick else destination(chosen, "devices"))

    def named(words: Sequence[str], else_all: Sequence[str]) -> Sequence[str]:
        return [word for word in words if word in chosen.names] or else_all

    for device in named(DEVICES, ("h200", "v5e")):
        try:
            target(device)
        except ImportError as error:
            print(error, file=sys.stderr)
            return 2
        for subject in named(SUBJECTS, SUBJECTS):
            cases = importlib.import_module(f"benchmarks.devices.{subject}").cases
            for dtype in named(DTYPES, DTYPES):
                body = table(cases(dtype, chosen.quick), device)
                publish_section(f"{subject} on {device}, {dtype}", command(chosen, "devices"), body,
                                path, page="On devices that were not there")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
