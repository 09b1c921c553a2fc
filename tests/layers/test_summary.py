"""The table of a network: counts that the documents state, and shapes without computing."""

import itertools

import jax
import jax.numpy as jnp

import jnn


def like(*shape, dtype=jnp.float32):
    return jax.ShapeDtypeStruct(shape, dtype)


def test_dense_weights_are_counted_without_being_made():
    """X-125: a million inputs and a million outputs have 10^12 weights."""
    table = jnn.summary(jnn.dense(10**6, bias=False), like(1, 10**6))
    assert table.parameters == 10**12
    assert table.bytes == 4 * 10**12
    assert "1,000,000,000,000  3.6 TiB" in str(table)


def test_counts_are_those_of_the_layers():
    sizes = [784, 512, 512, 10]
    net = jnn.models.mlp(sizes[1:])
    table = jnn.summary(net, like(32, 784, dtype=jnp.bfloat16))
    pairs = list(itertools.pairwise(sizes))
    assert [row.parameters for row in table.rows] == [(n + 1) * m for n, m in pairs]
    assert table.parameters == sum((n + 1) * m for n, m in pairs) == 669706
    assert table.bytes == 2 * table.parameters
    assert [row.output.shape for row in table.rows] == [(32, m) for m in sizes[1:]]


def test_nothing_is_counted_that_init_does_not_make():
    net = jnn.serial(jnn.dense(4), jnn.residual(2), jnn.dense(3, bias=False))
    params, _ = net.init(jax.random.key(0), jnp.zeros((2, 5)))
    made = sum(leaf.size for leaf in jax.tree.leaves(params))
    assert jnn.summary(net, like(2, 5)).parameters == made


def test_a_residual_step_has_two_products():
    assert jnn.summary(jnn.residual(7), like(8, 3)).parameters == 3 * 7 + 7 + 7 * 3
    assert jnn.summary(jnn.residual_projection(7), like(8, 3)).parameters == 3 * 7 + 7 + 3 * 7


def test_nested_networks_print_with_numbers():
    net = jnn.serial(
        jnn.dense(4, activation="relu"),
        jnn.serial(jnn.tanh(), jnn.dense(3)),
        jnn.parallel(jnn.identity(), jnn.dense(2), combine="concatenate"),
    )
    assert (
        str(jnn.summary(net, like(8, 3)))
        == """\
     layer                            output        parameters  memory
----------------------------------------------------------------------
0    dense(4, activation='relu')      float32[8,4]          16    64 B
1.0  tanh()                           float32[8,4]           0     0 B
1.1  dense(3)                         float32[8,3]          15    60 B
2.0  identity()                       float32[8,3]           0     0 B
2.1  dense(2)                         float32[8,2]           8    32 B
2    parallel, combine='concatenate'  float32[8,5]           0     0 B
----------------------------------------------------------------------
     total                                                  39   156 B"""
    )


def test_empty_networks_and_many_outputs():
    assert jnn.summary(jnn.serial(), like(8, 3)).rows == ()
    table = jnn.summary(jnn.parallel(jnn.dense(2), jnn.dense(5)), like(8, 3))
    assert "float32[8,2], float32[8,5]" in str(table)
    assert table.parameters == 8 + 20


def test_ways_of_each_layer():
    net = jnn.serial(jnn.conv(64, 3, padding=1), jnn.tanh(), jnn.flatten(), jnn.dense(2))
    x = jax.ShapeDtypeStruct((64, 16, 16, 32), jnp.float32)
    made = jnn.summary(net, x, ways=True)
    expected = ("conv.value overrun", "conv.input overrun", "conv.filter winograd4")
    assert [row.ways for row in made.rows] == [expected, (), (), ()]
    assert "conv.filter winograd4" in str(made)
    with jnn.rules.by_reference():
        lax = jnn.summary(net, x, ways=True).rows[0].ways
    assert lax == ("conv.value lax", "conv.input lax", "conv.filter lax")
    assert all(row.ways == () for row in jnn.summary(net, x).rows)
