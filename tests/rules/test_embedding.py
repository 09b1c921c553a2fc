"""Embedding: rows by number against loops and PyTorch, and every way to add their gradients up."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

import jnn
from jnn.rules import embedding
from jnn.rules.core.product import choices
from jnn.rules.linear.table import table_delta
from jnn.verify import check
from jnn.xla.programs import equations

WAYS = ("scatter", "one_hot", "sorted")


class Only:
    """Chooses one implementation of the product `embedding.table`, by value."""

    def __init__(self, name):
        self.name = name

    def choose(self, product, call):
        return self.name if product is table_delta else None

    def __eq__(self, other):
        return isinstance(other, Only) and self.name == other.name

    def __hash__(self):
        return hash(self.name)


def by_loops(ids, table, delta, padding=None):
    """Value and cotangent of the table, a number at a time."""
    y = np.empty((*ids.shape, table.shape[1]))
    dtable = np.zeros(table.shape)
    for i, each in np.ndenumerate(ids):
        if each == padding:
            y[i] = 0
        elif 0 <= each < len(table):
            y[i] = table[each]
            for j in range(table.shape[1]):
                dtable[each, j] += delta[(*i, j)]
        else:
            y[i] = np.nan
    return y, dtable


def both(ids, table, delta, padding=None):
    y, pull = jax.vjp(lambda table: embedding(ids, table, padding=padding), table)
    return y, pull(delta)[0]


# Values and gradients.


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("padding", [None, -1, 2])
@pytest.mark.parametrize("shape", [(), (1,), (30,), (3, 0), (4, 7), (2, 3, 5)])
def test_values_and_gradients_equal_loops(shape, padding, way, random):
    ids, table = random.integers(-2, 8, shape), random.normal(size=(6, 3))
    delta = random.normal(size=(*shape, 3))
    expected = by_loops(ids, table, delta, padding)
    with jax.enable_x64(True), choices(Only(way)):
        got = jax.jit(both, static_argnums=3)(jnp.asarray(ids), table, delta, padding)
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("padding", [None, 2])
def test_values_and_gradients_equal_pytorch(padding, way, random):
    torch = pytest.importorskip("torch", reason="the second opinion is PyTorch's")
    ids, table = random.integers(0, 50, (16, 40)), random.normal(size=(50, 8))
    delta = random.normal(size=(16, 40, 8))
    if padding is not None:
        table[padding] = 0  # Its row is read there, and set to 0 where a module is made.
    w = torch.tensor(table, requires_grad=True)
    y = torch.nn.functional.embedding(torch.tensor(ids), w, padding_idx=padding)
    y.backward(torch.tensor(delta))
    with jax.enable_x64(True), choices(Only(way)):
        got = both(jnp.asarray(ids), jnp.asarray(table), jnp.asarray(delta), padding)
    for a, b in zip(got, (y.detach().numpy(), w.grad.numpy()), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int16, np.int32, np.uint32])
def test_narrow_ids_reach_large_tables(kind, random):
    """An int8 cannot hold the number of rows that it is compared with."""
    ids = np.array([0, 5, np.iinfo(kind).max % 1000], kind)
    table = random.normal(size=(1000, 2)).astype(np.float32)
    y, dtable = both(ids, table, np.ones((3, 2), np.float32))
    np.testing.assert_array_equal(y, table[ids])
    assert (np.flatnonzero(np.asarray(dtable)[:, 0]) == np.unique(ids)).all()


def test_an_id_that_is_no_row_is_nan_and_trains_nothing():
    table = jnp.arange(6.0).reshape(3, 2)
    y, dtable = both(jnp.array([-1, 3, 2**31 - 1, -(2**31), 1]), table, jnp.ones((5, 2)))
    assert jnp.isnan(y[:4]).all()
    np.testing.assert_array_equal(y[4], table[1])
    np.testing.assert_array_equal(dtable, [[0, 0], [1, 1], [0, 0]])


@pytest.mark.parametrize("way", WAYS)
def test_what_is_not_finite_where_nothing_is_read_stays_out(way):
    """Cotangents of padding and of ids that are no row are not looked at."""
    delta = jnp.array([[jnp.nan], [jnp.inf], [1.0]])
    with choices(Only(way)):
        _, dtable = both(jnp.array([-1, 7, 0]), jnp.ones((2, 1)), delta, -1)
    np.testing.assert_array_equal(dtable, [[1], [0]])


@pytest.mark.parametrize("way", ["scatter", "sorted"])
def test_an_infinite_cotangent_spoils_its_own_row_alone(way):
    delta = jnp.array([[jnp.nan], [jnp.inf], [1.0], [2.0]])
    with choices(Only(way)):
        _, dtable = both(jnp.array([1, 2, 0, 0]), jnp.ones((4, 1)), delta)
    np.testing.assert_array_equal(dtable[:, 0], [3, np.nan, np.inf, 0])


# The ways to add up.


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_half_precisions_are_summed_in_float32(dtype, way):
    """4096 ones: in bfloat16 itself they would stop at 256, in float16 at 2048."""
    with choices(Only(way)):
        _, dtable = both(jnp.zeros(4096, jnp.int32), jnp.ones((2, 3), dtype),
                         jnp.ones((4096, 3), dtype))  # fmt: skip
    assert dtable.dtype == dtype
    np.testing.assert_array_equal(np.asarray(dtable, np.float64), [[4096] * 3, [0] * 3])


@pytest.mark.parametrize("ids", ["equal", "all", "few", "last"])
@pytest.mark.parametrize("way", WAYS)
def test_ways_agree_however_often_ids_repeat(way, ids, random):
    n, rows = 1000, 37
    places = {
        "equal": np.zeros(n), "all": random.integers(0, rows, n), "few": random.integers(0, 2, n),
        "last": np.full(n, rows - 1),
    }[ids].astype(np.int32)  # fmt: skip
    delta = random.normal(size=(n, 5)).astype(np.float32)
    want = np.zeros((rows, 5))
    np.add.at(want, places, delta.astype(np.float64))
    got = table_delta.compute(way, jnp.asarray(places), jnp.asarray(delta), setting=rows)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-4)


def test_a_one_hot_matrix_is_made_in_parts(monkeypatch, random):
    from jnn.rules.linear import table

    monkeypatch.setattr(table, "MOST", 40)
    places, delta = jnp.asarray(random.integers(0, 9, 23)), jnp.asarray(random.normal(size=(23, 2)))
    got, want = (
        table_delta.compute(way, places, delta, setting=8) for way in ("one_hot", "scatter")
    )
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def primitives(way):
    """What the gradient by that way is made of."""
    with choices(Only(way)):
        program = jax.make_jaxpr(both)(jnp.array([0, 1, 1]), jnp.ones((3, 2)), jnp.ones((3, 2)))
    return {e.primitive.name for e in equations(program)}


def test_one_way_scatters_and_the_others_do_not():
    """A GPU's scatter adds in any order, and under deterministic ops does not compile there."""
    assert "scatter-add" in primitives("scatter")
    for way in ("one_hot", "sorted"):
        assert not {name for name in primitives(way) if "scatter" in name}


@pytest.mark.parametrize(("rows", "way"), [(399, "one_hot"), (32768, "sorted")])
@pytest.mark.parametrize("platform", ["gpu", "tpu"])
def test_only_a_cpu_scatters_by_default(platform, rows, way):
    arrays = jnp.zeros(8, jnp.int32), jnp.zeros((8, 4))
    with jnn.platform(platform):
        assert table_delta.default(table_delta.call(*arrays, setting=rows)) == way
    assert table_delta.default(table_delta.call(*arrays, setting=rows)) == "scatter"


def test_every_way_is_tried_by_tune():
    found = jnn.tune(
        lambda ids, table: embedding(ids, table).sum(), jnp.zeros(20, jnp.int32), jnp.ones((6, 3)),
        budget=0.01, progress=False, whole=False,
    )  # fmt: skip
    assert [{t.name: t.fault for t in row.trials} for row in found.rows] == [
        dict.fromkeys(WAYS, "")
    ]


# Transformations.


@pytest.mark.parametrize("way", WAYS)
def test_vmap_over_ids_and_over_tables(way, random):
    ids = jnp.asarray(random.integers(-1, 5, (4, 6)))
    tables = jnp.asarray(random.normal(size=(4, 5, 3)), jnp.float32)
    delta = jnp.asarray(random.normal(size=(4, 6, 3)), jnp.float32)
    with choices(Only(way)):
        got = jax.vmap(both)(ids, tables, delta)
        apart = [both(*each) for each in zip(ids, tables, delta, strict=True)]
        for a, b in zip(got, zip(*apart, strict=True), strict=True):
            np.testing.assert_allclose(a, jnp.stack(b), rtol=1e-5, atol=1e-6)
        got = jax.vmap(both, (0, None, 0))(ids, tables[0], delta)[1]
        want = jnp.stack([both(i, tables[0], d)[1] for i, d in zip(ids, delta, strict=True)])
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("way", WAYS)
def test_the_gradient_is_differentiated_again(way, random):
    """Of a quartic of the rows: its Hessian is diagonal, with a count of each row in it."""
    ids, table = jnp.array([0, 2, 2, 0, 2]), random.normal(size=(3, 2))
    with jax.enable_x64(True), choices(Only(way)):
        hessian = jax.jit(jax.hessian(lambda w: (embedding(ids, w) ** 4).sum()))(table)
    want = np.diag((12 * table**2 * np.array([[2], [0], [3]])).ravel())
    np.testing.assert_allclose(np.reshape(hessian, (6, 6)), want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("way", WAYS)
def test_devices_that_share_a_table_get_the_sum(way, random):
    mesh = jax.make_mesh((8,), ("d",), (AxisType.Auto,))
    ids = jnp.asarray(random.integers(0, 5, (16, 3)))
    table = jnp.asarray(random.normal(size=(5, 4)), jnp.float32)

    def loss(ids, table):
        return (embedding(ids, table) ** 2).sum(-1)

    spread = jax.shard_map(loss, mesh=mesh, in_specs=(P("d"), P()), out_specs=P("d"))
    with choices(Only(way)):
        inside = jax.shard_map(
            jax.grad(lambda table, ids: loss(ids, table).sum()),
            mesh=mesh, in_specs=(P(), P("d")), out_specs=P(),
        )  # fmt: skip
        got = jax.jit(jax.grad(lambda w: spread(ids, w).sum()))(table), jax.jit(inside)(table, ids)
    want = jax.grad(lambda w: loss(ids, w).sum())(table)
    for each in got:
        np.testing.assert_allclose(each, want, rtol=1e-5)


@pytest.mark.parametrize("way", ["one_hot", "sorted"])
def test_check_passes_by_every_way(way, random):
    args = random.integers(-1, 4, (3, 4)), random.normal(size=(4, 3))
    suites = ["agreement", "transforms", "differences", "plain", "bfloat16", "determinism"]
    with choices(Only(way)):
        report = check(embedding, args=args, settings={"padding": -1}, suites=suites)
    assert report.ok, str(report)


# Bad input.


@pytest.mark.parametrize("ids", [jnp.ones(3), jnp.ones(3, bool)])
def test_ids_are_integers(ids):
    with pytest.raises(TypeError, match="embedding: `ids` must be an integer array"):
        embedding(ids, jnp.ones((4, 2)))


def test_a_table_is_a_matrix_of_rows():
    with pytest.raises(ValueError, match="`table` must be an array of rank 2"):
        embedding(jnp.array([0]), jnp.ones(4))
    with pytest.raises(ValueError, match="`table` must be a table of at least one row"):
        embedding(jnp.array([0]), jnp.ones((0, 4)))
    with pytest.raises(TypeError, match="`table` must be a floating array"):
        embedding(jnp.array([0]), jnp.ones((3, 4), jnp.int32))


@pytest.mark.parametrize(("ids", "padding"), [(np.zeros(2, np.uint8), -1), (np.zeros(2, int), 0.5)])
def test_padding_is_an_id(ids, padding):
    with pytest.raises(ValueError, match="`padding` must be None or an integer that"):
        embedding(ids, jnp.ones((4, 2)), padding=padding)


# Planted errors.


def added(change):
    """A backward that gathers the cotangents wrongly: `change(zeros, ids, delta, padding)`."""

    def backward(saved, delta, *, padding):
        ids, table = saved
        flat = ids.ravel()
        return None, change(jnp.zeros_like(table), flat, delta.reshape(len(flat), -1), padding)

    return backward


def kept(ids, delta, padding):
    return jnp.where(jnp.broadcast_to((ids != padding)[:, None], delta.shape), delta, 0 * delta)


FAULTS = {
    "equal ids overwrite": lambda w, i, d, p: w.at[i].set(kept(i, d, p), mode="drop"),
    "padding trains its row": lambda w, i, d, p: w.at[i].add(d, mode="drop"),
    "the mean of equal ids": lambda w, i, d, p: (
        w.at[i].add(kept(i, d, p))
        / jnp.maximum(jnp.zeros(w.shape, w.dtype).at[i].add(jnp.ones_like(d)), 1)
    ),
    "neighbours alone are added": lambda w, i, d, p: w.at[i[1:]].add(kept(i, d, p)[1:]),
    "sign": lambda w, i, d, p: w.at[i].add(-kept(i, d, p)),
    "one row late": lambda w, i, d, p: w.at[(i + 1) % len(w)].add(kept(i, d, p)),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_error_is_found(fault, random):
    args = np.array([2, 0, 2, 1, 2, 0]), random.normal(size=(4, 3))
    wrong = embedding.replace(backward=added(FAULTS[fault]))
    report = check(wrong, args=args, settings={"padding": 1}, suites=["agreement", "transpose"])
    assert "the cotangent of `table`" in report.findings[0]


def test_the_frame_of_the_planted_errors_is_right(random):
    right = added(lambda w, i, d, p: w.at[i].add(kept(i, d, p)))
    args = np.array([2, 0, 2, 1, 2, 0]), random.normal(size=(4, 3))
    assert check(embedding.replace(backward=right), args=args, settings={"padding": 1},
                 suites=["agreement", "transpose"])  # fmt: skip
