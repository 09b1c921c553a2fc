"""What a checkpoint says of its run, and whether another run may go on from it."""

import json
import warnings
from collections.abc import Mapping
from typing import Any

from jnn import errors
from jnn.optim.optimizer import Optimizer
from jnn.optim.template import with_rates
from jnn.solve.drive import Solver
from jnn.train.plan import Plan
from jnn.value import recipe_of

RUN = "run"  # The metadata's entry.
GIVEN = {"batch_size": "batch_size", "samples": "data", "optimizer": "optimizer"}


def written_beside(plan: Plan, samples: int | None) -> dict[str, str]:
    """The settings of a run on which its steps depend, as a text beside its arrays."""
    made = with_rates(plan.optimizer, plan.rates)
    kind = _kind(made)
    told = {"kind": kind, "optimizer": kind and repr(made), "batch_size": plan.batch_size}
    return {RUN: json.dumps(told | {"samples": samples})}


def check_same(metadata: Mapping[str, str], now: Mapping[str, str], folder: Any) -> None:
    """Refuses another optimizer, and warns of whatever else makes other steps than before."""
    if RUN not in metadata:
        return  # Of a version that did not say it.
    try:
        before = dict(json.loads(metadata[RUN]))
    except (ValueError, TypeError, RecursionError):
        return
    run = json.loads(now[RUN])
    if before.get("kind") != run["kind"]:
        one, other = (kind or "an optimizer that jnn did not make" for kind in
                      (before.get("kind"), run["kind"]))  # fmt: skip
        remedy = "Give that one, or another folder."
        errors.fail("fit", "optimizer", f"{one}, whose run is in '{folder}'", other, remedy)
    for name, argument in GIVEN.items():
        one, other = before.get(name), run[name]
        if one is not None and other is not None and one != other:
            unit = " samples" if name == "samples" else ""
            warnings.warn(
                f"fit: the run in '{folder}' had `{argument}` {one}{unit}, and goes on with "
                f"{other}{unit}: it will not end as one that was not interrupted.", stacklevel=5,
            )  # fmt: skip


def _kind(made: Any) -> str | None:
    """The names of the constructors of optimizers, one in the other; of no other setting."""
    recipe = recipe_of(made)
    if recipe is None:
        return None
    inner = [_kind(one) for _, value in recipe.settings for one in _optimizers(value)]
    return f"{recipe.name}({', '.join(map(str, inner))})" if inner else recipe.name


def _optimizers(value: Any) -> list[Any]:
    if isinstance(value, Optimizer | Solver):
        return [value]
    values = value.values() if isinstance(value, Mapping) else value
    nested = isinstance(value, Mapping | tuple | list)
    return [one for part in values for one in _optimizers(part)] if nested else []
