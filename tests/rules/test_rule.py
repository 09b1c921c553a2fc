"""The rule: its modes under jit and in threads, its errors, its settings, its arguments."""

import re
import threading
import traceback

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import jnn
from jnn.rules import Example, RuleError, affine, elementwise, tanh


@jnn.rule
def marked(x):
    """Identity whose derivative tells who differentiated: 1 autodiff, 2 backward, 3 forward."""
    return x


@marked.forward
def marked_forward(x):
    return x, None


@marked.backward
def marked_backward(saved, delta):
    return (2 * delta,)


@marked.tangent
def marked_tangent(primals, tangents):
    return primals[0], 3 * tangents[0]


WHO = {"autodiff": 1.0, "backward": 2.0, "forward": 3.0}


@pytest.mark.parametrize("mode", WHO)
def test_the_context_decides_who_differentiates(mode):
    with jnn.derivatives(mode):
        assert jax.grad(marked)(0.5) == WHO[mode]
    assert jax.grad(marked)(0.5) == WHO["backward"]


def test_one_jitted_function_serves_every_mode_interleaved():
    slope = jax.jit(jax.grad(lambda x: marked(x)))
    for _ in range(3):
        for mode, expected in WHO.items():
            with jnn.derivatives(mode):
                assert slope(0.5) == expected
        assert slope(0.5) == WHO["backward"]


def test_modes_of_threads_do_not_mix():
    slope = jax.jit(jax.grad(lambda x: marked(x)))
    seen: dict[str, set[float]] = {mode: set() for mode in WHO}
    barrier = threading.Barrier(len(WHO))

    def work(mode):
        with jnn.derivatives(mode):
            barrier.wait()
            for _ in range(50):
                seen[mode].add(float(slope(0.5)))

    threads = [threading.Thread(target=work, args=(mode,)) for mode in WHO]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == {mode: {expected} for mode, expected in WHO.items()}


def test_contexts_nest_and_decorate():
    @jnn.derivatives("forward")
    def slope(x):
        with jnn.derivatives("autodiff"):
            inner = jax.grad(marked)(x)
        return inner, jax.grad(marked)(x)

    assert slope(0.5) == (1.0, 3.0)
    assert slope(0.5) == (1.0, 3.0)


def test_a_context_is_left_when_its_body_raises():
    with pytest.raises(KeyError), jnn.derivatives("autodiff"):
        raise KeyError
    assert jax.grad(marked)(0.5) == WHO["backward"]


def test_autodiff_wraps_a_function_and_keeps_its_name():
    assert jax.grad(jnn.autodiff(marked))(0.5) == WHO["autodiff"]
    assert jnn.autodiff(jax.grad(marked))(0.5) == WHO["autodiff"]
    assert jax.jit(jax.grad(jnn.autodiff(marked)))(0.5) == WHO["autodiff"]
    assert jnn.autodiff(marked).__name__ == "marked"


def test_an_unknown_mode_is_named():
    message = "derivatives: `mode` must be one of 'backward', 'forward', 'autodiff', got 'reverse'."
    with pytest.raises(ValueError, match=re.escape(message)), jnn.derivatives("reverse"):
        pass


FORWARD_CALLS = {
    "jvp": lambda f: jax.jvp(f, (0.5,), (1.0,)),
    "jacfwd": lambda f: jax.jacfwd(f)(0.5),
    "linearize": lambda f: jax.linearize(f, 0.5)[1](1.0),
}


@pytest.mark.parametrize("call", FORWARD_CALLS.values(), ids=FORWARD_CALLS)
def test_forward_mode_calls_raise_and_say_which_mode_to_use(call):
    with pytest.raises(TypeError, match="forward-mode") as caught:
        call(tanh)
    # Where the call is staged, JAX raises later, and shows the line of ours that led there.
    shown = "".join(traceback.format_exception(caught.value))
    assert 'jnn.derivatives("forward")' in shown
    with pytest.raises(TypeError, match="forward-mode") as caught:
        call(jax.jit(tanh))
    shown = "".join(traceback.format_exception(caught.value))
    assert 'jnn.derivatives("forward")' in shown


@pytest.mark.parametrize("mode", ["forward", "autodiff"])
@pytest.mark.parametrize("call", FORWARD_CALLS.values(), ids=FORWARD_CALLS)
def test_forward_mode_calls_work_in_the_other_modes(call, mode):
    with jnn.derivatives(mode):
        for f in (tanh, jax.jit(tanh)):
            result = jax.tree.leaves(call(f))[-1]
            np.testing.assert_allclose(result, 1 - np.tanh(0.5) ** 2, rtol=1e-6)


def test_a_type_error_of_the_forward_itself_gets_no_note():
    clumsy = tanh.replace(forward=lambda x: (len(3), None))  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match="len") as caught:
        clumsy(1.0)
    assert not any("jnn.derivatives" in note for note in getattr(caught.value, "__notes__", []))


# Parts that are missing or do not fit.


def test_a_missing_part_is_named_with_its_remedy():
    @jnn.rule
    def cube(x):
        return x**3

    with pytest.raises(RuleError, match=r"rule 'cube' has no forward: write one under @cube\.forw"):
        cube(2.0)
    cube.forward(lambda x: (x**3, x))
    with pytest.raises(RuleError, match="rule 'cube' has no backward"):
        cube(2.0)
    assert jnn.autodiff(cube)(2.0) == 8.0
    with jnn.derivatives("forward"):  # Without a tangent, the definition's own serves.
        assert jax.jvp(cube, (2.0,), (1.0,))[1] == 12.0


@pytest.mark.parametrize(
    ("part", "function", "expected"),
    [
        ("forward", lambda x: (x, None), r"forward must take \(x, w, b\), got \(x\)"),
        ("backward", lambda saved: None, r"backward must take \(saved, delta\), got \(saved\)"),
        ("tangent", lambda a, b, c: None, r"tangent must take \(primals, tangents\), got"),
    ],
)
def test_a_part_with_the_wrong_parameters_is_named(part, function, expected):
    with pytest.raises(RuleError, match=f"rule 'affine': {expected}"):
        getattr(affine.replace(), part)(function)


def test_a_part_must_take_the_settings():
    with pytest.raises(RuleError, match=r"must take \(saved, delta, \*, slope\)"):
        jnn.rules.leaky_relu.replace().backward(lambda saved, delta: delta)


def test_a_definition_must_name_its_parameters():
    with pytest.raises(RuleError, match="must name its parameters"):
        jnn.rule(lambda *args: args[0])


@pytest.mark.parametrize(
    ("cotangents", "expected"),
    [
        (lambda dx, dw, db: (dx, dw), "must return a tuple of 3 cotangents.*got 2"),
        (lambda dx, dw, db: dx, "must return a tuple of 3 cotangents.*got "),
        (
            lambda dx, dw, db: (dx, dw.T, db),
            r"float32\[2,3\] as the cotangent of `w`, which is float32\[3,2\]",
        ),
        (
            lambda dx, dw, db: (dx, (dw, dw), db),
            r"\(float32\[3,2\], float32\[3,2\]\) as the cotangent of `w`",
        ),
    ],
)
def test_cotangents_that_do_not_fit_are_named(cotangents, expected):
    wrong = affine.replace(backward=lambda s, d: cotangents(*affine.parts.backward(s, d)))
    with pytest.raises(RuleError, match=f"rule 'affine': .*{expected}"):
        jax.grad(lambda w: wrong(jnp.ones((4, 3)), w, jnp.ones(2)).sum())(jnp.ones((3, 2)))


def test_a_forward_must_return_a_pair():
    with pytest.raises(RuleError, match="forward must return a pair"):
        tanh.replace(forward=lambda x: jnp.tanh(x))(1.0)


# Settings and arguments.


def test_settings_that_cannot_be_hashed_are_named():
    with pytest.raises(TypeError, match="elu: `alpha` must be a hashable constant"):
        jnn.rules.elu.replace()(1.0, alpha=np.ones(()))


def test_equal_settings_of_different_types_are_kept_apart():
    @jnn.rule
    def scaled(x, *, by=1):
        return x

    scaled.forward(lambda x, *, by: (x, None))
    scaled.backward(lambda saved, delta, *, by: (delta * (1 if by is True else 10),))
    assert jax.grad(lambda x: scaled(x, by=True))(1.0) == 1
    assert jax.grad(lambda x: scaled(x, by=1))(1.0) == 10


def test_a_check_may_put_settings_into_a_canonical_form():
    @jnn.rule
    def picked(x, *, mask=(True, True)):
        return x * jnp.array(mask)

    picked.check(lambda x, *, mask: {"mask": tuple(bool(m) for m in mask)})
    picked.forward(lambda x, *, mask: (jnp.where(jnp.array(mask), x, 0.0), None))
    picked.backward(lambda saved, delta, *, mask: (jnp.where(jnp.array(mask), delta, 0.0),))
    gradient = jax.grad(lambda x: picked(x, mask=np.array([True, False])).sum())(jnp.ones(2))
    assert gradient.tolist() == [1, 0]


def test_wrong_calls_show_the_signature():
    with pytest.raises(TypeError, match=r"affine\(x.*missing a required argument: 'w'"):
        affine(jnp.ones(3))
    with pytest.raises(TypeError, match="unexpected keyword argument 'bias'"):
        affine(jnp.ones((2, 3)), jnp.ones((3, 2)), bias=jnp.ones(2))


def test_arguments_may_be_numpy_arrays_numbers_keywords_and_absent():
    x, w = np.ones((2, 3), np.float32), np.ones((3, 2), np.float32)
    assert affine(w=w, x=x).tolist() == [[3, 3], [3, 3]]
    dx, dw = jax.grad(lambda x, w: affine(x, w).sum(), argnums=(0, 1))(x, w)
    assert (dx.shape, dw.shape) == (x.shape, w.shape)


def test_a_cotangent_may_come_as_a_numpy_array():
    x, w, delta = np.ones((2, 4, 3)), np.ones((3, 2)), np.ones((2, 4, 2))
    with jax.enable_x64(True):
        _, pull = jax.vjp(affine, x, w, np.ones(2))
        assert pull(delta)[2].tolist() == [8, 8]


def test_weak_types_and_dtypes_are_kept():
    for mode in WHO:
        with jnn.derivatives(mode):
            y, slope = jax.value_and_grad(tanh)(0.5)
            assert y.weak_type
            assert slope.weak_type
            for dtype in (jnp.float16, jnp.bfloat16, jnp.float32):
                y, slope = jax.value_and_grad(tanh)(jnp.array(0.5, dtype))
                assert (y.dtype, slope.dtype) == (dtype, dtype)


@jnn.rule
def weighted(x, labels, *, scale=2.0):
    """A rule with an integer argument and a pytree argument."""
    return scale * x["a"] * labels.astype(x["a"].dtype) + x["b"]


@weighted.forward
def weighted_forward(x, labels, *, scale):
    return weighted.parts.definition(x, labels, scale=scale), labels


@weighted.backward
def weighted_backward(labels, delta, *, scale):
    return {"a": scale * labels.astype(delta.dtype) * delta, "b": delta}, None


def test_integer_arguments_take_zero_cotangents_and_trees_their_own():
    x, labels = {"a": jnp.ones(3), "b": jnp.zeros(3)}, jnp.array([1, 2, 3])
    gradient, none = jax.grad(lambda x, n: weighted(x, n).sum(), (0, 1), allow_int=True)(x, labels)
    assert gradient["a"].tolist() == [2, 4, 6]
    assert gradient["b"].tolist() == [1, 1, 1]
    assert none.dtype == jax.dtypes.float0


# What is not asked for costs nothing.


def flops(f, *args) -> float:
    return (jax.jit(f).lower(*args).compile().cost_analysis() or {}).get("flops", 0.0)


@pytest.mark.parametrize("argument", [0, 1, 2])
@pytest.mark.parametrize("mode", ["backward", "forward"])
def test_arguments_that_are_not_differentiated_cost_nothing(argument, mode):
    args = jnp.ones((32, 48)), jnp.ones((48, 40)), jnp.ones(40)

    def derivative(moving):
        def f(t):
            return affine(*args[:argument], t, *args[argument + 1 :])

        if mode == "backward":
            return jax.grad(lambda t: jnp.square(f(t)).sum())(moving)
        return jax.jvp(f, (moving,), (moving,))[1]

    costs = {}
    for choice in (mode, "autodiff"):
        with jnn.derivatives(choice):
            costs[choice] = flops(derivative, args[argument])
    assert costs[mode] <= costs["autodiff"] * 1.01


def test_the_moving_arguments_of_a_forward_rule_are_enough():
    x, w, b = jnp.ones((4, 3)), jnp.full((3, 2), 0.5), jnp.ones(2)
    with jnn.derivatives("forward"):
        _, dy = jax.jvp(lambda w: affine(x, w, b), (w,), (w,))
        np.testing.assert_allclose(dy, x @ w)
        rows = jax.vmap(lambda w: jax.jvp(lambda w: affine(x, w, b), (w,), (w,))[1])(
            jnp.stack([w, 2 * w])
        )
        np.testing.assert_allclose(rows, jnp.stack([x @ w, 2 * x @ w]))


# Meshes: a manual one, and one whose axes are part of each array's type.


def loss(w, b, x):
    return jnp.square(tanh(affine(x, w, b))).sum()


@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit])
def test_gradients_on_a_mesh_equal_those_on_one_device(axis_type):
    mesh = jax.make_mesh((4,), ("batch",), axis_types=(axis_type,))
    values = np.random.default_rng(0)
    x, w, b = values.normal(size=(8, 3)), values.normal(size=(3, 2)), values.normal(size=2)
    x, w, b = (jnp.asarray(v, jnp.float32) for v in (x, w, b))
    expected = jax.grad(loss, argnums=(0, 1, 2))(w, b, x)
    split, whole = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in (["batch"], []))
    args = (*jax.device_put((w, b), whole), jax.device_put(x, split))
    gradients = jax.jit(jax.grad(loss, argnums=(0, 1, 2)))(*args)
    for got, want in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)

    whole, split = PartitionSpec(), PartitionSpec("batch")

    def shard_gradients(w, b, x):
        return jax.grad(lambda *args: jax.lax.psum(loss(*args), "batch"), argnums=(0, 1, 2))(
            w, b, x
        )

    mapped = jax.shard_map(
        shard_gradients, mesh=mesh, in_specs=(whole, whole, split), out_specs=(whole, whole, split)
    )
    results = mapped(*args)  # pyright: ignore[reportCallIssue]
    for got, want in zip(results, expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_integer_arguments_are_left_alone_on_an_explicit_mesh():
    mesh = jax.make_mesh((3,), ("batch",), axis_types=(AxisType.Explicit,))
    split = NamedSharding(mesh, PartitionSpec("batch"))
    x = jax.device_put({"a": jnp.ones(3), "b": jnp.zeros(3)}, split)
    labels = jax.device_put(jnp.array([1, 2, 3]), split)
    gradient = jax.jit(jax.grad(lambda x, n: weighted(x, n).sum()))(x, labels)
    assert gradient["a"].tolist() == [2, 4, 6]


# Elementwise rules and examples.


def test_elementwise_asks_what_is_saved():
    with pytest.raises(
        ValueError, match="elementwise: `saves` must be one of 'x', 'y', 'signs', ''"
    ):
        elementwise(jnn.rule(lambda x: x), saves="z")


def test_replacing_a_part_leaves_the_rule_alone():
    doubled = tanh.replace(backward=lambda y, delta: (2 * tanh.parts.backward(y, delta)[0],))
    assert jax.grad(doubled)(0.0) == 2
    assert jax.grad(tanh)(0.0) == 1
    assert doubled.elementwise
    assert doubled.examples == tanh.examples


def test_representations_name_what_is_there():
    assert repr(tanh) == "<rule tanh(x): definition, forward, backward, tangent>"
    example = Example(np.ones((2, 3)), np.ones(3, int), slope=0.1)
    assert repr(example) == "Example('float64[2,3]', 'int64[3]') {'slope': 0.1}"
