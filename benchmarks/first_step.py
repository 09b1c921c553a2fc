"""The first second: from `import` to the first step, to a whole first `fit`, to a command's answer.

    python -m benchmarks.first_step [NAME ...] [--quick] [--seconds S] [--out FILE]

Each number is taken in a process of its own, without a cache of compiled programs but where one is
named; processes run in turns. A peer's step on a network starts from our parameters and is the same
step. Goals on an idle machine with two cores: to the first step at most 1.5 times Flax's time;
`fit` on the digits in 1.2 s; `import jnn` adds 0.2 s; `python -m jnn train digits` takes 4 s, and
3 s with its cache.
"""

import functools
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jnn
from benchmarks import convolutional, peers, trainers, training
from benchmarks.convolutional import FLATTEN, POOL, RELU, Conv, Dense, Network
from benchmarks.peers_cnn import flax_step
from benchmarks.report import command, destination, markdown, options, publish
from jnn.rules.core.mode import derivatives

ROUNDS = 3
RATE = 0.1
OURS, AUTODIFF, FLAX = "ours", "ours under autodiff", "Flax and optax"
PARTS = ("trace", "lower", "compile")
CACHES = ("JAX_COMPILATION_CACHE_DIR", "JNN_CACHE", "PYTHONDONTWRITEBYTECODE")


def _vgg(*stages: int) -> tuple[Any, ...]:
    """Two or three convolutions of each stage, and a pool."""
    steps = []
    for i, channels in enumerate(stages):
        steps += [Conv(channels, 3, 1), RELU] * (2 if i < 2 else 3) + [POOL]
    return tuple(steps)


NETWORKS: Mapping[str, Network] = convolutional.NETWORKS | {
    "vgg16": Network(
        "VGG-16 at 64x64: 3x3 same: 2 of 64, 2 of 128, 3 of 256, 512 and 512, dense 512, 512, 10",
        (8, 64, 64, 3),
        (*_vgg(64, 128, 256, 512, 512), FLATTEN, Dense(512), RELU, Dense(512), RELU, Dense(10)),
    ),
    "mlp": Network(
        "MLP: 64-128-64-10", (32, 8, 8, 1),
        (FLATTEN, Dense(128), RELU, Dense(64), RELU, Dense(10)),
    ),
}  # fmt: skip


# In a process of their own.


def step(name: str, who: str, quick: bool, seconds: float) -> dict[str, float] | None:
    """The parts of the time to the first step, the program's size, and the time of later steps."""
    net = NETWORKS[name]
    if quick:
        net = net._replace(shape=(2, *net.shape[1:]))
    random = np.random.default_rng(0)
    x = jnp.asarray(random.normal(size=net.shape), jnp.float32)
    t = jnp.asarray(random.integers(0, 10, net.shape[0]), jnp.int32)
    params = jax.tree.map(jnp.asarray, convolutional.initial(net))
    if who == FLAX:
        if (peer := flax_step(net, RATE, params, x, t)) is None:
            return None
        function, args, _ = peer
    else:
        function, args = _ours(net), (params, x, t)
    args = jax.block_until_ready(jax.tree.map(jnp.asarray, args))
    jax.block_until_ready(jax.jit(lambda x: x + 1)(x))  # The compiler itself is awake.
    times = [time.perf_counter()]
    with derivatives("autodiff" if who == AUTODIFF else "backward"):
        traced = jax.jit(function).trace(*args)
        times.append(time.perf_counter())
        lowered = traced.lower()
    times.append(time.perf_counter())
    compiled = lowered.compile()
    times.append(time.perf_counter())
    jax.block_until_ready(compiled(*args))
    times.append(time.perf_counter())
    later = []
    while not later or sum(later) < seconds:
        begun = time.perf_counter()
        jax.block_until_ready(compiled(*args))
        later.append(time.perf_counter() - begun)
    found = dict(zip((*PARTS, "run"), np.diff(times).tolist(), strict=True))
    size = len(re.findall(r"(?m)^\s+(?:ROOT )?\S+ = ", compiled.as_text() or ""))
    return found | {"all": times[-1] - times[0], "instructions": size,
                    "step": float(np.median(later))}  # fmt: skip


def _ours(net: Network) -> Callable[..., Any]:
    apply = convolutional.ours(net)

    def loss(params: Any, x: jax.Array, t: jax.Array) -> jax.Array:
        return jnn.softmax_cross_entropy(apply(params, x), t).mean()

    def step(params: Any, x: jax.Array, t: jax.Array) -> Any:
        value, grads = jax.value_and_grad(loss)(params, x, t)
        return value, jax.tree.map(lambda p, g: p - RATE * g, params, grads)

    return step


def fit(who: str, quick: bool) -> dict[str, float] | None:
    """The first training on the digits, from new parameters to the accuracy."""
    task = training.digits(quick)
    run = (trainers.ours if who == OURS else trainers.with_optax)(task)
    if run is None:
        return None
    begun = time.perf_counter()
    run()
    return {"all": time.perf_counter() - begun}


# The processes.


def whole(words: Sequence[str], **environment: str) -> tuple[float, str]:
    """Seconds of a process of Python from its start to its end, and what it printed last."""
    clean = {name: value for name, value in os.environ.items() if name not in CACHES}
    begun = time.perf_counter()
    run = subprocess.run(
        [sys.executable, *words], env=clean | {"JNN_CACHE": "off"} | environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    taken = time.perf_counter() - begun
    if run.returncode:
        sys.exit(f"{' '.join(words)} failed:\n{run.stderr}")
    return taken, run.stdout.strip().rpartition("\n")[2]


def inside(function: Callable[..., Any], *args: Any) -> dict[str, float] | None:
    """What a function of this file finds in a process of its own."""
    call = f"{function.__name__}(*{args!r})"
    code = f"import json; from benchmarks.first_step import *; print(json.dumps({call}))"
    return json.loads(whole(["-c", code])[1])


def in_turns(
    runs: Mapping[str, Callable[[], dict[str, float] | None]], rounds: int
) -> dict[str, dict[str, np.ndarray]]:
    """For each run that there is what it found in every round, by name."""
    found: dict[str, list[dict[str, float]]] = {}
    for turn in range(rounds):
        order = list(runs)
        for who in order[turn % len(order) :] + order[: turn % len(order)]:
            if (one := runs[who]()) is not None:
                found.setdefault(who, []).append(one)
    return {
        who: {name: np.array([row[name] for row in found[who]]) for name in found[who][0]}
        for who in runs
        if who in found
    }


# The page.


def seconds_of(times: np.ndarray) -> str:
    """The median, and the least and the most.

    >>> seconds_of(np.array([1.0, 3.0, 1.5]))
    '1.50 s (1.00 ... 3.00)'
    """
    return f"{np.median(times):.2f} s ({times.min():.2f} ... {times.max():.2f})"


def goal(words: str, number: float, limit: float) -> str:
    """A line that says whether a goal is met."""
    return f"- Goal, {words}: {'met' if number <= limit else 'missed'} ({number:.2f})."


def of_networks(names: Sequence[str], rounds: int, quick: bool, seconds: float) -> str:
    """The table of the networks, and its goals."""
    head = ("network", "step", *PARTS, "instructions", "to the first step", "it / Flax's",
            "a later step")  # fmt: skip
    rows: list[tuple[str, ...]] = [head]
    goals = []
    for name in names:
        runs = {who: functools.partial(inside, step, name, who, quick, seconds)
                for who in (OURS, AUTODIFF, FLAX)}  # fmt: skip
        found = in_turns(runs, rounds)
        theirs = float(np.median(found[FLAX]["all"])) if FLAX in found else None
        for who, times in found.items():
            ratio = None if theirs is None else float(np.median(times["all"])) / theirs
            rows.append((
                name, who, *(f"{np.median(times[part]):.2f} s" for part in PARTS),
                f"{int(np.median(times['instructions'])):,}", seconds_of(times["all"]),
                "-" if ratio is None else f"{ratio:.2f}",
                f"{1e3 * np.median(times['step']):.3g} ms",
            ))  # fmt: skip
            print("  ".join(rows[-1]), flush=True)
            if who == OURS and ratio is not None:
                goals.append(goal(f"{name} at most 1.5 times Flax's time", ratio, 1.5))
    titles = "\n".join(f"- {name}: {NETWORKS[name].title}, batch "
                       f"{2 if quick else NETWORKS[name].shape[0]}." for name in names)  # fmt: skip
    missing = "" if goals else f"\n\nFlax and optax are not installed: {peers.MISSING}."
    return "\n\n".join(["## A training step", titles, markdown(rows), "\n".join(goals)]) + missing


def of_fit(rounds: int, quick: bool) -> str:
    """The first `fit`."""
    loop = "JAX and optax, a loop"
    runs = {who: functools.partial(inside, fit, who, quick) for who in (OURS, loop)}
    found = in_turns(runs, rounds)
    epochs = training.digits(quick).epochs
    rows = [(f"{epochs} epochs on the digits, 64-64-10, the first time", "time")]
    rows += [
        ("`jnn.fit`" if who == OURS else who, seconds_of(f["all"])) for who, f in found.items()
    ]
    met = goal("at most 1.2 s", float(np.median(found[OURS]["all"])), 1.2)
    return f"## A first `fit`\n\n{markdown(rows)}\n\n{met}"


def of_import(rounds: int) -> str:
    """What importing costs beyond JAX, as processes."""
    runs = {word: functools.partial(lambda word: {"all": whole(["-c", f"import {word}"])[0]}, word)
            for word in ("jax", "jnn")}  # fmt: skip
    found = in_turns(runs, 2 * rounds + 1)
    more = found["jnn"]["all"] - found["jax"]["all"]
    rows = [("a process with only", "time")]
    rows += [(f"`import {word}`", seconds_of(times["all"])) for word, times in found.items()]
    rows.append(("the second less the first", seconds_of(more)))
    met = goal("at most 0.2 s more", float(np.median(more)), 0.2)
    return f"## Importing\n\n{markdown(rows)}\n\n{met}"


def of_train(rounds: int, quick: bool) -> str:
    """The command, without its cache and with it."""
    words = ["-m", "jnn", "train", "digits", "--quiet", *(["--epochs", "1"] if quick else [])]
    with tempfile.TemporaryDirectory() as folder:
        whole(words, JNN_CACHE=folder)  # Fills it.
        runs = {"without its cache": lambda: {"all": whole(words)[0]},
                "with it": lambda: {"all": whole(words, JNN_CACHE=folder)[0]}}  # fmt: skip
        found = in_turns(runs, rounds)
    rows = [("`python -m jnn train digits`, a whole process", "time")]
    rows += [(name, seconds_of(times["all"])) for name, times in found.items()]
    goals = [goal(f"{name} at most {limit} s", float(np.median(found[name]["all"])), limit)
             for name, limit in (("without its cache", 4), ("with it", 3))]  # fmt: skip
    return "\n\n".join(["## A command", markdown(rows), "\n".join(goals)])


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures all parts, or those that are named."""
    others = {"fit": of_fit, "import": of_import, "train": of_train}
    parser = options(__doc__, "first_step", *NETWORKS, *others)
    chosen = parser.parse_args(arguments)
    names = chosen.names or [*NETWORKS, *others]
    if unknown := set(names) - {*NETWORKS, *others}:
        parser.error(f"no part is called {', '.join(sorted(unknown))}")
    rounds, quick = 1 if chosen.quick else ROUNDS, chosen.quick
    whole(["-c", "import jnn"])  # Its bytecode is written.
    parts = [
        "Each time is of a process of its own, a median of those run in turns; in parentheses the\n"
        "least and the most. Compiled programs are not kept between them, but where a cache is\n"
        "named. To the first step is from tracing to the first result, with parameters and data\n"
        "in place; instructions are those of the optimised program."
    ]
    if picked := [name for name in names if name in NETWORKS]:
        parts.append(of_networks(picked, rounds, quick, chosen.seconds / 4))
    for name in (name for name in names if name in others):
        parts.append(of_import(rounds) if name == "import" else others[name](rounds, quick))
    publish("The first second", command(chosen, "first_step"), "\n\n".join(parts),
            destination(chosen, "first_step"))  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
