"""What constructors make are values: equal, hashable, printed as their call, pickled and copied."""

import copy
import functools
import inspect
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from jnn.value import Recipe, identity

TABLE = np.array([[True, False], [True, True]])


# For each public constructor a call of it, as one writes it, and calls that make something else.
LAYERS = {
    "conv": ("conv(4, 3)", "conv(4, 3, stride=2)", "conv(4, (3, 3))"),
    "conv_transpose": ("conv_transpose(4, 3)", "conv_transpose(4, 2)"),
    "dense": ("dense(4)", "dense(5)", "dense(4, bias=False)", "dense(4, weights=normal(0.1))"),
    "depthwise_conv": ("depthwise_conv(3)", "depthwise_conv(5)"),
    "elu": ("elu()", "selu()"),
    "flatten": ("flatten()", "identity()"),
    "gelu": ("gelu()", "elu()"),
    "global_max_pool": ("global_max_pool()", "global_mean_pool()"),
    "global_mean_pool": ("global_mean_pool()", "global_max_pool()"),
    "hard_tanh": ("hard_tanh()", "tanh()"),
    "identity": ("identity()", "flatten()"),
    "image_filter": ("image_filter('emboss')", "image_filter('outline')"),
    "leaky_relu": ("leaky_relu(slope=0.5)", "leaky_relu()", "leaky_relu(slope=1)"),
    "log_softmax": ("log_softmax()", "softmax()"),
    "max_pool": ("max_pool(2)", "max_pool(3)", "mean_pool(2)"),
    "mean_pool": ("mean_pool(2)", "mean_pool(2, stride=1)"),
    "parallel": ("parallel(dense(2), relu())", "parallel(dense(2), relu(), combine='sum')"),
    "radial": ("radial(3)", "radial(4)"),
    "relu": ("relu()", "softplus()"),
    "residual": ("residual()", "residual(5)"),
    "residual_projection": ("residual_projection(3)", "residual_projection(4)"),
    "selu": ("selu()", "elu()"),
    "separable_conv": ("separable_conv(4, 3)", "separable_conv(4, 5)"),
    "serial": ("serial(dense(4), relu())", "serial(relu(), dense(4))", "serial(dense(4))"),
    "sigmoid": ("sigmoid()", "tanh()"),
    "silu": ("silu()", "gelu()"),
    "soft_logistic": ("soft_logistic()", "sigmoid()"),
    "softmax": ("softmax()", "softmax(axis=0)"),
    "softplus": ("softplus()", "softsign()"),
    "softsign": ("softsign()", "softplus()"),
    "subsample": ("subsample(2)", "subsample(3)"),
    "tanh": ("tanh()", "sigmoid()"),
    "weighted_subsample": ("weighted_subsample(2)", "weighted_subsample(3)"),
}
NETWORKS = {
    "lenet5": ("lenet5()", "lenet5(5)"),
    "mlp": ("mlp([4, 2])", "mlp([4, 3])", "mlp([4, 2], activation='relu')"),
    "modern_lenet": ("modern_lenet()", "modern_lenet(5)"),
    "rbf_network": ("rbf_network(3, 2)", "rbf_network(3, 1)"),
    "resnet": ("resnet()", "resnet(steps=1)"),
    "vgg": ("vgg()", "vgg(5)"),
}
FACES = {"layers": (jnn.layers, LAYERS), "models": (jnn.models, NETWORKS)}
CASES = [(room, calls) for room, (_, table) in FACES.items() for calls in table.values()]
EVERY = pytest.mark.parametrize(("room", "calls"), CASES, ids=[calls[0] for _, calls in CASES])


def made(room, call):
    """What a call makes, by the names of its room."""
    names = {"partial": functools.partial, "array": np.array}
    for face in (jnn.initialisers, jnn, FACES[room][0]):
        names |= {k: v for k, v in vars(face).items() if not inspect.ismodule(v)}
    return eval(call, names)


@EVERY
def test_equal_calls_make_equal_things(room, calls):
    thing, *others = (made(room, call) for call in calls)
    again = made(room, calls[0])
    assert thing is not again
    assert thing == again
    assert hash(thing) == hash(again)
    for other in others:
        assert thing != other


@EVERY
def test_a_thing_prints_as_the_call_that_makes_it(room, calls):
    for call in calls:
        thing = made(room, call)
        if "Connections(" not in repr(thing):  # Which shows a large table in short.
            assert made(room, repr(thing)) == thing


@EVERY
def test_a_thing_is_pickled_and_copied(room, calls):
    for call in calls:
        thing = made(room, call)
        for other in (pickle.loads(pickle.dumps(thing)), copy.copy(thing), copy.deepcopy(thing)):
            assert other == thing
            assert hash(other) == hash(thing)
            assert repr(other) == repr(thing)


def test_every_constructor_of_layers_is_in_the_table():
    offered = {
        name
        for name, thing in vars(jnn.layers).items()
        if inspect.isfunction(thing) and inspect.signature(thing).return_annotation is jnn.Layer
    }
    assert offered == LAYERS.keys()


def test_equal_networks_are_traced_once():
    traced = []

    @functools.partial(jax.jit, static_argnames="net")
    def apply(net, params, x):
        traced.append(net)
        return net(params, x)

    x = jnp.ones((3, 4))
    for _ in range(3):
        net = jnn.serial(jnn.dense(4), jnn.relu())
        apply(net, net.init(jax.random.key(0), x)[0], x)
    assert len(traced) == 1


def test_two_constructors_of_one_name_share_nothing():
    def user():
        @jnn.layer
        def scale(by: float):
            return (lambda key, x: ((), ())), lambda params, state, x, **_: (x * by, state)

        return scale

    first, second = user(), user()
    assert first(2.0) == first(2.0) != second(2.0)
    assert first(2.0) != first(2)


def test_settings_are_compared_with_their_types_and_arrays_by_their_numbers():
    different = [1, 1.0, True, (1,), [1], (1.0,), np.ones(1), np.ones(1, int), jnp.ones(1), "1",
                 np.float32(1), {"a": 1}, {"a": 1.0}, 0.0, -0.0, None,
                 functools.partial(max, default=1), functools.partial(max, default=1.0),
                 jax.random.key(0), jax.random.key(1)]  # fmt: skip
    for i, a in enumerate(different):
        assert [identity(copy.deepcopy(b)) == identity(a) for b in different].index(True) == i
        assert sum(identity(b) == identity(a) for b in different) == 1
        hash(identity(a))
    assert identity(float("nan")) == identity(float("nan"))


def test_what_has_no_numbers_is_equal_to_itself_alone():
    odd = [set(), np.array([None])]
    for thing in odd:
        assert identity(thing) == identity(thing) != identity(copy.copy(thing))

    @jax.jit
    def traced(x):
        assert identity(x) == identity(x) != identity(x + 1)
        return x

    traced(1.0)


def test_an_array_that_changes_later_changes_nothing():
    table = TABLE.copy()
    net = jnn.dense(2, connections=table)
    before = jnn.dense(2, connections=TABLE)
    table[:] = True
    assert net == before != jnn.dense(2, connections=table)


def local(key, shape, dtype):
    return jnp.zeros(shape, dtype)


def test_what_cannot_be_imported_says_so():
    @jnn.layer
    def here():
        return (lambda key, x: ((), ())), lambda params, state, x, **_: (x, state)

    sentence = "here: `here` must be importable to be pickled.* Put it into a module of its own"
    with pytest.raises(pickle.PicklingError, match=sentence):
        pickle.dumps(here())
    with pytest.raises(pickle.PicklingError, match="dense: `<lambda>` must be importable"):
        pickle.dumps(jnn.dense(3, weights=lambda key, shape, dtype: jnp.zeros(shape, dtype)))
    with pytest.raises(TypeError, match="must be a constructor, got 'double'"):
        Recipe("double").make()
    net = jnn.dense(3, weights=local)
    assert pickle.loads(pickle.dumps(net)) == net


def test_a_rule_is_pickled_by_its_name():
    rule = jnn.rules.softmax_cross_entropy
    assert pickle.loads(pickle.dumps(rule)) is rule is copy.deepcopy(rule)
    with pytest.raises(pickle.PicklingError, match="importable"):
        pickle.dumps(rule.replace(backward=None))
