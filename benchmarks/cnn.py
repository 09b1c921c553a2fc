"""A step of SGD on convolutional networks, against Flax, Equinox, PyTorch and autodiff.

    python -m benchmarks.cnn [NAME ...] [--quick] [--seconds S] [--cpu-time] [--out FILE]

NAME is lenet, vgg6, resnet, convolutions or pooling; each is a section of the page, and a run of
some of them leaves the others as they were. The last two race each rule alone against autodiff.
"""

import functools
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

import jnn
from benchmarks import peers
from benchmarks.convolutional import NETWORKS, Affine, Network, flops, initial, ours
from benchmarks.peers_cnn import TorchStep, equinox_step, flax_step
from benchmarks.report import RESULTS, agree, command, in_mode, markdown, options, publish_section
from jnn.floats import cotangent
from jnn.measure import Clock, Program, Race, program, race
from jnn.rules.core.mode import derivatives
from jnn.text import bytes_text, seconds_text

RATE = 0.1
TUNED, HAND, AUTODIFF, FLAX, EQUINOX, TORCH = (
    "by hand, tuned", "by hand", "autodiff", "Flax and optax", "Equinox and optax", "PyTorch",
)  # fmt: skip


class Goal(NamedTuple):
    """What a network's step is to reach; ratios are times over ours."""

    flax: float
    autodiff: float
    torch: float = 1.0
    temporaries: float = 0.3  # Of Flax's, at most.
    limit: float = 0.5  # Of the rate of a large matrix product, at least.


GOALS = {"lenet": Goal(3.0, 3.0), "vgg6": Goal(2.5, 1.0)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures all parts, or those that are named."""
    parts = {name: functools.partial(network, name) for name in NETWORKS} | {
        "convolutions": functools.partial(grid, "Convolutions alone", CONVOLUTIONS),
        "pooling": functools.partial(grid, "Pooling alone", POOLING),
    }
    parser = options(__doc__, "cnn", *parts)
    chosen = parser.parse_args(arguments)
    if unknown := set(chosen.names) - set(parts):
        parser.error(f"no part is called {', '.join(sorted(unknown))}")
    for name in chosen.names or parts:
        title, body = parts[name](chosen.quick, chosen.seconds, chosen.clock)
        chosen.names = [name]
        path = chosen.out or (None if chosen.quick else RESULTS / "cnn.md")
        publish_section(title, command(chosen, "cnn"), body, path, page="Convolutional networks")
    return 0


# A network.


def network(name: str, quick: bool, seconds: float, clock: Clock) -> tuple[str, str]:
    """Title and table of a network's step."""
    net = NETWORKS[name]
    if quick:
        net = net._replace(shape=(2, *net.shape[1:]))
    random = np.random.default_rng(0)
    x = jnp.asarray(random.normal(size=net.shape), jnp.float32)
    t = jnp.asarray(random.integers(0, 10, net.shape[0]), jnp.int32)
    params = [Affine(*map(jnp.asarray, p)) for p in initial(net)]
    apply = ours(net)

    def loss(params: Any, x: jax.Array, t: jax.Array) -> jax.Array:
        return jnn.softmax_cross_entropy(apply(params, x), t).mean()

    def step(params: Any, x: jax.Array, t: jax.Array) -> Any:
        value, grads = jax.value_and_grad(loss)(params, x, t)
        return value, jax.tree.map(lambda p, g: p - RATE * g, params, grads)

    choices = jnn.tune(step, params, x, t, gradient=False, budget=5 * seconds, clock=clock)
    with choices:
        runs: dict[str, Any] = {TUNED: program(step, params, x, t)}
    runs[HAND] = in_mode("backward", step, params, x, t)
    runs[AUTODIFF] = in_mode("autodiff", step, params, x, t)
    results = {who: run() for who, run in runs.items()}
    missing = []
    for who, make in ((FLAX, flax_step), (EQUINOX, equinox_step)):
        if (peer := make(net, RATE, params, x, t)) is None:
            missing.append(who)
            continue
        theirs, args, back = peer
        runs[who] = program(theirs, *args)
        results[who] = back(runs[who]())
    torch, note = _torch(net, params, x, t, results, clock)
    if torch is None:
        missing.append(TORCH)
    else:
        runs[TORCH] = torch
    _agree(net, params, results)
    n = 64 if quick else 2048
    product = program(jnp.dot, *(jnp.asarray(random.normal(size=(n, n)), jnp.float32),) * 2)
    times = race(runs | {"product": product}, budget=10 * seconds, clock=clock)

    limit = 2 * n**3 / times.seconds("product")
    rows = [("a step of SGD", "time", "it / tuned", "temporaries", "GFLOP/s", "of the limit")]
    for who, run in runs.items():
        low, high = times.spread(who, TUNED)
        rate = flops(net) / times.seconds(who)
        temporaries = getattr(run, "temporaries", None)
        rows.append((
            who, seconds_text(times.seconds(who)),
            f"{times.ratio(who, TUNED):.2f} ({low:.2f} ... {high:.2f})",
            "-" if temporaries is None else bytes_text(temporaries),
            f"{rate / 1e9:.1f}", f"{rate / limit:.2f}",
        ))  # fmt: skip
    body = f"""\
{net.title}.
Batch {"x".join(map(str, net.shape))}, float32; {flops(net) / 1e9:.2f} GFLOP in a step's products.
Loss, gradient and update in one program; each peer's step equals ours. Times and ratios are medians
over {times.rounds} interleaved rounds, in parentheses the middle half. The limit is the rate of a
{n}x{n} matrix product in the same rounds, {limit / 1e9:.0f} GFLOP/s.{note}

{markdown(rows)}
"""
    if name in GOALS:
        body += f"\n{verdict(GOALS[name], times, runs, flops(net) / limit)}\n"
    body += f"\nChosen by `jnn.tune`:\n\n{_chosen(choices)}"
    if missing:
        body += f"\n\nLeft out, not installed: {', '.join(missing)}; {peers.MISSING}."
    return net.title.partition(":")[0], body


def verdict(goal: Goal, times: Race, runs: dict[str, Any], least: float) -> str:
    """Which goals are met, a line each; `least` is the time at the limit."""
    lines = []
    for who, wanted in ((FLAX, goal.flax), (AUTODIFF, goal.autodiff), (TORCH, goal.torch)):
        if who in runs:
            ratio = times.ratio(who, TUNED)
            lines.append((f"at least {wanted:g} times as fast as {who}", ratio, ratio >= wanted))
    if FLAX in runs and None not in (runs[FLAX].temporaries, runs[TUNED].temporaries):
        part = runs[TUNED].temporaries / runs[FLAX].temporaries
        words = f"at most {goal.temporaries:g} of Flax's temporaries"
        lines.append((words, part, part <= goal.temporaries))
    part = least / times.seconds(TUNED)
    lines.append((f"at least {goal.limit:g} of the limit", part, part >= goal.limit))
    return "\n".join(
        f"- Goal, {words}: {'met' if met else 'missed'} ({number:.2f})."
        for words, number, met in lines
    )


def _torch(net: Network, params: Any, x: Any, t: Any, results: dict[str, Any], clock: Clock):
    """PyTorch's fastest way to take a step, and a sentence that says which."""
    try:
        steps = {
            f"{threads} thread{'s' * (threads > 1)}, {layout}": TorchStep(
                net, RATE, params, x, t, threads=threads, channels_last=layout != "contiguous"
            )
            for threads in (1, 2)
            for layout in ("contiguous", "channels-last")
        }
    except ImportError:
        return None, ""
    for name, step in steps.items():
        results[f"{TORCH}, {name}"] = step.step()
    times = race({name: step.run for name, step in steps.items()}, rounds=5, clock=clock)
    best = min(steps, key=times.seconds)
    every = "; ".join(f"{name} {seconds_text(times.seconds(name))}" for name in steps)
    return steps[best].run, f"\nPyTorch runs with {best}, its best of: {every}."


def _agree(net: Network, params: Any, results: dict[str, Any]) -> None:
    """All steps have one loss, and change the parameters by the same.

    Pixels that nearly tie may win or lose a window by the order of a sum: a few of half a million
    do, and move an entry of a filter's gradient by thousandths of the largest. In float64 ours and
    autodiff agree to 1e-14.
    """

    def changes(result: Any) -> Any:
        value, new = result
        return value, jax.tree.map(lambda p, q: np.asarray(p) - np.asarray(q), params, list(new))

    agree(net.title, {who: functools.partial(changes, r) for who, r in results.items()}, 1e-2)


def _chosen(choices: jnn.Choices) -> str:
    """For each call the chosen implementation, and the best of the others."""
    rows: list[tuple[str, ...]] = [("call", "chosen", "time", "next", "time")]
    for row in choices.rows:
        trials = sorted((t for t in row.trials if t.seconds), key=lambda t: t.seconds or 0)
        first = next(t for t in trials if t.name == row.name)
        second = next((t for t in trials if t.name != row.name), None)
        cells = ("-", "-") if second is None else (second.name, seconds_text(second.seconds or 0))
        rows.append((_short(row), first.name, seconds_text(first.seconds or 0), *cells))
    return markdown(rows)


def _short(row: jnn.tuning.Choice) -> str:
    return f"{row.product} {', '.join('x'.join(map(str, shape)) for shape, _ in row.arrays)}"


# Rules alone.


class Case(NamedTuple):
    """A rule at one shape."""

    title: str
    function: Callable[..., Any]
    shapes: tuple[tuple[int, ...], ...]


def _conv(title: str, x: tuple[int, ...], w: tuple[int, ...], **settings: Any) -> Case:
    return Case(title, lambda x, w: jnn.rules.conv(x, w, **settings), (x, w))


def _transposed(title: str, x: tuple[int, ...], w: tuple[int, ...], **settings: Any) -> Case:
    return Case(title, lambda x, w: jnn.rules.conv_transpose(x, w, **settings), (x, w))


def _pool(title: str, x: tuple[int, ...], rule: str, **settings: Any) -> Case:
    return Case(title, lambda x: getattr(jnn.rules, rule)(x, **settings), (x,))


CONVOLUTIONS = (
    _conv("5x5 valid", (64, 28, 28, 1), (5, 5, 1, 32)),
    _conv("5x5 valid", (64, 12, 12, 32), (5, 5, 32, 64)),
    _conv("3x3 same", (64, 32, 32, 3), (3, 3, 3, 32), padding="same"),
    _conv("3x3 same", (64, 32, 32, 32), (3, 3, 32, 32), padding="same"),
    _conv("3x3 same", (64, 16, 16, 64), (3, 3, 64, 64), padding="same"),
    _conv("3x3 same", (64, 8, 8, 128), (3, 3, 128, 128), padding="same"),
    _conv("1x1", (64, 16, 16, 64), (1, 1, 64, 128)),
    _conv("3x3 stride 2", (64, 33, 33, 16), (3, 3, 16, 32), stride=2),
    _conv("3x3 dilation 2", (64, 16, 16, 32), (3, 3, 32, 32), padding="same", dilation=2),
    _conv("3x3 depthwise", (64, 32, 32, 64), (3, 3, 1, 64), padding="same", groups=64),
    _transposed("3x3 transposed, stride 2", (64, 16, 16, 32), (3, 3, 16, 32), stride=2),
    _conv("3 in 1-D", (64, 1024, 32), (3, 32, 32), padding="same"),
    _conv("3x3x3 in 3-D", (8, 16, 16, 16, 16), (3, 3, 3, 16, 16), padding="same"),
)
POOLING = (
    _pool("max 2x2", (64, 32, 32, 32), "max_pool", window=2),
    _pool("max 2x2", (64, 8, 8, 64), "max_pool", window=2),
    _pool("max 3x3 stride 2", (64, 33, 33, 32), "max_pool", window=3, stride=2),
    _pool("mean 2x2", (64, 32, 32, 32), "mean_pool", window=2),
    _pool("mean 3x3 stride 2", (64, 33, 33, 32), "mean_pool", window=3, stride=2),
)


def grid(
    title: str, cases: Sequence[Case], quick: bool, seconds: float, clock: Clock
) -> tuple[str, str]:
    """Title and table of rules alone."""
    note = _bound(seconds, clock) if cases is POOLING else ""
    head = ("rule", "arguments", "forward", "autodiff / it", "backward", "autodiff / it",
            "both, autodiff / it", "temporaries, forward and backward", "autodiff's")  # fmt: skip
    rows: list[tuple[str, ...]] = [head]
    for case in cases:
        shapes = [(min(s[0], 2), *s[1:]) for s in case.shapes[:1]] if quick else case.shapes[:1]
        random = np.random.default_rng(0)
        args = [jnp.asarray(random.normal(size=s), jnp.float32)
                for s in (*shapes, *case.shapes[1:])]  # fmt: skip
        pairs = {mode: passes(mode, case.function, args) for mode in ("backward", "autodiff")}
        cells, memory = [], dict.fromkeys(pairs, 0)
        both = dict.fromkeys(pairs, 0.0)
        for which, part in enumerate(("forward", "backward")):
            runs = {mode: pair[which] for mode, pair in pairs.items()}
            agree(f"{case.title}, {part}", runs, 1e-3)
            times = race(runs, budget=seconds / 2, clock=clock)
            cells += [seconds_text(times.seconds("backward")),
                      f"{times.ratio('autodiff', 'backward'):.2f}"]  # fmt: skip
            memory = {mode: memory[mode] + (runs[mode].temporaries or 0) for mode in runs}
            both = {mode: both[mode] + times.seconds(mode) for mode in runs}
        cells.append(f"{both['autodiff'] / both['backward']:.2f}")
        shape = ", ".join("x".join(map(str, a.shape)) for a in args)
        rows.append((case.title, shape, *cells, *(bytes_text(memory[mode]) for mode in pairs)))
        print("  ".join(rows[-1]), flush=True)
    body = f"""\
Forward and backward as two programs, float32: the first returns the value and what it saves, the
second takes that and a cotangent. By default implementations, against JAX's derivative of the
definition; ratios are medians over interleaved rounds.{note}

{markdown(rows)}"""
    return title, body


def _bound(seconds: float, clock: Clock) -> str:
    """What max pooling's forward is bounded by, in the same run."""
    x, size = jnp.ones((64, 32, 32, 32), jnp.float32), (1, 2, 2, 1)
    values = program(lambda x: lax.reduce_window(x, -jnp.inf, lax.max, size, size, "VALID"), x)
    runs = {"copy": program(lambda x: x + 1, x), "values": values}
    times = race(runs, budget=seconds, clock=clock)
    copy, values = (seconds_text(times.seconds(name)) for name in runs)
    return f"""

Max pooling's forward is bounded by memory: XLA's CPU compiler writes one array a pass, so that
values and winners' places take two passes over the image. On 64x32x32x32 one that writes the values
alone takes {values}, a copy of the image {copy}."""


def passes(mode: str, function: Callable[..., Any], args: Sequence[Any]) -> tuple[Program, Program]:
    """The forward and the backward of a function, compiled apart."""
    delta = jnp.asarray(cotangent(jax.eval_shape(function, *args))[0])
    with derivatives(mode):
        _, pull = jax.jit(lambda *args: jax.vjp(function, *args))(*args)
        forward = program(lambda *args: jax.vjp(function, *args), *args)
        backward = program(lambda pull, delta: pull(delta), pull, delta)
    value = forward._replace(run=lambda: forward.run()[0])
    return value, backward


if __name__ == "__main__":
    sys.exit(main())
