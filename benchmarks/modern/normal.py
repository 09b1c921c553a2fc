"""Normalisation alone and inside a residual network, against Flax, PyTorch and autodiff."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np

import jnn
from benchmarks.modern.contest import AUTODIFF, OURS, Contest, by_torch, with_torch
from benchmarks.networks.images import TOLERANCE, saved_of, steps_of
from benchmarks.report import in_mode, markdown
from jnn import rules
from jnn.measure import Program, program
from jnn.text import bytes_text

GROUPS, EPSILON, FAR = 8, 1e-5, 1e4
IMAGES = (64, 32, 32, 64), (64, 8, 8, 256)
ROWS = (4096, 512), (512, 4096)
SIZES = {"batch_norm": IMAGES, "group_norm": IMAGES, "layer_norm": ROWS, "rms_norm": ROWS}
GOAL = "no slower than autodiff, half its saved bytes"


def contests(quick: bool) -> list[Contest]:
    """Each norm over two sizes, and the steps of two residual networks."""
    small = {2: (4, 16), 4: (4, 4, 4, 16)}
    found = []
    for name, sizes in SIZES.items():
        for shape in [small[len(sizes[0])]] if quick else sizes:
            title = f"{name}, {' x '.join(map(str, shape))}"
            found.append(Contest(title, partial(_contenders, name, shape), GOAL,
                                 notes=partial(_notes, name, shape)))  # fmt: skip
    widths, steps = ((4, 8), 1) if quick else ((32, 64, 128), 2)
    made = partial(jnn.models.resnet, 10, widths=widths, steps=steps, norm="batch")
    nets = {"norms in front": made(order="before")}
    if not quick:
        nets["norms behind"] = made()
    goal = f"0.6 of Flax's temporaries, 1.3 times its speed; equal to {TOLERANCE:g}"
    for what, net in nets.items():
        shape = (4, 8, 8, 3) if quick else (64, 32, 32, 3)
        title = f"a step of a residual network, {what}, {' x '.join(map(str, shape))}"
        found.append(Contest(title, partial(steps_of, net, shape), goal, TOLERANCE,
                             notes=partial(saved_of, net, shape)))  # fmt: skip
    return found


def _arguments(name: str, shape: tuple[int, ...], far: float = 2.0) -> list[np.ndarray]:
    """x, scale, shift if there is one, and the cotangent of y."""
    random = np.random.default_rng(0)
    parameters = [random.uniform(0.5, 2, shape[-1]), random.normal(size=shape[-1])]
    x, delta = far + random.normal(size=shape), random.normal(size=shape)
    arrays = x, *parameters[: 1 if name == "rms_norm" else 2], delta
    return [a.astype(np.float32) for a in arrays]


def _ours(name: str, *args: Any) -> Any:
    settings = {"groups": GROUPS} if name == "group_norm" else {}
    y = rules.registry[name](*args, epsilon=EPSILON, **settings)
    return y[0] if name == "batch_norm" else y


def _flax(name: str) -> Callable[..., Any] | None:
    """Flax's module as a function of x and its parameters; None if it is not installed."""
    try:
        from flax import linen  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    module: Any = {
        "batch_norm": partial(linen.BatchNorm, use_running_average=False),
        "layer_norm": linen.LayerNorm,
        "rms_norm": linen.RMSNorm,
        "group_norm": partial(linen.GroupNorm, GROUPS),
    }[name](epsilon=EPSILON)

    def norm(x: Any, *parameters: Any) -> Any:
        given = dict(zip(("scale", "bias"), parameters, strict=False))
        y, _ = module.apply({"params": given, "batch_stats": _statistics(x)}, x,
                            mutable=["batch_stats"])  # fmt: skip
        return y

    return norm


def _statistics(x: Any) -> dict[str, np.ndarray]:
    channels = x.shape[-1]
    return {"mean": np.zeros(channels, np.float32), "var": np.ones(channels, np.float32)}


def _slopes(norm: Callable[..., Any], *args: Any) -> Any:
    *arguments, delta = args
    y, pull = jax.vjp(norm, *arguments)
    return [y, *pull(delta)]


def _torch(name: str, torch: Any, *args: Any) -> Any:
    x, *parameters, delta = args
    f = torch.nn.functional
    if name in ("layer_norm", "rms_norm"):
        y = getattr(f, name)(x, x.shape[-1:], *parameters, eps=EPSILON)
    elif name == "batch_norm":
        y = f.batch_norm(x.movedim(-1, 1), None, None, *parameters, training=True, eps=EPSILON)
    else:
        y = f.group_norm(x.movedim(-1, 1), GROUPS, *parameters, eps=EPSILON)
    y = y if len(y.shape) == 2 else y.movedim(1, -1)
    y.backward(delta.detach())
    return [y, x.grad, *(p.grad for p in parameters)]


def _contenders(name: str, shape: tuple[int, ...], far: float = 2.0) -> dict[str, Program]:
    args, ours, theirs = _arguments(name, shape, far), partial(_ours, name), _flax(name)
    found = {
        OURS: in_mode("backward", partial(_slopes, ours), *args),
        AUTODIFF: in_mode("autodiff", partial(_slopes, ours), *args),
    }
    if theirs is not None:
        found["Flax"] = program(partial(_slopes, theirs), *args)
    return found | with_torch(lambda n: by_torch(partial(_torch, name), *args, threads=n))


def _notes(name: str, shape: tuple[int, ...]) -> str:
    """Saved bytes, and the error of dx where the mean is far from 0, as a table."""
    *args, _ = _arguments(name, shape)
    ours, theirs = jnn.residuals(partial(_ours, name), *args), _flax(name)
    saved = {OURS: ours.bytes("hand"), AUTODIFF: ours.bytes("autodiff")}
    if theirs is not None:
        saved["Flax"] = jnn.residuals(theirs, *args).bytes("autodiff")
    programs = _contenders(name, shape, FAR)
    exact = _exact(name, *_arguments(name, shape, FAR))
    head = ("contender", "saves", "error of dx, mean 1e4 deviations")
    rows: list[tuple[str, ...]] = [head]
    for each, run in programs.items():
        error = np.abs(np.asarray(run()[1]) - exact).max() / np.abs(exact).max()
        rows.append((each, bytes_text(saved[each]) if each in saved else "-", f"{error:.1e}"))
    return markdown(rows)


def _exact(name: str, x: np.ndarray, scale: np.ndarray, *rest: np.ndarray) -> np.ndarray:
    """The gradient in x by NumPy in float64: r (a - mean(a) - n mean(n a)) with a = scale delta."""
    wide, a = np.float64(x), np.float64(scale) * np.float64(rest[-1])
    if name == "batch_norm":
        axes: Any = tuple(range(x.ndim - 1))
    elif name == "group_norm":
        split = (*x.shape[:-1], GROUPS, x.shape[-1] // GROUPS)
        wide, a, axes = wide.reshape(split), a.reshape(split), (*range(1, x.ndim - 1), x.ndim)
    else:
        axes = -1
    centred = name != "rms_norm"
    apart = wide - wide.mean(axes, keepdims=True) if centred else wide
    r = 1 / np.sqrt((apart**2).mean(axes, keepdims=True) + EPSILON)
    n = apart * r
    through = a - n * (n * a).mean(axes, keepdims=True)
    return (r * (through - a.mean(axes, keepdims=True) * centred)).reshape(x.shape)
