"""Programs compiled, weighed and raced: the one stopwatch of this library.

Candidates run in turns, in an order that rotates, so that whatever else the machine does falls on
all of them; and they are compared by the median of ratios taken within a turn. A turn is a block of
consecutive calls, so that each candidate runs with caches and threads as it leaves them itself.
"""

import math
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

Clock = Callable[[], float]

# A block shorter than this would measure the clock.
BLOCK_SECONDS = 1e-3
BLOCK, LONG = 10, 0.5  # So many calls are a block, or as many as so many seconds hold.


class Program(NamedTuple):
    """A function compiled for its arguments; calling it runs it and waits for the result.

    Attributes:
      run: the compiled function on those arguments.
      compile_seconds: the time that tracing and compiling took.
      temporaries: the bytes of temporary memory that a run takes, None where it is not known.
      flops: the operations of a run by the compiler's count, None where it is not known.
      instructions: the size of the compiled program, None where it is not known.
    """

    run: Callable[[], Any]
    compile_seconds: float
    temporaries: int | None
    flops: float | None
    instructions: int | None = None

    def __call__(self) -> Any:
        return jax.block_until_ready(self.run())


def program(function: Callable[..., Any], *args: Any) -> Program:
    """Compiles `function` for `args`; they stay arguments, so that nothing is folded into it.

    >>> square = program(lambda x: x * x, jnp.arange(3.0))
    >>> square().tolist()
    [0.0, 1.0, 4.0]
    """
    args = jax.tree.map(jax.numpy.asarray, args)
    start = time.perf_counter()
    executable = jax.jit(function).lower(*args).compile()
    seconds = time.perf_counter() - start
    memory = executable.memory_analysis()
    costs = executable.cost_analysis() or {}
    return Program(
        run=lambda: executable(*args),
        compile_seconds=seconds,
        temporaries=None if memory is None else memory.temp_size_in_bytes,
        flops=costs.get("flops"),
        instructions=len(re.findall(r"(?m)^\s+(?:ROOT )?\S+ = ", executable.as_text() or "")),
    )


class Race(NamedTuple):
    """The times of several candidates.

    Attributes:
      samples: for each candidate the seconds of a call, one number a round.
    """

    samples: dict[str, np.ndarray]

    @property
    def rounds(self) -> int:
        """The number of rounds."""
        return min(map(len, self.samples.values()), default=0)

    def seconds(self, name: str) -> float:
        """The median time of a call."""
        return float(np.median(self.samples[name]))

    def ratio(self, name: str, other: str) -> float:
        """How many times as long `name` takes as `other`: the median over the rounds."""
        return float(np.median(self.samples[name] / self.samples[other]))

    def spread(self, name: str, other: str) -> tuple[float, float]:
        """Between which two ratios the middle half of the rounds lies."""
        low, high = np.quantile(self.samples[name] / self.samples[other], (0.25, 0.75))
        return float(low), float(high)


def race(
    candidates: Mapping[str, Callable[[], Any]],
    *,
    budget: float = 1.0,
    rounds: int = 200,
    clock: Clock = time.perf_counter,
) -> Race:
    """Times the candidates, each in each round.

    Args:
      candidates: functions without arguments that return when their work is done, e.g. `program`s.
      budget: seconds for all of it; at least three rounds are run whatever they take.
      rounds: the most rounds.
      clock: seconds; `time.process_time` counts the work of this process alone, which tells more on
        a CPU that others use too.

    >>> result = race({"list": lambda: [0] * 999, "tuple": lambda: (0,) * 999}, budget=0.05)
    >>> result.rounds >= 3, result.seconds("list") > 0
    (True, True)
    """
    start = clock()
    for run in candidates.values():
        run()  # Warm: memory is allocated, and what is compiled late is compiled.
    calls = {name: _calls(run, clock) for name, run in candidates.items()}
    names = list(candidates)
    samples: dict[str, list[float]] = {name: [] for name in names}
    for i in range(rounds):
        if i >= 3 and clock() - start > budget:
            break
        turn = i % len(names)
        order = names[turn:] + names[:turn]
        for name in order if (i // len(names)) % 2 == 0 else order[::-1]:
            samples[name].append(_time(candidates[name], calls[name], clock))
    return Race({name: np.array(times) for name, times in samples.items()})


def _calls(run: Callable[[], Any], clock: Clock) -> int:
    """How many calls are a block: ten, or what half a second holds; and enough for the clock."""
    calls = 1
    while (seconds := _time(run, calls, clock) * calls) < BLOCK_SECONDS:
        calls *= max(2, math.ceil(BLOCK_SECONDS / max(seconds, BLOCK_SECONDS / 100)))
    return max(calls, min(BLOCK, math.ceil(LONG * calls / seconds)))


def _time(run: Callable[[], Any], calls: int, clock: Clock) -> float:
    start = clock()
    for _ in range(calls):
        run()
    return (clock() - start) / calls
