"""Connectionist temporal classification: the loss of labels in order, without their times."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jnn import errors
from jnn.arithmetic import as_wide
from jnn.rules.core.rule import Example, rule
from jnn.rules.losses.softmax import row_maximum, shares
from jnn.xla.control import differing, marked

NEVER = -1e30  # The logarithm of 0, as a number that can be added, subtracted and differentiated.


@rule
def ctc(
    logits: jax.Array,
    labels: jax.Array,
    logit_lengths: jax.Array | None = None,
    label_lengths: jax.Array | None = None,
    *,
    blank: int = 0,
) -> jax.Array:
    """Minus the logarithm of the probability of the labels, in order, under logits of each frame.

    Each frame says one label or the blank. What the frames say is read without repetitions, then
    without blanks; the probability of the labels is that of all sayings that are read as they are,
    frames being independent with `p = softmax(logits)` (M-90..92). With the cotangent v of its
    sample, and gamma the posterior of the places that a frame may be at (M-93..95),

        dx = v (p - sum gamma over the places of each class)

    Labels that no saying of so few frames is read as have the loss infinity and the gradient 0.

    Saves: logits, labels, logit_lengths, label_lengths, two numbers a row, 1 wide tensor, of one
    number for each frame and place. Autodiff of the loop saves several of these.

    Args:
      logits: (batch, time, classes), the blank among the classes.
      labels: integers, (batch, length). A label that names no class, or the blank, which only the
        running program can see, gives NaN; and so does a length beyond the axis.
      logit_lengths: of each sample how many frames count, (batch,); None for all.
      label_lengths: of each sample how many labels count, (batch,); None for all.
      blank: the class of the blank.

    >>> logits = jnp.zeros((1, 3, 2))  # Of 8 sayings, 6 are read as "1".
    >>> y = jnn.ctc(logits, jnp.array([[1]]))
    >>> jnp.exp(-y).round(4).tolist()
    [0.75]
    """
    at = _places(logits, labels, logit_lengths, label_lengths, blank)
    x = as_wide(logits)
    log_p = x - row_maximum(x, -1)
    log_p = log_p - jnp.log(jnp.exp(log_p).sum(-1, keepdims=True))
    e = jnp.moveaxis(_at_places(log_p, at), 1, 0)
    last, _, tops = _alphas(e, at)
    total = _total(last, tops, at)
    return _loss(-total, total, at).astype(logits.dtype)


@ctc.forward
def ctc_forward(logits, labels, logit_lengths, label_lengths, *, blank):
    at, x = _places(logits, labels, logit_lengths, label_lengths, blank), as_wide(logits)
    m = row_maximum(x, -1)
    s = jnp.exp(x - m).sum(-1, keepdims=True)
    e, top = _emissions(x, at)
    last, alphas, tops = _alphas(e, at)
    total = _total(last, tops, at)
    lost = (m - top + jnp.log(s))[..., 0]  # What the frames' shifts leave out (M-96)
    lost = jnp.where(at.live.T, lost, jnp.zeros_like(lost)).sum(-1)
    y = _loss(lost - total, total, at).astype(logits.dtype)
    return y, (logits, labels, logit_lengths, label_lengths, m, s, alphas)


@ctc.backward
def ctc_backward(saved, delta, *, blank):
    *args, m, s, alphas = saved
    return (as_wide(delta)[:, None, None] * _slope(args, m, s, alphas, blank), None, None, None)


@ctc.tangent
def ctc_tangent(primals, tangents, *, blank):
    y, (*args, m, s, alphas) = ctc_forward(*primals, blank=blank)
    dy = (_slope(args, m, s, alphas, blank) * as_wide(tangents[0])).sum((1, 2))
    return y, dy.astype(y.dtype)


class _Places(NamedTuple):
    """The places of a saying: the labels, with a blank before, between and behind them (M-90).

    Attributes:
      z: the class of each place, (batch, places).
      jump: 0 where a frame may come to the place from two before, else NEVER.
      final: the places at which the last frame may be.
      live: the frames that count, (time, batch).
      valid: 1 for each sample, NaN where its labels or lengths are none.
      blank: the class of the blank.
    """

    z: jax.Array
    jump: jax.Array
    final: jax.Array
    live: jax.Array
    valid: jax.Array
    blank: int


def _places(logits: Any, labels: Any, frames: Any, count: Any, blank: int) -> _Places:
    (batch, time, classes), length = logits.shape, labels.shape[1]
    labels = labels.astype(jnp.int32)
    frames = _column(frames, batch, time)
    count = _column(count, batch, length)
    dtype = as_wide(logits).dtype

    def between(blanks: Any, labels: jax.Array) -> jax.Array:
        """Blanks and labels in turn, a blank first and last."""
        blanks = jnp.full((batch, length + 1), blanks, labels.dtype)
        pairs = jnp.stack([blanks[:, 1:], labels], -1).reshape(batch, 2 * length)
        return jnp.concatenate([pairs, blanks[:, :1]], -1)

    before = jnp.concatenate([jnp.full_like(labels[:, :1], -1), labels[:, :-1]], -1)
    before = before if length else labels
    # Between equal labels a blank must be said; and the first has none before it to come from.
    apart = (labels != before) & (_numbers(length) > 0)[None]
    jump = jnp.where(apart, jnp.zeros((), dtype), jnp.asarray(NEVER, dtype))
    place = _numbers(2 * length + 1)[None]
    final = (place == 2 * count) | (place == 2 * count - 1)
    live = _numbers(time)[:, None] < frames.T
    named = (labels >= 0) & (labels < classes) & (labels != blank)
    named = named | (_numbers(length)[None] >= count)
    right = named.all(-1) & _within(frames, time) & _within(count, length)
    valid = jnp.where(right, jnp.ones((), dtype), jnp.asarray(jnp.nan, dtype))
    return _Places(between(blank, labels), between(NEVER, jump), final, live, valid, blank)


def _numbers(n: int) -> jax.Array:
    return lax.iota(jnp.int32, n)


def _column(lengths: Any, batch: int, whole: int) -> jax.Array:
    if lengths is None:
        return jnp.full((batch, 1), whole, jnp.int32)
    return lengths.astype(jnp.int32)[:, None]


def _within(lengths: jax.Array, most: int) -> jax.Array:
    return ((lengths >= 0) & (lengths <= most))[:, 0]


def _at_places(x: jax.Array, at: _Places) -> jax.Array:
    """Of each frame the numbers of the places' classes, (batch, time, places); finite."""
    taken = jnp.take_along_axis(x, at.z[:, None], -1, mode="clip")
    return jnp.maximum(taken, jnp.asarray(NEVER, x.dtype))


def _emissions(x: jax.Array, at: _Places) -> tuple[jax.Array, jax.Array]:
    """Logits at the places less the frame's largest of them, (time, batch, places), and this.

    So sums over long times stay small, and keep their digits (M-96).
    """
    e = _at_places(x, at)
    top = lax.stop_gradient(e.max(-1, keepdims=True))
    top = jnp.where(top > NEVER / 2, top, jnp.zeros_like(top))
    return jnp.moveaxis(e - top, 1, 0), top


def _alphas(e: jax.Array, at: _Places) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The logarithm of what leads to each place, at the last frame that counts, and at each.

    Each frame is less its largest; the sum of these comes last (M-96).
    """
    start = jnp.where(_numbers(e.shape[-1]) == 0, 0.0, NEVER).astype(e.dtype)
    start = jnp.broadcast_to(start, e.shape[1:])

    def turn(alpha: jax.Array, frame: Any) -> tuple[jax.Array, Any]:
        e, live = frame
        came = _sum_of_three(alpha, _moved(alpha, 1), _moved(alpha, 2) + at.jump)  # M-91
        came, top = _from_top(came + e)
        alpha = jnp.where(live[:, None], came, alpha)
        return alpha, (alpha, jnp.where(live, top, jnp.zeros_like(top)))

    last, (alphas, tops) = lax.scan(turn, _varying(start, e, at), (e, at.live))
    return last, alphas, tops.sum(0)


def _betas(e: jax.Array, at: _Places) -> jax.Array:
    """The logarithm of what leads on from each place at each frame, (time, batch, places)."""
    end = jnp.where(at.final, jnp.zeros_like(e[0]), jnp.full_like(e[0], NEVER))

    def turn(beta: jax.Array, frame: Any) -> tuple[jax.Array, jax.Array]:
        e, live = frame
        ahead = beta + e
        goes = _sum_of_three(ahead, _moved(ahead, -1), _moved(ahead + at.jump, -2))  # M-93
        return jnp.where(live[:, None], _from_top(goes)[0], beta), beta

    return lax.scan(turn, _varying(end, e, at), (e, at.live), reverse=True)[1]


def _from_top(a: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Less the largest of each sample, so that what counts keeps its digits; and this, or 0."""
    top = lax.stop_gradient(a.max(-1))
    top = jnp.where(top > NEVER / 2, top, jnp.zeros_like(top))
    return a - top[:, None], top


def _slope(args: Any, m: Any, s: Any, alphas: jax.Array, blank: int) -> jax.Array:
    """The derivative of each sample's loss in its logits, (batch, time, classes)."""
    logits, labels, frames, count = args
    at, x = _places(logits, labels, frames, count, blank), as_wide(logits)
    e, _ = _emissions(x, at)
    counts = at.live & (_total(alphas[-1], 0, at) > NEVER / 2)[None]
    paths = alphas + _betas(e, at)
    gamma = jnp.exp(paths - lax.stop_gradient(paths.max(-1, keepdims=True)))
    gamma = gamma / gamma.sum(-1, keepdims=True)  # M-94: the sum is P at each frame
    classes = _numbers(x.shape[-1])
    one_hot = (at.z[:, 1::2, None] == classes[None, None]).astype(x.dtype)
    said = jnp.einsum("tbl,blc->btc", gamma[..., 1::2], one_hot, precision="highest")
    is_blank = (classes == at.blank).astype(x.dtype)
    silent = gamma[..., ::2].sum(-1).T[..., None] * is_blank[None, None]
    slope = shares(x, m, s, jnp.ones_like(m)) - said - silent  # M-95
    slope = jnp.where(counts.T[..., None], slope, jnp.zeros_like(slope))
    return slope * at.valid[:, None, None]


def _total(last: jax.Array, tops: Any, at: _Places) -> jax.Array:
    """The logarithm of P, of what leads to the last places (M-92)."""
    return _logsumexp(jnp.where(at.final, last, jnp.full_like(last, NEVER))) + tops


def _loss(loss: jax.Array, total: jax.Array, at: _Places) -> jax.Array:
    """Infinity where there is no saying, NaN where the labels are none."""
    never = total < NEVER / 2
    return at.valid * jnp.where(never, jnp.full_like(loss, jnp.inf), loss)


def _moved(a: jax.Array, by: int) -> jax.Array:
    """Each place has what was `by` places before."""
    return lax.pad(a, jnp.asarray(NEVER, a.dtype), ((0, 0, 0), (by, -by, 0)))


def _sum_of_three(a: jax.Array, b: jax.Array, c: jax.Array) -> jax.Array:
    """The logarithm of the sum of what these are logarithms of."""
    m = lax.stop_gradient(jnp.maximum(jnp.maximum(a, b), c))
    return m + jnp.log(jnp.exp(a - m) + jnp.exp(b - m) + jnp.exp(c - m))


def _logsumexp(a: jax.Array) -> jax.Array:
    m = lax.stop_gradient(a.max(-1, keepdims=True))
    return (m + jnp.log(jnp.exp(a - m).sum(-1, keepdims=True)))[..., 0]


def _varying(start: jax.Array, e: jax.Array, at: _Places) -> jax.Array:
    """The start of a loop, marked to differ among devices as what the loop reads does."""
    return marked(start, frozenset().union(*map(differing, (e, at.z, at.live))))


@ctc.check
def ctc_check(logits, labels, logit_lengths, label_lengths, *, blank):
    errors.floating("ctc", logits=logits)
    errors.rank("ctc", "logits", logits, 3)
    if 0 in logits.shape[1:]:
        expected = "of at least one frame and one class"
        errors.fail("ctc", "logits", expected, errors.describe(logits))
    errors.rank("ctc", "labels", labels, 2)
    batch, _, classes = logits.shape
    if len(labels) != batch:
        expected = f"of shape ({batch}, length) to fit `logits` {errors.describe(logits)}"
        errors.fail("ctc", "labels", expected, errors.describe(labels))
    lengths = {"logit_lengths": logit_lengths, "label_lengths": label_lengths}
    for name, given in {"labels": labels, **lengths}.items():
        if given is None:
            continue
        if not jnp.issubdtype(given.dtype, jnp.integer):
            errors.fail("ctc", name, "an integer array", errors.describe(given), kind=TypeError)
        if name != "labels":
            errors.shape("ctc", name, given, (batch,), "One length a sample.")
    if isinstance(blank, bool) or not hasattr(blank, "__index__") or not 0 <= blank < classes:
        errors.fail("ctc", "blank", f"a class, 0 to {classes - 1}", repr(blank))


def _example(blank: int, lengths: bool = True, repeats: bool = False):
    def make(random: np.random.Generator) -> Example:
        batch, length, classes = random.integers(1, 4), random.integers(0, 4), 4
        time = 2 * length + random.integers(1, 4)
        labels = random.integers(0, classes - 1, (batch, length))
        labels = np.where(labels >= blank, labels + 1, labels)
        labels = np.repeat(labels[:, :1], length, 1) if repeats else labels
        logits = random.normal(size=(batch, time, classes))
        if not lengths:
            return Example(logits, labels, blank=blank)
        count = random.integers(0, length + 1, batch)
        return Example(logits, labels, random.integers(2 * count, time) + 1, count, blank=blank)

    return make


for _maker in (_example(0), _example(3), _example(0, lengths=False), _example(1, repeats=True)):
    ctc.example(_maker)


@ctc.extreme
def ctc_extreme(random: np.random.Generator) -> Example:
    logits = 100 * random.normal(size=(3, 5, 4))
    return Example(logits, np.array([[1, 1], [2, 3], [3, 0]]), None, np.array([2, 2, 1]))


@ctc.extreme
def ctc_masked(random: np.random.Generator) -> Example:
    """A class that no frame says, and labels that no saying is read as."""
    logits = random.normal(size=(2, 3, 4))
    logits[..., 3] = -np.inf
    return Example(logits, np.array([[1, 2], [1, 1]]), np.array([3, 2]))
