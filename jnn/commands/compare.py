"""Compare hand-written derivatives with autodiff: exactness, time, memory.

NAME is a rule, e.g. affine or softmax_cross_entropy, or a model:

  mlp      784-512-512-10 with relu
  lenet    28x28: 5x5x32, pool, 5x5x64, pool, dense 256, 10
  vgg6     32x32x3: pairs of 3x3 with 32, 64 and 128 maps, a pool behind each, dense 256, 10

each trained on the softmax cross-entropy; or one's own as PACKAGE.MODULE:NAME, a rule, or a
function of the batch size that returns a function and its arguments.

Examples:
  python -m jnn compare gelu --batch 1024
  python -m jnn compare lenet --plot lenet.png
  python -m jnn compare vgg6 --device h200
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from jnn.commands.reading.names import MODELS, count, found, positive
from jnn.commands.writing.page import figures_of, measures_of
from jnn.commands.writing.plain import as_json
from jnn.rules import Rule, registry
from jnn.verify.compare.compare import compare
from jnn.xla.absent import DEVICES, look_for_none


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.add_argument("name", metavar="NAME", type=known, help="rule or model")
    parser.add_argument("--batch", type=count, default=256, metavar="N", help="samples (256)")
    parser.add_argument(
        "--seconds", type=positive, default=2.0, metavar="S", help="time to spend on timing (2)"
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help="write a picture too")
    parser.add_argument(
        "--device", choices=DEVICES, metavar="D",
        help=f"weigh it for a device that need not be here, of {', '.join(DEVICES)}",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")


def run(options: argparse.Namespace) -> int:
    """Prints the comparison, and for a model the ledger of what each layer saves."""
    if options.device is not None:
        return _weighed(options)
    if isinstance(options.name, Rule):
        result = compare(options.name, batch=options.batch, budget=options.seconds)
        text = str(result)
    else:
        function, args = options.name(options.batch)
        result = compare(function, *args, budget=options.seconds)
        text = f"{result}\n\n{result.ledger}"
    if options.plot is not None:
        result.plot(options.plot)
        text += f"\npicture: {options.plot}"
    told = {"name": result.name} | figures_of(result) | {"plot": options.plot}
    print(as_json(told) if options.json else text)
    return 0


def _weighed(options: argparse.Namespace) -> int:
    if options.plot is not None:
        sys.exit("jnn compare: --plot draws times, and --device has none; leave one out")
    look_for_none()
    if isinstance(options.name, Rule):
        result = compare(options.name, batch=options.batch, platform=options.device)
    else:
        function, args = options.name(options.batch)
        result = compare(function, *args, platform=options.device)
    told = {"name": result.name, "device": result.device, "measures": measures_of(result.measures)}
    print(as_json(told) if options.json else result)
    return 0


def known(word: str) -> Any:
    """The rule, or what makes the model, of that name."""
    return found(word, "name", {**registry, **MODELS})
