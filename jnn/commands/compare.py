"""Compare hand-written derivatives with autodiff: exactness, time, memory.

NAME is a rule, e.g. affine or softmax_cross_entropy, or a model:

  mlp      784-512-512-10 with relu
  lenet    28x28: 5x5x32, pool, 5x5x64, pool, dense 256, 10
  vgg6     32x32x3: pairs of 3x3 with 32, 64 and 128 maps, a pool behind each, dense 256, 10

each trained on the softmax cross-entropy.
"""

import argparse
from pathlib import Path

from jnn.commands.names import MODELS, count
from jnn.rules import registry
from jnn.verify.compare import compare


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.add_argument("name", metavar="NAME", choices=[*registry, *MODELS], help="rule or model")
    parser.add_argument("--batch", type=count, default=256, metavar="N", help="samples (256)")
    parser.add_argument(
        "--seconds", type=float, default=2.0, metavar="S", help="time to spend on timing (2)"
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help="write a picture too")


def run(options: argparse.Namespace) -> int:
    """Prints the comparison, and for a model the ledger of what each layer saves."""
    if options.name in MODELS:
        function, args = MODELS[options.name](options.batch)
        result = compare(function, *args, budget=options.seconds)
        print(result, result.ledger, sep="\n\n")
    else:
        rule = registry[options.name]
        result = compare(rule, batch=options.batch, budget=options.seconds)
        print(result)
    if options.plot is not None:
        result.plot(options.plot)
        print(f"picture: {options.plot}")
    return 0
