"""A contest: one job, done by this library and by others, in one run."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from benchmarks.report import agree, markdown
from jnn.measure import Clock, Program, race
from jnn.text import bytes_text, seconds_text

OURS, AUTODIFF = "jnn", "jnn, autodiff"


class Contest(NamedTuple):
    """What is raced.

    Attributes:
      title: the job and its sizes, e.g. "causal attention, 2 x 2048 x 8 x 64".
      contenders: makes the programs by name; ours, `OURS`, leads.
      goal: what was aimed at, a sentence.
      tolerance: how far results may differ, relative to each array's largest entry.
      told: what of a program's results is compared.
      notes: makes what else is told of it, bytes saved or digits lost, below the table.
    """

    title: str
    contenders: Callable[[], dict[str, Program]]
    goal: str = ""
    tolerance: float = 1e-4
    told: Callable[[Any], Any] = lambda result: result
    notes: Callable[[], str] = str


HEAD = ("contender", "time", "jnn takes", "temporaries", "instructions", "to compile")


def held(contest: Contest, seconds: float, clock: Clock) -> str:
    """The table of a contest, once the contenders agree."""
    programs = contest.contenders()
    results = {name: partial(_told, contest, each) for name, each in programs.items()}
    agree(contest.title, results, contest.tolerance)
    times = race(programs, budget=seconds, clock=clock)
    rows: list[tuple[str, ...]] = [HEAD]
    for name, each in programs.items():
        low, high = times.spread(OURS, name)
        ratio = f"{times.ratio(OURS, name):.2f} ({low:.2f} ... {high:.2f})"
        rows.append(
            (
                name,
                seconds_text(times.seconds(name)),
                "" if name == OURS else ratio,
                "-" if each.temporaries is None else bytes_text(each.temporaries),
                "-" if each.instructions is None else f"{each.instructions:,}",
                "-" if not each.compile_seconds else seconds_text(each.compile_seconds),
            )
        )
    goal = contest.goal and f"Goal: {contest.goal}"
    return "\n\n".join(filter(None, (markdown(rows), contest.notes(), goal)))


def _told(contest: Contest, each: Program) -> Any:
    return contest.told(each())


def by_torch(
    gradients: Callable[..., Any], *arrays: Any, threads: int,
    same: Callable[[Any], Any] = list, dtype: str = "float32",
) -> Program:  # fmt: skip
    """A peer's program: `gradients(torch, *tensors)`, with as many threads; leaves require grad.

    Args:
      gradients: returns tensors.
      *arrays: NumPy's; the floating ones become leaves that require a gradient.
      threads: of PyTorch.
      same: from what it returns to what the others return.
      dtype: "bfloat16" for PyTorch's own mixed precision.
    """
    import torch  # pyright: ignore[reportMissingImports]

    def tensor(array: Any) -> Any:
        made = torch.from_numpy(np.array(array))
        return made.requires_grad_() if made.is_floating_point() else made

    tensors = [tensor(array) for array in arrays]

    def run() -> Any:
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        for each in tensors:
            each.grad = None
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16"):
            found = same(gradients(torch, *tensors))
        return jax.tree.map(lambda y: y.detach().float().numpy(), found)

    return Program(run, 0.0, None, None)


def with_torch(make: Callable[[int], Program]) -> dict[str, Program]:
    """PyTorch with one thread and with two, by `make(threads)`; none if it is not installed."""
    try:
        import torch  # noqa: F401 # pyright: ignore[reportMissingImports]
    except ImportError:
        return {}
    return {f"PyTorch, {n} thread{'s' * (n > 1)}": make(n) for n in (1, 2)}
