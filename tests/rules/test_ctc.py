"""Connectionist temporal classification: every saying counted one by one, and PyTorch's loss."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from jnn.rules import ctc
from jnn.rules.losses import ctc as module


def read(saying, blank):
    """What a saying is read as: without repetitions, then without blanks."""
    return tuple(label for label, _ in itertools.groupby(saying) if label != blank)


def counted(logits, labels, blank):
    """The loss by enumeration of all sayings, and its gradient, p less the posterior of a class."""
    shifted = np.exp(logits - logits.max(-1, keepdims=True))
    p = shifted / shifted.sum(-1, keepdims=True)
    time, classes = p.shape
    total, said = 0.0, np.zeros_like(p)
    for saying in itertools.product(range(classes), repeat=time):
        if read(saying, blank) == tuple(labels):
            probability = np.prod([p[t, k] for t, k in enumerate(saying)])
            total += probability
            for t, k in enumerate(saying):
                said[t, k] += probability
    return (-np.log(total), p - said / total) if total else (np.inf, np.zeros_like(p))


@pytest.mark.parametrize("labels", [(), (1,), (1, 2), (1, 1), (2, 2, 1), (1, 1, 1), (1, 2, 1, 2)])
@pytest.mark.parametrize("blank", [0, 2])
def test_every_saying_counted(labels, blank, random):
    """(1, 1, 1) takes five frames and one label or none in four of (1, 2, 1, 2): all is there."""
    labels = [(k + blank) % 3 for k in labels]
    logits = random.normal(size=(5, 3))
    want, slope = counted(logits, labels, blank)
    with jax.enable_x64(True):
        given = jnp.asarray(labels, jnp.int32).reshape(1, -1)
        y, pull = jax.vjp(lambda x: ctc(x, given, blank=blank), logits[None])
        (dx,) = pull(jnp.ones(1))
    np.testing.assert_allclose(y[0], want, rtol=1e-12)
    np.testing.assert_allclose(dx[0], slope, rtol=1e-10, atol=1e-14)


def case(random, batch=6, time=20, length=8, classes=5, scale=2.0):
    """Samples of all lengths: without labels, with as many frames as it takes, with repetitions."""
    logits = scale * random.normal(size=(batch, time, classes))
    labels = random.integers(1, classes, (batch, length))
    labels[1] = 1
    count = random.integers(0, length + 1, batch)
    count[:3] = 0, length, length
    frames = np.maximum(random.integers(2 * length, time + 1, batch), 1)
    frames[1] = 2 * length - 1
    return logits, labels, frames, count


def by_torch(logits, labels, frames, count, delta, **settings):
    torch = pytest.importorskip("torch", reason="PyTorch is the second opinion")
    x = torch.tensor(logits, requires_grad=True)
    log_p = torch.nn.functional.log_softmax(x, -1).transpose(0, 1)
    y = torch.nn.functional.ctc_loss(
        log_p, torch.tensor(labels), torch.tensor(frames), torch.tensor(count),
        reduction="none", **settings,
    )  # fmt: skip
    y.backward(torch.tensor(delta))
    return y.detach().numpy(), x.grad.numpy()


@pytest.mark.parametrize("seed", range(3))
def test_the_loss_of_pytorch(seed):
    random = np.random.default_rng(seed)
    args, delta = case(random), random.normal(size=6)
    want, slope = by_torch(*args, delta)
    assert np.isfinite(want).all()
    with jax.enable_x64(True):
        y, pull = jax.vjp(lambda x: ctc(x, *map(jnp.asarray, args[1:])), args[0])
        (dx,) = pull(jnp.asarray(delta))
    np.testing.assert_allclose(y, want, rtol=1e-9)
    np.testing.assert_allclose(dx, slope, rtol=1e-9, atol=1e-12)


def test_labels_of_no_saying_as_in_pytorch(random):
    """Too few frames: infinity, and the gradient that PyTorch gives under `zero_infinity`."""
    logits, labels = random.normal(size=(3, 4, 3)), np.array([[1, 1, 1], [1, 2, 1], [1, 2, 2]])
    args = logits, labels, np.array([4, 4, 3]), np.array([3, 3, 3])
    want, _ = by_torch(*args, np.ones(3))
    _, slope = by_torch(*args, np.ones(3), zero_infinity=True)
    assert np.isinf(want).tolist() == [True, False, True]
    with jax.enable_x64(True):
        y, pull = jax.vjp(lambda x: ctc(x, *map(jnp.asarray, args[1:])), logits)
        (dx,) = pull(jnp.ones(3))
        bent = jax.hessian(lambda x: ctc(x, *map(jnp.asarray, args[1:])).sum())(logits)
    np.testing.assert_allclose(y, want, rtol=1e-9)
    np.testing.assert_allclose(dx, slope, rtol=1e-9, atol=1e-12)
    assert np.isfinite(bent).all()


@pytest.mark.parametrize(("scale", "allowed"), [(1.0, 1e-4), (50.0, 2e-3)])
def test_a_thousand_frames_in_single_precision(scale, allowed, random):
    """Sums over long times, of numbers in the ten thousands where the scale is 50, keep digits."""
    logits, labels, frames, count = case(random, 3, 1000, 100, 30, scale)
    frames[:] = 1000, 950, 1000

    def told(x):
        y, pull = jax.vjp(lambda x: ctc(x, *map(jnp.asarray, (labels, frames, count))), x)
        return y, pull(jnp.ones_like(y))[0]

    with jax.enable_x64(True):
        want, slope = told(jnp.asarray(logits))
    y, dx = told(jnp.asarray(logits, jnp.float32))
    np.testing.assert_allclose(y, want, rtol=1e-5)
    np.testing.assert_allclose(dx, slope, rtol=0, atol=allowed)


def test_confident_logits_have_small_losses_and_gradients():
    """Frames that say what the labels are: nothing is left to learn, and nothing is NaN."""
    saying = jnp.array([0, 1, 1, 0, 2, 0, 2])
    logits = 1e4 * jax.nn.one_hot(saying, 3)[None]
    y, dx = jax.value_and_grad(lambda x: ctc(x, jnp.array([[1, 2, 2]])).sum())(logits)
    assert y.item() == 0
    assert not np.asarray(dx).any()
    wrong = jax.grad(lambda x: ctc(x, jnp.array([[2, 1, 1]])).sum())(logits)
    assert np.isfinite(wrong).all()
    np.testing.assert_allclose(wrong.sum(-1), 0, atol=1e-6)


def test_what_is_behind_the_lengths_does_not_count(random):
    """NaN there too, and labels of any number."""
    logits = jnp.asarray(random.normal(size=(2, 6, 4)), jnp.float32)
    labels, lengths = jnp.array([[1, 2, 0], [3, -1, 99]]), (jnp.array([6, 4]), jnp.array([2, 1]))
    y, dx = jax.value_and_grad(lambda x: ctc(x, labels, *lengths).sum())(logits)
    spoiled = logits.at[1, 4:].set(jnp.nan)
    again, same = jax.value_and_grad(lambda x: ctc(x, labels, *lengths).sum())(spoiled)
    assert y == again
    np.testing.assert_array_equal(dx, same)
    assert not np.asarray(dx[1, 4:]).any()
    alone = ctc(logits[1:, :4], labels[1:, :1])
    np.testing.assert_allclose(ctc(logits, labels, *lengths)[1:], alone, rtol=1e-6)


def test_labels_and_lengths_that_are_none_give_nan():
    logits = jnp.zeros((6, 4, 3))
    labels = jnp.array([[1], [0], [3], [-1], [1], [1]])
    frames, count = jnp.array([4, 4, 4, 4, 5, 4]), jnp.array([1, 1, 1, 1, 1, 2])
    y = ctc(logits, labels, frames, count)
    assert np.isnan(y).tolist() == [False, True, True, True, True, True]
    dx = jax.grad(lambda x: ctc(x, labels, frames, count)[1:].sum())(logits)
    assert np.isnan(dx[1:]).all()


def test_no_frame_says_nothing():
    """Of no frames the probability of no labels is 1."""
    y = ctc(jnp.zeros((2, 1, 3)), jnp.array([[1], [1]]), jnp.array([0, 0]), jnp.array([0, 1]))
    assert y.tolist() == [0.0, np.inf]


def test_half_precision_is_summed_in_float32(random):
    logits, labels, frames, count = case(random)
    args = [jnp.asarray(a) for a in (labels, frames, count)]
    for dtype in (jnp.bfloat16, jnp.float16):
        narrow = jnp.asarray(logits, dtype)
        y, pull = jax.vjp(lambda x: ctc(x, *args), narrow)
        want, theirs = jax.vjp(lambda x: ctc(x, *args), narrow.astype(jnp.float32))
        assert y.dtype == dtype
        np.testing.assert_array_equal(y, want.astype(dtype))
        (dx,), (wide,) = pull(jnp.ones_like(y)), theirs(jnp.ones_like(want))
        np.testing.assert_array_equal(dx, wide.astype(dtype))


def test_bad_input_says_what_is_wrong():
    x, labels = jnp.zeros((2, 5, 3)), jnp.ones((2, 2), int)
    for args, sentence in (
        ((x[0], labels), "`logits` must be an array of rank 3"),
        ((x[:, :0], labels), "`logits` must be of at least one frame and one class"),
        ((x, labels[:1]), r"`labels` must be of shape \(2, length\)"),
        ((x, labels, jnp.ones(3, int)), r"`logit_lengths` must be of shape \(2,\)"),
    ):
        with pytest.raises(ValueError, match=f"ctc: {sentence}"):
            ctc(*args)
    with pytest.raises(TypeError, match="ctc: `labels` must be an integer array"):
        ctc(x, jnp.ones((2, 2)))
    with pytest.raises(ValueError, match="ctc: `blank` must be a class, 0 to 2, got 3"):
        ctc(x, labels, blank=3)


# Planted errors.


def planted(**parts):
    """The backward with other parts."""

    def backward(saved, delta, *, blank):
        with pytest.MonkeyPatch.context() as patch:
            for name, part in parts.items():
                patch.setattr(module, name, part)
            return module.ctc_backward(saved, delta, blank=blank)

    return backward


places, betas, slope = module._places, module._betas, module._slope


def changed(change):
    return planted(_places=lambda *args: change(places(*args), *args))


def labels_jump(at, *_):
    odd = jnp.arange(at.z.shape[1])[None] % 2 == 1
    return at._replace(jump=jnp.where(odd, jnp.zeros_like(at.jump), at.jump))


def whole_time(at, logits, labels, *_):
    return places(logits, labels, None, None, at.blank)._replace(valid=at.valid)


WRONG = {
    "a label follows its like without a blank": changed(labels_jump),
    "a blank may be left out between any": changed(
        lambda at, *_: at._replace(jump=jnp.zeros_like(at.jump))
    ),
    "the blank's share goes to another class": changed(
        lambda at, x, *_: at._replace(blank=(at.blank + 1) % x.shape[-1])
    ),
    "beta of the frame after": planted(_betas=lambda e, at: jnp.roll(betas(e, at), -1, 0)),
    "beta with the frame's own emission": planted(_betas=lambda e, at: betas(e, at) + e),
    "lengths count in the forward alone": changed(whole_time),
    "the last frame may be at the last blank alone": changed(
        lambda at, *_: at._replace(final=at.final & (at.jump < 0) & (at.z == at.blank))
    ),
    "p alone": lambda saved, delta, *, blank: (
        jax.nn.softmax(saved[0]) * delta[:, None, None], None, None, None
    ),
    "a sample's gradient without its cotangent": lambda saved, delta, *, blank: (
        module.ctc_backward(saved, jnp.ones_like(delta), blank=blank)
    ),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_planted_errors_are_found(wrong):
    assert not jnn.verify.check(ctc.replace(backward=wrong), suites=["agreement"]).ok


def test_the_backward_itself_passes():
    assert jnn.verify.check(ctc.replace(backward=planted()), suites=["agreement"]).ok
