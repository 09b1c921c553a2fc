"""Serial and parallel: composition, names, and errors that say where."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from jnn.layers.combinators.stages import stages
from tests.draw import parameters

KEY = jax.random.key(0, impl="rbg")  # Compiles faster than the default.
X = np.random.default_rng(1).normal(size=(6, 4)).astype(np.float32)


def test_serial_is_composition():
    first, second = jnn.dense(5, activation="tanh"), jnn.dense(2)
    net = jnn.serial(first, second)
    params = parameters(net, X)
    np.testing.assert_array_equal(net(params, X), second(params[1], first(params[0], X)))


def test_layer_i_draws_from_key_i():
    net = jnn.serial(jnn.dense(4), jnn.relu(), jnn.dense(4))
    params, _ = net.init(KEY, X)
    for i in (0, 2):
        alone, _ = net.spec.layers[i].init(jax.random.fold_in(KEY, i), X)
        np.testing.assert_array_equal(params[i].w, alone.w)
    assert (params[0].w != params[2].w).all()


def test_serial_of_nothing_is_the_identity():
    net = jnn.serial()
    assert net.init(KEY, X) == ((), ())
    y, state = net.apply((), (), X)
    np.testing.assert_array_equal(y, X)
    assert state == ()


def test_nesting_changes_no_value():
    layers = jnn.dense(5), jnn.tanh(), jnn.dense(3)
    flat, nested = jnn.serial(*layers), jnn.serial(layers[0], jnn.serial(*layers[1:]))
    params = parameters(flat, X)
    np.testing.assert_array_equal(flat(params, X), nested((params[0], params[1:]), X))


def test_parallel_gives_each_layer_the_same_input():
    branches = jnn.dense(4), jnn.serial(jnn.dense(7), jnn.tanh(), jnn.dense(4)), jnn.identity()
    params = parameters(jnn.parallel(*branches), X)
    outputs = jnn.parallel(*branches)(params, X)
    assert isinstance(outputs, tuple)
    for branch, p, y in zip(branches, params, outputs, strict=True):
        np.testing.assert_array_equal(y, branch(p, X))
    total = jnn.parallel(*branches, combine="sum")(params, X)
    np.testing.assert_allclose(total, sum(outputs), rtol=1e-6)
    joined = jnn.parallel(*branches, combine="concatenate")(params, X)
    np.testing.assert_array_equal(joined, np.concatenate(outputs, axis=-1))


def test_a_residual_step_is_a_sum_of_branches():
    """T-22 from its parts: x + s(x w1 + b) w2."""
    step = jnn.serial(jnn.dense(7, activation="tanh"), jnn.dense(4, bias=False))
    net = jnn.parallel(jnn.identity(), step, combine="sum")
    params = parameters(net, X)
    (w1, b), (w2, _) = params[1]
    ours = jnn.residual(7)(jnn.layers.ResidualParams(w1, b, w2), X)
    np.testing.assert_allclose(net(params, X), ours, rtol=1e-6, atol=1e-6)


def test_outputs_that_do_not_combine_raise():
    wide = jnn.parallel(jnn.dense(2), jnn.dense(3), combine="sum")
    params = parameters(wide, X)
    with pytest.raises(ValueError, match=r"have one shape, got float32\[6,2\], float32\[6,3\]"):
        wide(params, X)
    tall = jnn.parallel(jnn.identity(), jnn.flatten(), combine="concatenate")
    with pytest.raises(ValueError, match=r"one shape up to the last axis, got float32\[6,2,2\]"):
        tall(((), ()), X.reshape(6, 2, 2))


def test_profiles_see_the_names_of_layers():
    net = jnn.serial(jnn.dense(4), jnn.serial(jnn.tanh(), jnn.dense(2)))
    params = parameters(net, X)
    text = jax.jit(net).lower(params, X).as_text(debug_info=True)
    assert "0.dense/affine" in text
    assert "1.serial/0.tanh/tanh" in text
    names = [name for name, *_ in stages(net, params)]
    assert names == ["0.dense", "1.serial/0.tanh", "1.serial/1.dense"]


def test_an_error_names_the_layer_and_those_around_it():
    net = jnn.serial(jnn.dense(4), jnn.parallel(jnn.tanh(), jnn.dense(3, activation="relu")))
    params = parameters(net, X)
    wrong = (params[0], (params[1][0], params[0]))
    with pytest.raises(ValueError, match="dense: `params` must be DenseParams of 3") as caught:
        jax.jit(net)(wrong, X)
    notes = [note for note in caught.value.__notes__ if note.startswith("In layer")]
    assert notes == [
        "In layer 1 of parallel: dense(3, activation='relu')",
        "In layer 1 of serial: parallel",
    ]
    with pytest.raises(ValueError, match="affine: `x` must be of shape") as caught:
        net(params, X[:, :3])
    assert caught.value.__notes__[-1] == "In layer 0 of serial: dense(4)"
    with pytest.raises(TypeError, match="dense: `x` must be a floating array") as caught:
        net.init(KEY, X.astype(complex))
    assert caught.value.__notes__[-1] == "In layer 0 of serial: dense(4)"


@pytest.mark.parametrize("make", [jnn.serial, jnn.parallel])
def test_params_and_state_must_fit(make):
    net = make(jnn.dense(4), jnn.relu(), jnn.dense(4))
    params = parameters(net, X)
    name = net.spec.name
    expected = rf"^{name}: `params` must be a tuple of 3, one for each of \(dense, relu, dense\)"
    with pytest.raises(ValueError, match=f"{expected}, got 2. Make both by init."):
        net(params[:2], X)
    with pytest.raises(ValueError, match=rf"{expected}, got float32\[\]"):
        net(jnp.float32(1), X)
    with pytest.raises(ValueError, match=f"^{name}: `state` must be a tuple of 3"):
        net(params, X, ((), ()))


@pytest.mark.parametrize("make", [jnn.serial, jnn.parallel])
def test_only_layers_combine(make):
    with pytest.raises(TypeError, match=r"`layers\[1\]` must be a layer, .* called: jnn.relu\(\)"):
        make(jnn.dense(3), jnn.relu)
    with pytest.raises(TypeError, match=r"`layers\[0\]` must be a layer, .*, got \[dense\(3\)\]"):
        make([jnn.dense(3)])


@pytest.mark.parametrize("make", [jnn.serial, jnn.parallel])
def test_a_rule_of_one_argument_stands_for_its_layer(make):
    net = make(jnn.dense(3), jnn.rules.relu)
    assert net == make(jnn.dense(3), jnn.relu())
    assert repr(net) == f"{make.__name__}(dense(3), relu())"
    assert all(isinstance(inner, jnn.Layer) for inner in net.spec.layers)
    with pytest.raises(
        TypeError, match=r"`layers\[0\]` must be a layer, or a rule of one argument"
    ):
        make(jnn.rules.affine)
    with pytest.raises(TypeError, match=r"max_pool: missing a required .*argument: 'window'"):
        make(jnn.rules.max_pool)


def test_rules_are_fused_as_their_layers():
    net = jnn.serial(jnn.conv(3, 3), jnn.rules.relu, jnn.max_pool(2))
    x = jax.ShapeDtypeStruct((2, 8, 8, 1), jnp.float32)
    params, _ = jax.eval_shape(lambda: net.init(KEY, x))
    names = {str(e.source_info.name_stack) for e in jax.make_jaxpr(net)(params, x).eqns}
    assert names == {"0.conv/rectified_conv"}


def test_parallel_refuses_bad_settings():
    with pytest.raises(ValueError, match="parallel: `layers` must be at least one layer"):
        jnn.parallel()
    with pytest.raises(ValueError, match="parallel: `combine` must be one of None, 'sum', 'conc"):
        jnn.parallel(jnn.relu(), combine="product")


def test_flatten_keeps_the_batch():
    """D-41: index I = o_v o_h i + o_h j + k, which is C order."""
    x = jnp.arange(2 * 3 * 4 * 5.0).reshape(2, 3, 4, 5)
    y = jnn.flatten()((), x)
    assert y.shape == (2, 60)
    assert y[1, 20 * 2 + 5 * 3 + 4] == x[1, 2, 3, 4]
    assert jnn.flatten()((), x[:0]).shape == (0, 60)
    assert jnn.flatten()((), x[:, 0, 0, 0]).shape == (2, 1)
    with pytest.raises(ValueError, match="flatten: `x` must be an array with a batch axis"):
        jnn.flatten()((), jnp.float32(1))
