"""Every layer through every transformation: one table, one suite."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from jnn.layers import Layer, Spec
from jnn.layers.core.layer import pure, without_parameters

NETS = {
    "dense": jnn.dense(3, activation="sigmoid"),
    "dense, activated before": jnn.dense(3, activation="tanh", order="before", bias=False),
    "leaky relu": jnn.leaky_relu(slope=0.2),
    "flatten": jnn.flatten(),
    "residual": jnn.residual(5, activation="silu"),
    "projection": jnn.residual_projection(3, activation="elu"),
    "serial": jnn.serial(jnn.dense(4), jnn.serial(jnn.tanh(), jnn.residual()), jnn.dense(2)),
    "parallel": jnn.parallel(jnn.identity(), jnn.dense(2), combine="concatenate"),
}
EVERY = pytest.mark.parametrize("net", NETS.values(), ids=NETS)
KEY = jax.random.key(0, impl="rbg")  # Compiles faster than the default.
X = np.random.default_rng(1).normal(size=(6, 4)).astype(np.float32)


@functools.cache
def drawn(net):
    """Parameters, one compilation a layer."""
    return jax.jit(net.init)(KEY, X)[0]


def close(a, b, tolerance=1e-6):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for u, v in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(u, v, rtol=tolerance, atol=tolerance)


def loss(net, params, x):
    y = net(params, x)
    return jnp.sum(y * jnp.cos(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape))


@EVERY
def test_init_reads_shape_and_dtype_only(net):
    params, state = net.init(KEY, X)
    assert state == ()
    close(params, drawn(net))
    for like in (jnp.asarray(0 * X), jax.ShapeDtypeStruct(X.shape, X.dtype)):
        close(net.init(KEY, like), (params, ()), 0)
    abstract, _ = jax.eval_shape(net.init, KEY, X)
    assert jax.tree.map(jnp.shape, abstract) == jax.tree.map(jnp.shape, params)


@EVERY
def test_transformations_change_nothing(net):
    params = drawn(net)
    y = net(params, X)
    close(jax.jit(net)(params, X), y, 1e-5)
    assert jax.eval_shape(net, params, X).shape == y.shape
    twice = jax.jit(jax.vmap(net, (None, 0)))(params, np.stack([X, 2 * X]))
    close(twice, np.stack([y, net(params, 2 * X)]), 1e-5)
    many = jax.tree.map(lambda p: np.stack([p, 3 * p]), params)
    ensemble = jax.jit(jax.vmap(net, (0, None), axis_size=2))(many, X)
    close(ensemble[1], net(jax.tree.map(lambda p: 3 * p, params), X), 1e-5)


@EVERY
def test_the_three_modes_and_checkpoint_agree(net):
    with jax.enable_x64(True):
        params, x = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), (drawn(net), X))

        @jax.jit
        def gradients(params, x):
            def gradient(function):
                return jax.grad(lambda p, x: loss(function, p, x), (0, 1))(params, x)

            with jnn.derivatives("forward"):
                forward = gradient(net)
            return gradient(net), gradient(jnn.autodiff(net)), forward, gradient(jax.remat(net))

        by_hand, *others = gradients(params, x)
        for other in others:
            close(other, by_hand, 1e-12)


@EVERY
@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32, jnp.float64])
def test_parameters_and_output_have_the_dtype_of_the_input(net, dtype):
    with jax.enable_x64(True):
        x = jax.ShapeDtypeStruct(X.shape, dtype)
        params, _ = jax.eval_shape(net.init, KEY, x)
        grads = jax.eval_shape(jax.grad(lambda p, x: loss(net, p, x), (0, 1)), params, x)
        for leaf in jax.tree.leaves((params, jax.eval_shape(net, params, x), grads)):
            assert leaf.dtype == dtype


@EVERY
def test_a_batch_may_be_empty(net):
    params = drawn(net)
    y, (grads, dx) = jax.jit(
        lambda p, x: (net(p, x), jax.grad(lambda p, x: loss(net, p, x), (0, 1))(p, x))
    )(params, X[:0])
    assert y.shape == (0, *jax.eval_shape(net, params, X).shape[1:])
    assert dx.shape == (0, 4)
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(grads))
    abstract, _ = jax.eval_shape(net.init, KEY, X[:0])
    assert jax.tree.map(jnp.shape, abstract) == jax.tree.map(jnp.shape, params)


@EVERY
def test_state_goes_through(net):
    y, state = net.apply(drawn(net), (), X, key=KEY, train=True)
    assert state == ()
    close(y, net(drawn(net), X), 0)


def test_the_key_decides():
    net = NETS["serial"]
    init = jax.jit(net.init)
    close(init(KEY, X)[0], drawn(net), 0)
    (a, _), (b, _) = init(KEY, X), init(jax.random.fold_in(KEY, 1), X)
    assert (a[0].w != b[0].w).all()


def test_a_layer_prints_as_the_call_that_makes_it():
    net = jnn.serial(
        jnn.dense(4, activation="relu", bias=False, weights=jnn.initialisers.normal(0.1)),
        jnn.leaky_relu(slope=0.2),
        jnn.parallel(jnn.identity(), jnn.dense(n=4, order="after"), combine="sum"),
        jnn.dense(2, activation=jnn.rules.tanh),
    )
    assert repr(net) == (
        "serial(dense(4, activation='relu', bias=False, weights=normal(0.1)), "
        "leaky_relu(slope=0.2), parallel(identity(), dense(4), combine='sum'), "
        "dense(2, activation=tanh))"
    )


def test_the_spec_holds_every_setting():
    spec = jnn.dense(4).spec
    assert spec.name == "dense"
    assert spec["n"] == 4
    assert spec["activation"] is None
    assert spec["biases"] is jnn.initialisers.zeros
    assert spec.layers == ()
    assert spec == jnn.dense(4).spec != jnn.dense(5).spec
    assert hash(spec) == hash(jnn.dense(n=4).spec)


def test_a_layer_may_be_written_by_hand():
    double = Layer(without_parameters, pure(lambda params, x: 2 * x), Spec("double"))
    net = jnn.serial(jnn.identity(), double)
    assert repr(net) == "serial(identity(), double())"
    close(net(((), ()), X), 2 * X, 0)


@jnn.layer
def running_mean(*, rate: float = 0.5):
    """A layer with state: in training, the mean of what it has seen moves."""

    def init(key, x):
        return (), jnp.zeros(x.shape[-1:], x.dtype)

    def apply(params, state, x, *, key=None, train=False):
        if train:
            state = state + rate * (x.mean(0) - state)
        return x - jnp.broadcast_to(state, x.shape), state

    return init, apply


@jnn.layer
def noise():
    """A layer with chance: in training, it adds noise."""

    def apply(params, state, x, *, key=None, train=False):
        if not train:
            return x, state
        if key is None:
            raise ValueError("noise: `key` must be a random key in training, got None.")
        return x + jax.random.normal(key, x.shape, x.dtype), state

    return without_parameters, apply


def test_state_is_returned_by_training_and_left_by_evaluation():
    net, x = jnn.serial(jnn.identity(), jnn.serial(running_mean(rate=1.0))), X
    params, state = net.init(KEY, x)
    assert jax.tree.map(jnp.shape, state) == ((), ((4,),))
    y, trained = jax.jit(lambda s: net.apply(params, s, x, train=True))(state)
    assert jax.tree.structure(trained) == jax.tree.structure(state)
    close(trained[1][0], x.mean(0))
    close(y, x - x.mean(0)[None])
    close(net.apply(params, trained, x)[1], trained, 0)
    close(net(params, x, trained), y)


def test_state_may_be_carried_by_scan():
    net, x = jnn.serial(running_mean(), jnn.dense(2)), X
    params, state = net.init(KEY, x)
    state, _ = jax.lax.scan(
        lambda s, x: net.apply(params, s, x, train=True)[::-1], state, jnp.stack([x, x])
    )
    close(state[0], 0.75 * x.mean(0))


def test_each_layer_has_its_own_chance():
    net, x = jnn.serial(noise(), noise(), jnn.parallel(noise(), noise())), jnp.zeros((50, 3))
    params, state = net.init(KEY, x)
    (a, b), _ = net.apply(params, state, x, key=KEY, train=True)
    after_two = jnn.serial(*net.spec.layers[:2]).apply(((), ()), (), x, key=KEY, train=True)[0]
    first = jax.random.normal(jax.random.fold_in(KEY, 0), x.shape)
    draws = [first, after_two - first, a - after_two, b - after_two]
    correlations = np.corrcoef([np.ravel(draw) for draw in draws]) - np.eye(4)
    assert abs(correlations).max() < 5 / np.sqrt(x.size)
    close(net(params, x), (x, x), 0)


def test_chance_without_a_key_is_an_error_in_training():
    net, x = jnn.serial(jnn.identity(), noise()), X
    with pytest.raises(ValueError, match="`key` must be a random key") as caught:
        net.apply(((), ()), (), x, train=True)
    assert "In layer 1 of serial: noise()" in caught.value.__notes__


def test_a_jitted_layer_is_traced_once():
    traces = 0

    def counted(params, x):
        nonlocal traces
        traces += 1
        return x

    net = jnn.serial(Layer(without_parameters, pure(counted), Spec("counted")))
    step = jax.jit(net)
    for scale in (1.0, 2.0):
        step(((),), scale * X)
    assert traces == 1


def test_a_layer_is_no_argument_of_jit():
    net = jnn.tanh()
    with pytest.raises(TypeError, match="Layer"):
        jax.jit(lambda net, x: net((), x))(net, X)
    static = jax.jit(lambda net, x: net((), x), static_argnums=0)
    close(static(net, X), jnp.tanh(X))
    with pytest.raises(AttributeError):
        net.init = None  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("key", [0, np.zeros((6, 4)), None], ids=["seed", "swapped", "none"])
def test_init_wants_a_key_first(key):
    with pytest.raises(TypeError, match=r"dense: `key` must be a random key.*Call init\(key, x\)"):
        jnn.dense(3).init(key, X)


def test_old_keys_are_keys():
    jnn.dense(3).init(jax.random.PRNGKey(0), X)


def test_a_constructor_names_its_settings():
    with pytest.raises(TypeError, match=r"^leaky_relu: .*'slop'. It takes slope\.$"):
        jnn.leaky_relu(slop=0.1)
    with pytest.raises(TypeError, match=r"^flatten: .* It takes nothing\.$"):
        jnn.flatten(2)  # pyright: ignore[reportCallIssue]
    with pytest.raises(TypeError, match=r"^dense: missing a required argument: 'n'"):
        jnn.dense()  # pyright: ignore[reportCallIssue]


AS_FUNCTIONS = {
    "softmax": lambda: jnn.softmax(X),
    "relu": lambda: jnn.relu(jnp.asarray(X)),
    "leaky_relu": lambda: jnn.leaky_relu(X, slope=0.2),  # pyright: ignore[reportCallIssue]
    "max_pool": lambda: jnn.max_pool(X, window=2),  # pyright: ignore[reportCallIssue]
    "residual": lambda: jnn.residual(X, X, X, X),  # pyright: ignore[reportCallIssue]
    "dense": lambda: jnn.dense(X, X),  # pyright: ignore[reportCallIssue]
    "conv": lambda: jax.eval_shape(lambda x: jnn.conv(x, x)((), x), X),  # pyright: ignore[reportCallIssue]
}


@pytest.mark.parametrize("name", AS_FUNCTIONS)
def test_a_constructor_called_with_an_array_says_which_function_was_meant(name):
    rule = {"dense": "affine"}.get(name, name)
    expected = rf"^{name}: jnn.{name} makes a layer, of settings; .* is jnn\.rules\.{rule}\."
    with pytest.raises(TypeError, match=expected):
        AS_FUNCTIONS[name]()
    assert rule in jnn.rules.registry


def test_an_array_may_be_a_setting_where_no_rule_has_the_name():
    with pytest.raises(TypeError, match=r"^flatten: .* It takes nothing\.$"):
        jnn.flatten(X)  # pyright: ignore[reportCallIssue]
    assert jnn.layers.image_filter(np.ones((3, 3))).spec.name == "image_filter"

    @jnn.layer
    def tanh(values):
        return without_parameters, pure(lambda params, x: x * values.sum())

    assert tanh(np.ones(2)).spec.name == "tanh"
