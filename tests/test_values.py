"""What constructors make are values: equal, hashable, printed as their call, pickled and copied."""

import contextlib
import copy
import functools
import inspect
import os
import pickle
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import monitoring

import jnn
from jnn.estimators import (
    CNNClassifier,
    LinearRegression,
    LogisticRegression,
    MLPClassifier,
    MLPRegressor,
    RBFClassifier,
    RBFRegressor,
)
from jnn.optim.rates import Schedule
from jnn.setting import comparable
from jnn.train.augment import Augmentation, Mixing
from jnn.value import Recipe

TABLE = np.array([[True, False], [True, True]])


# For each public constructor a call of it, as one writes it, and calls that make something else.
LAYERS = {
    "attention": (
        "attention(4)",
        "attention(2)",
        "attention(4, causal=True)",
        "attention(4, rotary=True)",
        "attention(4, rotary=500.0)",
        "attention(4, dropout=0.1)",
    ),
    "learned_positions": (
        "learned_positions(8)",
        "learned_positions(9)",
        "learned_positions()",
    ),
    "as_sequence": ("as_sequence()", "flatten()", "as_sequence(rows=True)"),
    "at_most": ("at_most(8)", "at_most(9)"),
    "sinusoidal_positions": ("sinusoidal_positions()", "sinusoidal_positions(base=100.0)"),
    "adaptive_max_pool": ("adaptive_max_pool(3)", "adaptive_max_pool(4)"),
    "adaptive_mean_pool": ("adaptive_mean_pool(3)", "adaptive_max_pool(3)"),
    "batch_norm": (
        "batch_norm()",
        "batch_norm(beta=0.99)",
        "batch_norm(scale=None)",
        "batch_norm(axis_name='data')",
    ),
    "celu": ("celu()", "celu(alpha=2.0)"),
    "conv": ("conv(4, 3)", "conv(4, 3, stride=2)", "conv(4, (3, 3))"),
    "conv_transpose": ("conv_transpose(4, 3)", "conv_transpose(4, 2)"),
    "dense": ("dense(4)", "dense(5)", "dense(4, bias=False)", "dense(4, weights=normal(0.1))"),
    "depthwise_conv": ("depthwise_conv(3)", "depthwise_conv(5)"),
    "dropout": ("dropout(0.5)", "dropout(0.1)"),
    "elu": ("elu()", "selu()"),
    "embedding": ("embedding(9, 4)", "embedding(8, 4)", "embedding(9, 4, padding=-1)"),
    "flatten": ("flatten()", "identity()"),
    "gated": ("gated(4)", "gated(5)", "gated(4, activation='gelu')", "gated(4, bias=True)"),
    "gelu": ("gelu()", "elu()"),
    "global_max_pool": ("global_max_pool()", "global_mean_pool()"),
    "global_mean_pool": ("global_mean_pool()", "global_max_pool()"),
    "group_norm": ("group_norm(2)", "group_norm(4)"),
    "hard_shrink": ("hard_shrink()", "hard_shrink(threshold=1.0)"),
    "hard_sigmoid": ("hard_sigmoid()", "sigmoid()"),
    "hard_swish": ("hard_swish()", "silu()"),
    "gru": ("gru(4)", "gru(5)", "gru(4, reverse=True)", "gru(4, keep=2)"),
    "hard_tanh": ("hard_tanh()", "tanh()"),
    "identity": ("identity()", "flatten()"),
    "image_filter": ("image_filter('emboss')", "image_filter('outline')"),
    "last": ("last()", "last(reverse=True)"),
    "layer_norm": ("layer_norm()", "layer_norm(epsilon=0.1)", "rms_norm()"),
    "leaky_relu": ("leaky_relu(slope=0.5)", "leaky_relu()", "leaky_relu(slope=1)"),
    "local_response_norm": ("local_response_norm()", "local_response_norm(size=3)"),
    "log_sigmoid": ("log_sigmoid()", "sigmoid()"),
    "log_softmax": ("log_softmax()", "softmax()"),
    "lstm": ("lstm(4)", "lstm(5)", "lstm(4, forget=0.0)", "gru(4)"),
    "max_pool": ("max_pool(2)", "max_pool(3)", "mean_pool(2)"),
    "mean_pool": (
        "mean_pool(2)",
        "mean_pool(2, stride=1)",
        "mean_pool(2, count_padding=True)",
    ),
    "mish": ("mish()", "silu()"),
    "parallel": ("parallel(dense(2), relu())", "parallel(dense(2), relu(), combine='sum')"),
    "pixel_shuffle": ("pixel_shuffle(2)", "pixel_shuffle(3)"),
    "pixel_unshuffle": ("pixel_unshuffle(2)", "pixel_shuffle(2)"),
    "prelu": ("prelu()", "prelu(shared=False)", "prelu(slope=constant(0.1))"),
    "radial": ("radial(3)", "radial(4)"),
    "relu": ("relu()", "softplus()"),
    "relu6": ("relu6()", "relu()"),
    "ragged": ("ragged(dense(4))", "ragged(dense(4), pad=0)", "ragged(dense(5))"),
    "repeat": ("repeat(relu(), 3)", "repeat(relu(), 2)", "repeat(relu(), 3, remat=True)"),
    "residual": ("residual()", "residual(5)"),
    "residual_projection": ("residual_projection(3)", "residual_projection(4)"),
    "resize": ("resize(8)", "resize(factor=2)", "resize(8, method='linear')"),
    "rms_norm": ("rms_norm()", "rms_norm(scale=None)", "layer_norm()"),
    "selu": ("selu()", "elu()"),
    "separable_conv": ("separable_conv(4, 3)", "separable_conv(4, 5)"),
    "serial": ("serial(dense(4), relu())", "serial(relu(), dense(4))", "serial(dense(4))"),
    "share": (
        "share(serial(dense(2), dense(2)), {'1': '0'})",
        "share(serial(dense(2), dense(2)), {'1/w': '0/w'})",
        "share(serial(dense(2), dense(3)), {'1': '0'})",
    ),
    "sigmoid": ("sigmoid()", "tanh()"),
    "silu": ("silu()", "gelu()"),
    "skip": ("skip(dense(4))", "skip(dense(5))", "skip(dense(4), project=dense(4))"),
    "soft_logistic": ("soft_logistic()", "sigmoid()"),
    "soft_shrink": ("soft_shrink()", "soft_shrink(threshold=1.0)"),
    "softmax": ("softmax()", "softmax(axis=0)"),
    "softplus": ("softplus()", "softsign()"),
    "softsign": ("softsign()", "softplus()"),
    "subsample": ("subsample(2)", "subsample(3)"),
    "tanh": ("tanh()", "sigmoid()"),
    "weighted_subsample": ("weighted_subsample(2)", "weighted_subsample(3)"),
}
NETWORKS = {
    "encoder": ("encoder(9, 8, 2, 1, 3)", "encoder(None, 8, 2, 1, 3)"),
    "transformer": (
        "transformer(9, 8, 2, 1)",
        "transformer(9, 8, 2, 2)",
        "transformer(9, 8, 2, 1, tied=False)",
        "transformer(9, 8, 2, 1, window=2)",
    ),
    "transformer_block": ("transformer_block(8, 2)", "transformer_block(8, 2, causal=True)"),
    "vit": ("vit(3)", "vit(4)"),
    "cnn": ("cnn([4], 3, [], 2)", "cnn([4], 3, [8], 2)"),
    "lenet5": ("lenet5()", "lenet5(5)"),
    "mlp": ("mlp([4, 2])", "mlp([4, 3])", "mlp([4, 2], activation='relu')"),
    "modern_lenet": ("modern_lenet()", "modern_lenet(5)"),
    "rbf_network": ("rbf_network(3, 2)", "rbf_network(3, 1)"),
    "recurrent": ("recurrent(3, 4)", "recurrent(3, 4, cell='gru')", "recurrent(3, 4, both=True)"),
    "resnet": (
        "resnet()",
        "resnet(steps=1)",
        "resnet(norm='batch')",
        "resnet(norm='batch', order='before')",
        "resnet(norm=group_norm(2))",
    ),
    "vgg": ("vgg()", "vgg(5)", "vgg(norm='batch')"),
}
OPTIM = {
    "accumulate": ("accumulate(gd(0.1), 2)", "accumulate(gd(0.1), 3)"),
    "adagrad": ("adagrad(0.1)", "adagrad(0.1, average='sum')"),
    "adam": (
        "adam(0.1)",
        "adam(0.2)",
        "adam(0.1, 0.8)",
        "adam(linear(0.1, 0.0, 9))",
        "adam(1)",
        "chain(adam_direction(), descend(0.1))",
    ),
    "averaged_momentum": ("averaged_momentum(0.1)", "averaged_momentum(0.1, 0.8)"),
    "adam_direction": ("adam_direction()", "adam_direction(0.8)"),
    "adamax": ("adamax(0.1)", "adamax(0.2)"),
    "adams_bashforth": ("adams_bashforth(0.1)", "adams_bashforth(0.2)"),
    "adamw": ("adamw(0.1)", "adamw(0.1, decay=0.0)", "adamw(0.1, where='w')"),
    "adjustable": (
        "adjustable(adam, rate=0.1)",
        "adjustable(gd, rate=0.1)",
        "adjustable(partial(adam, epsilon=0.1), rate=0.1)",
    ),
    "amsgrad": ("amsgrad(0.1)", "amsgrad(0.2)"),
    "averaged": ("averaged(gd(0.1))", "averaged(gd(0.1), unbiased(0.9))"),
    "centralise": ("centralise()", "trust_ratio()"),
    "chain": ("chain(clip(1.0), gd(0.1))", "chain(gd(0.1), clip(1.0))", "chain(gd(0.1))"),
    "chebyshev": ("chebyshev(0.1)", "chebyshev(0.2)"),
    "clip": ("clip(1.0)", "clip(2.0)"),
    "clip_global_norm": ("clip_global_norm(1.0)", "clip_norm(1.0)"),
    "clip_norm": ("clip_norm(1.0)", "clip_norm(1)"),
    "damped_particle": ("damped_particle(0.1, 0.2)", "damped_particle(0.1, 0.3)"),
    "decay": ("decay(0.1)", "decay(0.1, where='w')"),
    "descend": ("descend(0.1)", "gd(0.1)"),
    "deviation": ("deviation(0.9)", "deviation(0.8)"),
    "exponential": ("exponential(0.9)", "unbiased(0.9)"),
    "fading_maximum": ("fading_maximum(0.9)", "fading_maximum(0.8)"),
    "flat": ("flat(adam(0.1))", "flat(adam(0.2))"),
    "follow": ("follow(mean())", "follow(total())"),
    "freeze": ("freeze('b')", "freeze('w')"),
    "full_adagrad": ("full_adagrad(0.1)", "full_adagrad(0.2)"),
    "full_rmsprop": ("full_rmsprop(0.1)", "full_rmsprop(0.2)"),
    "gd": ("gd(0.1)", "gd(step(0.1, 0.5, 10))"),
    "groups": ("groups(min, {'a': gd(0.1)})", "groups(min, {'a': gd(0.2)})"),
    "heavy_ball": ("heavy_ball(0.1)", "heavy_ball(0.1, 0.8)", "nesterov(0.1)"),
    "heun": ("heun(0.1)", "rk4(0.1)"),
    "lamb": ("lamb(0.1)", "lamb(0.2)"),
    "largest": ("largest(mean())", "largest(unbiased(0.9))"),
    "lion": ("lion(0.1)", "lion(0.2)"),
    "mean": ("mean()", "total()"),
    "midpoint": ("midpoint(0.1)", "midpoint(0.2)"),
    "momentum": ("momentum(0.1)", "momentum(0.1, 0.8)"),
    "multistep": ("multistep(0.1, [0.0], [1.0])", "multistep(0.1, [0.0], [0.5])"),
    "muon": ("muon(0.1)", "muon(0.2)"),
    "nadam": ("nadam(0.1)", "nadam(0.2)"),
    "nesterov": ("nesterov(0.1)", "nesterov(0.2)"),
    "noise": ("noise(array([0, 1], 'uint32'), 0.1)", "noise(array([0, 2], 'uint32'), 0.1)"),
    "only": ("only('b', gd(0.1))", "only('w', gd(0.1))"),
    "orthogonalise": ("orthogonalise()", "orthogonalise(4)"),
    "over_size": ("over_size(mean())", "over_size(mean(), epsilon=0.1)"),
    "plateau": ("plateau()", "plateau(patience=3)", "plateau(window=2)"),
    "radam": ("radam(0.1)", "radam(0.2)"),
    "rk4": ("rk4(0.1)", "rk4(0.2)"),
    "rms": ("rms(mean())", "rms(total())"),
    "rmsprop": ("rmsprop(0.1)", "rmsprop(0.1, centred=True)"),
    "runge_kutta": ("runge_kutta(0.1, [], [1.0])", "runge_kutta(0.1, [[1.0]], [0.5, 0.5])"),
    "skip_not_finite": ("skip_not_finite(gd(0.1))", "skip_not_finite(gd(0.2))"),
    "stateless": ("stateless(max)", "stateless(min)"),
    "three_step": ("three_step(0.1)", "three_step(0.2)"),
    "total": ("total()", "mean()"),
    "trace": ("trace(0.9)", "trace(0.9, ahead=True)"),
    "trust_ratio": ("trust_ratio()", "centralise()"),
    "unbiased": ("unbiased(0.9)", "unbiased(0.8)"),
    "weighted": ("weighted(abs)", "weighted(max)"),
    "whiten": ("whiten(mean())", "whiten(total())"),
    "whiten_last": ("whiten_last(8, None)", "whiten_last(8, 0.9)"),
    "widen": ("widen(gd(0.1))", "widen(gd(0.1), master=True)"),
}
SCHEDULES = {
    "constant": ("constant(0.1)", "constant(1)", "constant(1.0)"),
    "cosine": ("cosine(0.1, 10)", "cosine(0.1, 20)"),
    "cosine_restarts": ("cosine_restarts(0.1, 10)", "cosine_restarts(0.1, 10, growth=2)"),
    "exponential": ("exponential(0.1, 0.5)", "exponential(0.1, 0.5, 2)"),
    "inverse_time": ("inverse_time(0.1)", "inverse_time(0.1, power=0.5)"),
    "join": ("join([0.1, constant(0.2)], [10])", "join([0.1, constant(0.2)], [20])"),
    "linear": ("linear(0.1, 0.0, 10)", "polynomial(0.1, 0.0, 10)"),
    "one_cycle": ("one_cycle(0.1, 10)", "one_cycle(0.1, 20)"),
    "piecewise": ("piecewise([0.1, 0.2], [10])", "piecewise([0.1, 0.2], [20])"),
    "polynomial": ("polynomial(0.1, 0.0, 10)", "polynomial(0.1, 0.0, 10, power=2)"),
    "step": ("step(0.1, 0.5, 10)", "step(0.1, 0.5, every=20)"),
    "warm_up": ("warm_up(0.1, 10)", "warm_up(constant(0.1), 10)"),
}
INITIALISERS = {
    "constant": ("constant(0.1)", "constant(1)", "constant(True)"),
    "normal": ("normal(0.1)", "uniform(0.1)"),
    "orthogonal": ("orthogonal()", "orthogonal(2.0)"),
    "uniform": ("uniform(0.1)", "uniform(0.2)"),
}
SOLVERS = {
    "active_subset": ("active_subset(2)", "active_subset(3)", "active_subset(2, solver=lbfgs())"),
    "bfgs": (
        "bfgs(scaled=True)",
        "bfgs(scaled=1)",
        "bfgs()",
        "bfgs(search=armijo)",
        "bfgs(search=partial(wolfe, c2=0.5))",
        "bfgs(search=partial(wolfe, c2=0.6))",
    ),
    "gauss_newton": ("gauss_newton()", "gauss_newton(cutoff=0.1)"),
    "lbfgs": ("lbfgs()", "lbfgs(memory=5)", "lbfgs(search=armijo)"),
    "levenberg_marquardt": (
        "levenberg_marquardt()",
        "levenberg_marquardt(linear='cg')",
        "levenberg_marquardt(radius=1)",
    ),
    "newton_cg": ("newton_cg()", "newton_cg(max_products=5)"),
    "nonlinear_cg": ("nonlinear_cg()", "nonlinear_cg(beta='FR')"),
    "powell": ("powell()", "powell(search=golden_section)"),
    "steepest_descent": ("steepest_descent()", "steepest_descent(every=2)"),
    "switching": ("switching()", "switching(lbfgs(), newton_cg())", "switching(gain=0.02)"),
}
TRAINING = {
    "colour": ("colour()", "colour(0.2)", "colour(0.1, 0.2)"),
    "crop": ("crop()", "crop(0.6)"),
    "cutout": ("cutout(2)", "cutout(3)"),
    "flip": ("flip()", "flip(1)"),
    "mixup": ("mixup(3)", "mixup()", "mixup(3, alpha=1.0)"),
    "mixed": ("mixed()", "mixed('float16')"),
    "patience": ("patience(3)", "patience(4)", "patience(3, on='loss')"),
    "rotate": ("rotate(10.0)", "rotate(20.0)"),
    "shift": ("shift(1)", "shift(2)"),
    "still": ("still(0.1)", "still(0.2)"),
}

optim, train, schedules = jnn.optim, jnn.train, jnn.schedules
ROOMS = {  # The room, its table, and what its constructors say that they return.
    "layers": (jnn.layers, LAYERS, [jnn.Layer]),
    "models": (jnn.models, NETWORKS, [jnn.Layer]),
    "optim": (optim, OPTIM, [optim.Optimizer, optim.Average]),
    "schedules": (schedules, SCHEDULES, [Schedule]),
    "initialisers": (jnn.initialisers, INITIALISERS, [jnn.initialisers.Initialiser]),
    "solve": (jnn.solve, SOLVERS, [jnn.solve.Solver]),
    "train": (
        train,
        TRAINING,
        [Augmentation, Mixing, train.Patience, train.Still, train.Precision],
    ),
}
CASES = [(room, calls) for room, (_, table, _) in ROOMS.items() for calls in table.values()]
EVERY = pytest.mark.parametrize(
    ("room", "calls"), CASES, ids=[f"{room} {calls[0]}" for room, calls in CASES]
)


def made(room, call):
    """What a call makes, by the names of its room."""
    names = {"partial": functools.partial, "array": np.array, "uint32": np.uint32}
    for face in (jnn.initialisers, jnn.schedules, jnn.linesearch, jnn, ROOMS[room][0]):
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


@pytest.mark.parametrize("room", ROOMS)
def test_every_constructor_is_in_the_table(room):
    face, table, kinds = ROOMS[room]
    offered = {
        name
        for name, thing in vars(face).items()
        if inspect.isfunction(thing) and inspect.signature(thing).return_annotation in kinds
    }
    doors = {"from_flax", "from_equinox"}  # They need the peers: tests/layers/test_foreign.py.
    assert offered - {"adapt"} - doors == table.keys()


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
        assert [comparable(copy.deepcopy(b)) == comparable(a) for b in different].index(True) == i
        assert sum(comparable(b) == comparable(a) for b in different) == 1
        hash(comparable(a))
    assert comparable(float("nan")) == comparable(float("nan"))


def test_what_has_no_numbers_is_equal_to_itself_alone():
    odd = [set(), np.array([None])]
    for thing in odd:
        assert comparable(thing) == comparable(thing) != comparable(copy.copy(thing))

    @jax.jit
    def traced(x):
        assert comparable(x) == comparable(x) != comparable(x + 1)
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


@contextlib.contextmanager
def compiling():
    """Counts the programs that are compiled within."""
    found = []

    def listen(event: str, duration_secs: float, **_: str | int) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            found.append(event)

    monitoring.register_event_duration_secs_listener(listen)
    try:
        yield found
    finally:
        monitoring.unregister_event_duration_listener(listen)


X = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
T = (X[:, :1] > 0).astype(np.float32)
CLASSES = T[:, 0].astype(int)


def network():
    return jnn.serial(jnn.dense(4, weights=jnn.initialisers.normal(0.1)), jnn.tanh(), jnn.dense(1))


def optimizer():
    return jnn.chain(jnn.optim.clip(1.0), jnn.adam(jnn.schedules.cosine(0.1, 9)))


def fitted(optimizer, **settings):
    loss = functools.partial(jnn.huber, delta=2.0)
    return jnn.fit(network(), loss, optimizer, (X, T), epochs=2, progress=None, **settings)


def many():
    rates = jnp.array([0.1, 0.2])
    return jnn.fit_many(network(), jnn.squared_error, jnn.gd, (X, T), settings=rates, epochs=2,
                        progress=None)  # fmt: skip


def rosenbrock(x):
    return 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2


def residuals(x):
    return jnp.array([10 * (x[1] - x[0] ** 2), 1 - x[0]])


START = jnp.array([-1.2, 1.0])
SECOND = {
    "fit": lambda: fitted(optimizer(), augment=None, stop=jnn.train.patience(3)),
    "fit, with a solver": lambda: fitted(jnn.lbfgs(memory=3)),
    "fit, in half precision": lambda: fitted(optimizer(), precision=jnn.train.mixed()),
    "fit_many": many,
    "check": lambda: jnn.verify.check(jnn.rules.tanh),
    "fit, under autodiff": lambda: fitted(jnn.lbfgs(), metrics={"m": jnn.autodiff(jnn.huber)}),
    "minimize": lambda: jnn.minimize(
        rosenbrock, START, jnn.bfgs(search=functools.partial(jnn.linesearch.wolfe, c2=0.8))
    ),
    "least_squares": lambda: jnn.least_squares(residuals, START, jnn.gauss_newton()),
    "MLPClassifier": lambda: MLPClassifier(hidden=3, epochs=2).fit(X, CLASSES).score(X, CLASSES),
    "MLPRegressor": lambda: (
        MLPRegressor(hidden=3, epochs=2, l2=0.1, solver=jnn.adam(0.1)).fit(X, T).score(X, T)
    ),
    "MLPRegressor, by a solver": lambda: (
        MLPRegressor(hidden=3, epochs=2, solver=jnn.lbfgs()).fit(X, T).score(X, T)
    ),
    "CNNClassifier": lambda: (
        CNNClassifier(maps=2, size=1, hidden=(), epochs=2, shape=(2, 2, 1))
        .fit(X, CLASSES)
        .score(X, CLASSES)
    ),
    "RBFClassifier": lambda: RBFClassifier(units=3).fit(X, CLASSES).score(X, CLASSES),
    "RBFRegressor": lambda: RBFRegressor(units=3).fit(X, T).score(X, T),
    "LinearRegression": lambda: LinearRegression(solver=jnn.gd(0.1)).fit(X, T).score(X, T),
    "LogisticRegression": lambda: LogisticRegression().fit(X, CLASSES).score(X, CLASSES),
}


@pytest.mark.parametrize("call", SECOND.values(), ids=SECOND)
def test_a_second_call_with_equal_objects_compiles_nothing(call):
    call()
    with compiling() as programs:
        call()
    assert not programs


def test_a_search_over_rates_compiles_once():
    def run(rate, decay):
        schedule = jnn.schedules.warm_up(rate, 4)
        rates = jnn.chain(jnn.optim.decay(decay), jnn.adamw(schedule, decay=decay), jnn.gd(rate))
        return fitted(rates).history["loss"][-1]

    run(0.5, 0.1)
    with compiling() as programs:
        reached = {run(float(rate), 0.2) for rate in np.logspace(-4, -1, 10)}
    assert not programs
    assert len(reached) == 10


RATES = sorted({call for calls in OPTIM.values() for call in calls if "0.1" in call})


@pytest.mark.parametrize("call", RATES)
def test_a_rate_as_an_argument_counts_as_a_constant(call):
    optimizer = made("optim", call)
    template, rates = jnn.optim.without_rates(optimizer)
    if not rates or "groups" in call:
        return
    params = {"w": jnp.asarray(X), "b": jnp.asarray(X[0])}

    def gradient(q):
        return jax.tree.map(jnp.sin, q)

    def run(optimizer):
        def step(carry, _):
            q, state = carry
            grads, given = gradient(q), {"value": jnp.float32(1), "gradient": gradient}
            updates, state = optimizer.update(grads, state, q, **given)
            return (jnn.apply_updates(q, updates), state), None

        return jax.lax.scan(step, (params, optimizer.init(params)), length=4)[0][0]

    constant = jax.jit(lambda: run(optimizer))()
    argument = jax.jit(lambda rates: run(jnn.optim.with_rates(template, rates)))(rates)
    for a, b in zip(jax.tree.leaves(constant), jax.tree.leaves(argument), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    other = jax.jit(lambda rates: run(jnn.optim.with_rates(template, rates)))((0.05,) * len(rates))
    assert any((constant[name] != other[name]).any() for name in params)


PROCESS = """
import jax, numpy as np
import jnn
from jax import monitoring
missed = []
monitoring.register_event_listener(
    lambda event, **_: missed.append(event) if event.endswith("/cache_misses") else None
)
x = np.ones((8, 3), np.float32)
jnn.fit(jnn.dense(1), jnn.squared_error, jnn.adam(0.1), (x, x[:, :1]), epochs=2, progress=None)
jnn.minimize(lambda x: ((x - 1) ** 2).sum(), np.zeros(2, np.float32))
print(len(missed))
"""


def test_the_persistent_cache_serves_a_second_process(tmp_path):
    file = tmp_path / "run.py"
    file.write_text(PROCESS, encoding="utf-8")
    settings = {
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "cache"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    first, second = (
        int(
            subprocess.run(
                [sys.executable, file],
                env=os.environ | settings,
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )
        for _ in range(2)
    )
    assert first > 2
    assert second == 0
