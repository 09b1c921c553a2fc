"""`fit` takes a network's last product into its cross-entropy: equal numbers, no whole logits."""

import functools

import jax
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params

import jnn
from jnn.layers.combinators.head import headless
from jnn.train.plan import Plan, metrics_of
from jnn.train.program import step as steps
from jnn.train.program.epoch import initial
from jnn.train.program.evaluate import assess

VOCABULARY, TIME = 4096, 40  # 16 x 40 rows: more than are had at once.
RANDOM = np.random.default_rng(5)
IDS = RANDOM.integers(0, VOCABULARY, (16, TIME + 1))
DATA = IDS[:, :-1], IDS[:, 1:]
ROW = jnn.serial(
    jnn.embedding(VOCABULARY, 4), jnn.dense(4, activation="tanh"), jnn.dropout(0.2),
    jnn.dense(VOCABULARY, bias=False),
)  # fmt: skip
TIED = jnn.share(ROW, {"3/w": "0/w.T"})
BIASED = jnn.serial(jnn.embedding(VOCABULARY, 4), jnn.serial(jnn.tanh(), jnn.dense(VOCABULARY)))
PARTIAL = functools.partial(jnn.softmax_cross_entropy, ignore=int(IDS[0, 1]), smoothing=0.1)


def whole(loss):
    """The same loss, as a function of which is known what it ignores at most."""
    ignore = getattr(loss, "keywords", {}).get("ignore")
    return functools.partial(lambda y, t, ignore: loss(y, t), ignore=ignore)


def stepped(net, loss, batch=DATA, **settings):
    """A step's values and parameters, those of evaluation, and all shapes in both programs."""
    plan = Plan(net, loss, jnn.gd(1.0), 16, metrics_of("accuracy"), **settings)
    carry = initial(plan, jax.random.key(0), DATA, (None, None, None))

    def both(plan, carry, batch):
        moving = steps.initial(plan, carry)
        moved, values = steps.step(plan, moving, batch, jax.random.key(1))
        return moved.params, values, assess(plan, carry.params, carry.state, batch[:2])

    traced = jax.jit(both).trace(plan, carry, batch)
    return traced.lower().compile()(plan, carry, batch), set(shapes(traced.jaxpr.jaxpr))


def shapes(jaxpr):
    for equation in jaxpr.eqns:
        yield from (getattr(v.aval, "shape", ()) for v in equation.outvars)
        for inner in jaxprs_in_params(equation.params):
            yield from shapes(inner)


def logits(found):
    return [s for s in found if VOCABULARY in s and np.prod(s) >= IDS[:, 1:].size * VOCABULARY]


CASES = {
    "a row": (ROW, jnn.softmax_cross_entropy, {}),
    "tied, with settings": (TIED, PARTIAL, {}),
    "biased, half": (BIASED, jnn.softmax_cross_entropy, {"precision": jnn.train.mixed()}),
}


@pytest.mark.parametrize(("net", "loss", "settings"), CASES.values(), ids=CASES)
def test_a_step_and_evaluation_are_those_with_logits(net, loss, settings):
    one, found = stepped(net, loss, **settings)
    other, with_logits = stepped(net, whole(loss), **settings)
    assert logits(with_logits)
    assert not logits(found)
    tolerance = 2e-2 if settings else 1e-5
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * float(abs(b).max()))


def test_weights_of_samples_weigh_the_fused_loss_alike():
    batch = (*DATA, (np.arange(16) % 3).astype(np.float32))
    one, found = stepped(ROW, jnn.softmax_cross_entropy, batch)
    other, _ = stepped(ROW, whole(jnn.softmax_cross_entropy), batch)
    assert not logits(found)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * float(abs(b).max()))


def test_each_device_of_a_mesh_has_its_own_rows():
    mesh = jax.make_mesh((8,), ("data",), (jax.sharding.AxisType.Auto,))
    one, _ = stepped(TIED, jnn.softmax_cross_entropy)
    eight, found = stepped(TIED, jnn.softmax_cross_entropy, layout=jnn.train.Layout(mesh))
    assert not logits(found)
    assert (2 * TIME, 4) in found  # Hidden units of two samples: of one device.
    for a, b in zip(jax.tree.leaves(eight), jax.tree.leaves(one), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * float(abs(b).max()))


def mean(y, t):
    """A metric of all samples, which has to have all logits."""
    return y.mean()


def test_a_fit_by_it_learns():
    fit = jnn.fit(TIED, jnn.softmax_cross_entropy, jnn.adam(0.03), DATA, epochs=3, batch_size=16,
                  validation=DATA, metrics={"mean": mean}, progress=None)  # fmt: skip
    assert fit.history["validation_loss"][-1] < fit.history["validation_loss"][0]
    assert np.isfinite(fit.history["mean"]).all()


@pytest.mark.parametrize("last", [
    jnn.dense(VOCABULARY, activation="relu"), jnn.softmax(),
    jnn.dense(4, connections=np.ones((4, 4), bool)),
])  # fmt: skip
def test_other_last_layers_are_left_as_they_are(last):
    assert headless(jnn.serial(jnn.embedding(VOCABULARY, 4), last)) is None
