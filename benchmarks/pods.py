"""Language models on pods that are not here: memory a chip, collectives, arithmetic, bounds.

    python -m benchmarks.pods [NAME ...] [--quick] [--out FILE]

A NAME is a model, 1.3B or 7B. A training step (value, gradient, Adam, all given away) of a decoder
is compiled by XLA's own compiler for a v5e of 256 chips, fully sharded: parameters and both moments
in float32, all else in bfloat16. By hand and under autodiff it is the step of `jnn.fit`; in plain
JAX a scan over layers under `jax.checkpoint`. Nothing runs and nothing is allocated.
"""

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

import jnn
from benchmarks.costs import Costs, costs, over_links
from benchmarks.peers_transformer import step_of, structure
from benchmarks.report import command, destination, markdown, options, publish_section
from jnn.rules.core.mode import derivatives
from jnn.text import bytes_text
from jnn.train.plan import Plan
from jnn.train.program import step as steps
from jnn.xla.absent import compiled_for, look_for_none, target
from jnn.xla.census import memory

POD, CHIPS = "v5e:16x16", (16, 16)
# Of a chip, as Google has it: memory, its bytes a second, operations in bfloat16, bytes over links.
HBM, BANDWIDTH, ARITHMETIC, LINKS = 16 * 10**9, 819e9, 197e12, 200e9
SIDES = ("by hand", "autodiff", "plain jax")


class Model(NamedTuple):
    """A decoder with a gate, rotary positions and a head of its own, and how many rows a step."""

    vocabulary: int
    size: int
    heads: int
    layers: int
    hidden: int
    context: int
    batch: int


MODELS = {
    "1.3B": Model(32000, 2048, 16, 24, 5632, 4096, 256),
    "7B": Model(32000, 4096, 32, 32, 11008, 4096, 256),
}
ROWS = {"1.3B": (256,), "7B": (256, 1024)}  # One a chip, and four.
QUICK = Model(512, 256, 4, 3, 512, 64, 8)


class Found(NamedTuple):
    """Of one chip."""

    memory: dict[str, int]
    costs: Costs


def ours(model: Model, layout: Any) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """The step that `fit` makes of it, and its arguments."""
    net = jnn.models.transformer(
        model.vocabulary, model.size, model.heads, model.layers, hidden=model.hidden, tied=False,
        remat=True,
    )  # fmt: skip
    x = _rows(model, layout)
    params, state = jax.eval_shape(net.init, jax.random.key(0), x)
    plan = Plan(net, jnn.softmax_cross_entropy, jnn.adam(1e-4), model.batch, not_finite=None,
                precision=jnn.train.mixed(), layout=layout)  # fmt: skip
    moments = jax.eval_shape(plan.made.init, params)

    def step(params: Any, moments: Any, x: jax.Array, t: jax.Array) -> tuple[Any, Any, jax.Array]:
        moving = steps.Moving(params, state, moments, (), (), jnp.int32(0))
        new, (values, _) = steps.step(plan, moving, (x, t), jax.random.key(0))
        return new.params, new.opt_state, values["loss"]

    return step, (_lying(params, layout.specs(params)),
                  _lying(moments, layout.specs(params, moments)), x, x)  # fmt: skip


def plain(model: Model, layout: Any) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """The peer's step, and its arguments, which lie alike."""
    params = structure(model.vocabulary, model.size, model.layers, model.hidden)
    params = _lying(params, layout.specs(params))
    count = jax.ShapeDtypeStruct((), jnp.int32, sharding=layout.copied)
    x = _rows(model, layout)
    return step_of(model.heads, layout.batches), (
        params, {"m": params, "v": params, "count": count}, x, x,
    )  # fmt: skip


def _rows(model: Model, layout: Any) -> Any:
    return jax.ShapeDtypeStruct((model.batch, model.context), jnp.int32, sharding=layout.batches)


def _lying(tree: Any, shardings: Any) -> Any:
    return jax.tree.map(
        lambda a, s: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=s), tree, shardings
    )


def layout_on(device: str, chips: tuple[int, ...]) -> tuple[str, Any]:
    """The platform, and the layout over the chips as they are wired: a grid, a mesh axis a side."""
    made = target(device)
    devices = made.devices.reshape(-1)
    if device != "cpu":
        devices = np.array(sorted(devices, key=lambda chip: chip.coords))
    mesh = Mesh(devices.reshape(chips), ("x", "y"))
    return made.platform, jnn.train.fully_sharded(mesh)


def weighed(side: str, model: Model, device: str, chips: tuple[int, ...]) -> Found:
    """The side's step, compiled for one chip of them."""
    name, layout = layout_on(device, chips)
    step, args = (plain if side == SIDES[2] else ours)(model, layout)
    kept = jax.tree.map(lambda a: a.sharding, args[:2])
    with derivatives("autodiff" if side == SIDES[1] else "backward"):
        program = compiled_for(name, step, *args, donate_argnums=(0, 1),
                               out_shardings=(*kept, layout.copied))  # fmt: skip
    return Found(memory(program), costs(program.as_text()))


SPACE = ("rows a step", "", "arguments", "temporaries", "peak", f"of {HBM // 10**9} GB")
SENT = ("rows a step", "", "gathered", "reduced to parts", "summed whole", "passed on",
        "sent, of 3 x parameters")  # fmt: skip
BOUND = ("rows a step", "", "TFLOP", "memory", "arithmetic", "memory bound", "links")


def tables(models: Sequence[Model], device: str, chips: tuple[int, ...]) -> str:
    """What each side takes of a chip's memory; what it sends; how long it takes at the least."""
    space: list[tuple[str, ...]] = [SPACE]
    sent: list[tuple[str, ...]] = [SENT]
    bound: list[tuple[str, ...]] = [BOUND]
    for model in models:
        # Autodiff's attention is as plain JAX has it: once is enough.
        for side in SIDES if model.batch <= 256 else SIDES[::2]:
            first = f"{model.batch:,}" if side == SIDES[0] else ""
            try:
                found = weighed(side, model, device, chips)
            except jax.errors.JaxRuntimeError as error:
                why = " ".join(str(error).split())
                needed = re.search(r"temporaries \(([\d.]+[MG])\) exceeds", why)
                what = f"{needed[1]}iB: does not fit" if needed else why[:60]
                space.append((first, side, "", what, "", ""))
                continue
            space.append((first, side, *_space(found)))
            sent.append((first, side, *_sent(found, model, chips)))
            bound.append((first, side, *_bounds(found, chips)))
            print(*space[-1], *sent[-1][2:], *bound[-1][2:], sep=" | ", file=sys.stderr, flush=True)
    return "\n\n".join([
        "Memory of a chip:", markdown(space), _SENT, markdown(sent), _BOUND, markdown(bound),
    ])  # fmt: skip


_SENT = (
    "Collectives, how often and of how much: what is gathered, or added up, whole. The textbook's "
    "fully sharded step gathers all parameters twice and reduces their gradients once, three times "
    "the parameters in bfloat16; beside that is what a chip sends, a sum kept whole counting twice:"
)
_BOUND = (
    "What a step takes of a chip, and the least time for each at its full speed: 197 TFLOP/s in "
    "bfloat16, 819 GB/s of memory, 200 GB/s over all links. They overlap at best:"
)


def _space(found: Found) -> Iterator[str]:
    peak = found.memory.get("peak", 0)
    yield from (bytes_text(found.memory.get(k, 0)) for k in ("arguments", "temporaries", "peak"))
    yield f"{100 * peak / HBM:.0f} %"


def _sent(found: Found, model: Model, chips: tuple[int, ...]) -> Iterator[str]:
    for kind in ("all-gather", "reduce-scatter", "all-reduce", "collective-permute"):
        runs, size = found.costs.runs.get(kind, 0), found.costs.bytes.get(kind, 0)
        yield f"{runs:,}: {bytes_text(size)}" if runs else "-"
    shapes = structure(model.vocabulary, model.size, model.layers, model.hidden)
    textbook = 3 * 2 * sum(a.size for a in jax.tree.leaves(shapes))
    yield f"{_links(found, chips) / textbook:.2f}"


def _links(found: Found, chips: tuple[int, ...]) -> int:
    devices = int(np.prod(chips))
    return sum(over_links(kind, size, devices) for kind, size in found.costs.bytes.items())


def _bounds(found: Found, chips: tuple[int, ...]) -> Iterator[str]:
    flops, moved = found.costs.flops, found.costs.memory
    yield f"{flops / 1e12:,.1f}"
    yield bytes_text(moved)
    yield f"{flops / ARITHMETIC:.2f} s"
    yield f"{moved / BANDWIDTH:.2f} s"
    yield f"{_links(found, chips) / LINKS:.2f} s"


def main(arguments: Sequence[str] | None = None) -> int:
    """Weighs the models that are named, or all."""
    chosen = options(__doc__, "pods", *MODELS).parse_args(arguments)
    look_for_none()
    device, chips = ("cpu", (1, 1)) if chosen.quick else (POD, CHIPS)
    try:
        target(device)
    except ImportError as error:
        print(error, file=sys.stderr)
        return 2
    path = chosen.out or (None if chosen.quick else destination(chosen, "pods"))
    for name, model in MODELS.items():
        if name not in (chosen.names or MODELS):
            continue
        rows = [model._replace(batch=batch) for batch in ROWS[name]]
        body = tables([QUICK] if chosen.quick else rows, device, chips)
        publish_section(f"{name} on {device}", command(chosen, "pods"), body, path,
                        page="On a pod that was not there")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
