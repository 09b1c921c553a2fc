"""Every implementation of a convolution's products against the first, XLA's own."""

import functools
import itertools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from benchmarks.conv import GROUPS
from jnn.rules import (
    Connections,
    conv,
    conv_transpose,
    radial,
    rectified_conv,
    weighted_subsample,
)
from jnn.rules.convolution.defaults import ROWS, row
from jnn.rules.convolution.geometry import Geometry
from jnn.rules.convolution.ways.winograd import short
from jnn.rules.core import chunks
from jnn.rules.core.product import choices, products, ways
from jnn.verify import check

ROOT = Path(__file__).parents[2]
NAMES = ("conv.value", "conv.input", "conv.filter")


class Setting:
    """A convolution by its sizes; `batch` is odd, so that chunks leave a rest."""

    def __init__(
        self, size, window, maps, *,
        stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups=1, batch=5,
    ):  # fmt: skip
        axes = len(size)
        self.size, self.window, self.maps, self.batch = size, window, maps, batch
        self.stride, self.dilation = (
            v if isinstance(v, tuple) else (v,) * axes for v in (stride, dilation)
        )
        self.padding = padding if isinstance(padding, tuple) else ((padding, padding),) * axes
        self.groups = groups

    def call(self, name, dtype=jnp.float64):
        random = np.random.default_rng(0)
        g = Geometry(self.size, self.window, self.stride, self.padding, self.dilation, self.groups)
        x = random.normal(size=(self.batch, *self.size, self.maps[0]))
        w = random.normal(size=(*self.window, self.maps[0] // self.groups, self.maps[1]))
        delta = random.normal(size=(self.batch, *g.places, self.maps[1]))
        arrays = {"conv.value": (x, w), "conv.input": (delta, w), "conv.filter": (x, delta)}
        return [jnp.asarray(a, dtype) for a in arrays[name]], g


SETTINGS = {
    "3x3": Setting((7, 6), (3, 3), (2, 3)),
    "3x3 same": Setting((8, 7), (3, 3), (2, 3), padding=1),
    "3x3 padded": Setting((4, 5), (3, 3), (2, 2), padding=((2, 0), (1, 3))),
    "stride": Setting((9, 8), (3, 2), (2, 3), stride=(2, 3), padding=((1, 1), (0, 0))),
    "pixels left over": Setting((8, 9), (3, 3), (2, 2), stride=(2, 3), padding=((1, 0), (0, 1))),
    "steps over": Setting((7, 7), (2, 1), (2, 2), stride=3),
    "dilation": Setting((9, 8), (3, 2), (2, 2), dilation=(2, 3), padding=2),
    "5x5": Setting((6, 8), (5, 5), (2, 2), padding=((2, 2), (0, 1))),
    "5x5 stride": Setting((9, 8), (5, 5), (2, 2), stride=2, padding=((2, 2), (0, 1))),
    "groups": Setting((6, 6), (3, 3), (4, 6), groups=2, padding=1),
    "depthwise": Setting((6, 7), (3, 3), (4, 8), groups=4, padding=1),
    "depthwise stride": Setting((8, 7), (3, 2), (3, 3), groups=3, stride=2, padding=((1, 0),) * 2),
    "one map": Setting((6, 7), (3, 2), (1, 3)),
    "a line": Setting((11,), (4,), (2, 3), stride=2, padding=((1, 2),)),
    "a volume": Setting((4, 5, 4), (2, 3, 2), (2, 2), padding=1, stride=(1, 2, 1)),
    "no samples": Setting((7, 6), (3, 3), (2, 3), batch=0),
}


@pytest.fixture(autouse=True)
def in_chunks(monkeypatch):
    """Few samples at a time, so that these small arrays are taken in parts."""
    monkeypatch.setattr(chunks, "CACHE", 2**13)
    with jax.enable_x64(True):
        yield


@pytest.mark.compiler
@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("name", NAMES)
def test_every_implementation_computes_the_same(name, setting):
    product = products[name]
    arrays, g = SETTINGS[setting].call(name)
    call = product.call(*arrays, setting=g)

    def computed(*arrays):
        return {n: product.compute(n, *arrays, setting=g) for n in product.candidates(call)}

    results = jax.jit(computed)(*arrays)
    expected = results.pop("lax")
    for name, result in results.items():
        assert (result.shape, result.dtype) == (expected.shape, expected.dtype), name
        np.testing.assert_allclose(result, expected, rtol=1e-10, atol=1e-11, err_msg=name)


@pytest.mark.compiler
@pytest.mark.parametrize("name", NAMES)
def test_every_implementation_rounds_bfloat16_once(name):
    """Sums are in float32, in chunks too: each entry is the exact one, rounded to eight bits."""
    product = products[name]
    for setting in ("3x3 same", "5x5 stride", "depthwise"):
        arrays, g = SETTINGS[setting].call(name, jnp.bfloat16)
        call = product.call(*arrays, setting=g)

        def computed(*arrays, g=g, call=call):
            return {n: product.compute(n, *arrays, setting=g) for n in product.candidates(call)}

        exact = product.compute("lax", *(a.astype(jnp.float64) for a in arrays), setting=g)
        for way, found in jax.jit(computed)(*arrays).items():
            assert found.dtype == jnp.bfloat16, way
            error = np.abs(found.astype(jnp.float64) - exact)
            bound = 2.0**-8 * np.abs(exact) + 1e-5 * np.abs(exact).max()
            assert (error <= bound).all(), (setting, way)


def test_a_step_in_bfloat16_has_no_convolution_of_it_and_no_loop_that_writes_it(monkeypatch):
    """On a CPU either would be computed in float32 and back: the latter whole, in each turn."""
    monkeypatch.setattr(chunks, "CACHE", 2**10)
    conv = jnn.conv(4, 3, padding="same")
    net = jnn.serial(conv, jnn.relu(), jnn.max_pool(2), conv, jnn.flatten(), jnn.dense(3))
    x, t = jnp.ones((8, 8, 8, 3), jnp.bfloat16), jnp.zeros(8, jnp.int32)
    params, _ = net.init(jax.random.key(0), x)

    def loss(params, x):
        return jnn.softmax_cross_entropy(net(params, x), t).mean()

    with jnn.platform("cpu"):
        lines = jax.jit(jax.grad(loss, (0, 1))).lower(params, x).as_text().splitlines()
    convolutions = [line for line in lines if "stablehlo.convolution" in line]
    writes = [line for line in lines if "stablehlo.dynamic_update_slice" in line]
    assert convolutions
    assert writes
    assert not [line for line in convolutions + writes if "bf16" in line]


@pytest.mark.parametrize(("m", "r"), [(2, 3), (4, 3), (2, 5)])
def test_short_convolutions_are_convolutions(m, r):
    image, weights, output = short(m, r)
    x, w = np.random.default_rng(0).normal(size=m + r - 1), np.arange(1.0, r + 1)
    y = output @ ((weights @ w) * (image @ x))
    np.testing.assert_allclose(y, np.correlate(x, w, "valid"), rtol=1e-13)


@pytest.mark.compiler
@pytest.mark.parametrize(("name", "bound"), [("winograd", 2e-6), ("winograd4", 4e-6)])
@pytest.mark.parametrize("product", ["conv.value", "conv.filter"])
def test_what_short_convolutions_lose_in_float32(product, name, bound):
    """Over the largest entry, as wide as networks are; the bounds stand in the module's text."""
    arrays, g = Setting((8, 8), (3, 3), (128, 32), padding=1, batch=8).call(product)
    exact = products[product].compute("lax", *arrays, setting=g)
    function = functools.partial(products[product].compute, name, setting=g)
    found = jax.jit(function)(*(a.astype(jnp.float32) for a in arrays))
    error = np.abs(found.astype(exact.dtype) - exact).max() / np.abs(exact).max()
    assert error <= bound


def test_every_implementation_is_tried():
    tried = {
        (name, candidate)
        for name, setting in itertools.product(NAMES, SETTINGS.values())
        for arrays, g in [setting.call(name)]
        for candidate in products[name].candidates(products[name].call(*arrays, setting=g))
    }
    ours = {
        (name, n)
        for name in NAMES
        for n, each in products[name].implementations.items()
        if each.function.__module__.startswith("jnn.rules")
    }
    assert tried == ours


def scatters(function, *args):
    """Whether a program scatters: as it is written; a CPU's compiler makes loops of it."""
    return "scatter" in jax.jit(function).lower(*args).as_text()


@pytest.mark.parametrize("name", NAMES)
def test_no_implementation_scatters(name):
    """So training is deterministic on a GPU."""
    for setting in ("3x3 same", "5x5 stride", "depthwise"):
        arrays, g = SETTINGS[setting].call(name, jnp.float32)
        call = products[name].call(*arrays, setting=g)
        for candidate in products[name].candidates(call):
            function = functools.partial(products[name].compute, candidate, setting=g)
            assert not scatters(function, *arrays), candidate


RULES = {
    "strided": (conv, ((2, 7, 7, 2), (3, 3, 2, 4)), {"stride": 2}),
    "depthwise": (conv, ((2, 7, 7, 4), (3, 3, 1, 4)), {"groups": 4}),
    "groups": (conv, ((2, 7, 7, 4), (3, 3, 2, 4)), {"groups": 2}),
    "a table": (conv, ((2, 7, 7, 6), (3, 3, 60)), {"connections": Connections.lenet5()}),
    "a sparse table": (conv, ((2, 4, 4, 64), (3, 3, 128)),
                       {"connections": Connections.random(64, 64, fan_in=2)}),
    "rectified": (rectified_conv, ((2, 7, 7, 2), (3, 3, 2, 4)), {"pool": 2}),
    "weighted sums": (weighted_subsample, ((2, 6, 6, 6), (6, 16)),
                      {"factor": 2, "connections": Connections.lenet5()}),
    "radial": (radial, ((5, 3), (4, 3), (4,)), {}),
    "transposed": (conv_transpose, ((2, 4, 4, 2), (3, 3, 4, 2)), {"stride": 2}),
}  # fmt: skip


@pytest.mark.parametrize("name", RULES)
def test_no_rule_scatters(name):
    rule, shapes, settings = RULES[name]
    arrays = [jnp.ones(shape) for shape in shapes]

    def step(*arrays):
        y, pull = jax.vjp(functools.partial(rule, **settings), *arrays)
        return pull(y)

    assert not scatters(step, *arrays)
    with jnn.derivatives("autodiff"):
        # The definitions of these do: autodiff's max pooling, and filters put into a whole.
        assert scatters(step, *arrays) == (name in ("a table", "a sparse table", "rectified"))


class Only:
    """Chooses one implementation wherever it can compute the call."""

    def __init__(self, name):
        self.name = name

    def choose(self, product, call):
        return self.name if self.name in product.candidates(call) else None


@pytest.mark.slow
@pytest.mark.parametrize("name", ["im2col", "rows", "wide_delta", "winograd", "fourier"])
def test_a_rule_passes_its_check_however_it_is_computed(name):
    """Transformations and devices: loops over samples must bear them too."""
    random = np.random.default_rng(0)
    window = 5 if name == "fourier" else 3
    args = random.normal(size=(4, 6, 6, 2)), random.normal(size=(window, window, 2, 3)), np.ones(3)
    with choices(Only(name)):
        suites = ["agreement", "transforms", "devices", "empty_batch", "float32"]
        report = check(conv, args, settings={"padding": 1}, suites=suites)
    assert report.ok, str(report)


def test_the_default_is_a_candidate_and_xla_off_the_cpu():
    for name, setting in itertools.product(NAMES, SETTINGS.values()):
        arrays, g = setting.call(name, jnp.float32)
        product = products[name]
        call = product.call(*arrays, setting=g)
        assert product.default(call) in product.candidates(call)
        many = {0, 1} if name == "conv.filter" else {0}
        large = call._replace(
            arrays=tuple(
                ((10**6, *shape[1:]) if i in many else shape, dtype)
                for i, (shape, dtype) in enumerate(call.arrays)
            )
        )
        assert product.default(large) in product.candidates(large)
        assert product.default(large._replace(platform="tpu")) == "lax"
        backward = name == "conv.input" and g.groups == 1  # As cuDNN has it.
        expected = "exchanged" if backward else "lax"
        assert product.default(large._replace(platform="gpu")) == expected


def test_exact_runs_the_references():
    x, w = jnp.ones((64, 16, 16, 32), jnp.float32), jnp.ones((3, 3, 32, 64), jnp.float32)

    def loss(x, w):
        return conv(x, w, padding=1).sum()

    def found():
        return [*ways(jax.grad(loss, (0, 1)), x, w).values()]

    assert found() == ["overrun", "overrun", "winograd4"]
    with jnn.rules.by_reference():
        assert found() == ["lax"] * 3
    assert found() == ["overrun", "overrun", "winograd4"]


def test_every_default_row_names_a_way_and_what_it_gains():
    for each in ROWS:
        assert each.way in products[each.product].implementations
        assert 0.5 < each.gain[0] <= each.gain[1]
        assert each.gain[1] > 1.1
        assert (ROOT / "benchmarks/results" / each.page).exists()


def test_each_default_row_is_reached():
    shapes = [(shape, name) for group in GROUPS.values() for shape in group for name in NAMES]
    reached = {row(shape.call(name)) for shape, name in shapes}
    missed = {r for r in ROWS if r not in reached and r.page == "conv.md"}
    assert not missed
