"""The gated network of two layers as a layer: LLaMA's, and its like with other gates."""

import functools
from typing import NamedTuple

import jax
from jax.typing import DTypeLike

from jnn import errors, rules
from jnn.layers.core.initialisers import Initialiser, check_initialisers, glorot_uniform, zeros
from jnn.layers.core.layer import Apply, Init, check_dtype, described, fed, fed_by, layer, pure
from jnn.layers.core.ragged import ONE
from jnn.rules.core.rule import Rule
from jnn.rules.pointwise.activation import activation as chosen
from jnn.types import Batch, Key


class GatedParams(NamedTuple):
    """Weights of the gate and of what passes it, (in, hidden), and of what is behind, (hidden, in).

    Their biases are None for a layer without.

    >>> w = jnp.eye(2)
    >>> params = jnn.layers.GatedParams(w, 3 * w, w)
    >>> jnn.gated(2, activation="relu")(params, jnp.array([2.0, -1.0])).tolist()
    [12.0, 0.0]
    """

    w_gate: jax.Array
    w_up: jax.Array
    w_down: jax.Array
    b_gate: jax.Array | None = None
    b_up: jax.Array | None = None
    b_down: jax.Array | None = None


@functools.partial(layer, sees=ONE)
def gated(
    hidden: int,
    *,
    activation: str | Rule = "silu",
    bias: bool = False,
    weights: Initialiser = glorot_uniform,
    biases: Initialiser = zeros,
    dtype: DTypeLike | None = None,
) -> tuple[Init, Apply]:
    """Two layers with a gate between, `y = (f(x w_gate) (x w_up)) w_down`, as wide as its input.

    "silu" makes it SwiGLU, LLaMA's, "gelu" GeGLU, "sigmoid" GLU, "relu" ReGLU and "identity" a
    bilinear layer; see `jnn.rules.gated_mlp`. Three matrices of 8/3 n hidden units have as many
    parameters as two of 4 n.

    Args:
      hidden: the number of units, of the gate and of what passes it.
      activation: of the gate, the name of an elementwise rule, or the rule.
      bias: whether each of the three maps has biases.
      weights: initialiser of the weights.
      biases: initialiser of the biases.
      dtype: of the parameters, to which inputs are cast; None for that of a floating example, for
        integers float32.

    >>> net = jnn.gated(8)
    >>> params, _ = net.init(jax.random.key(0), jnp.zeros((5, 3)))
    >>> jax.tree.map(jnp.shape, params[:3]), net(params, jnp.zeros((5, 3))).shape
    (((3, 8), (3, 8), (8, 3)), (5, 3))
    """
    errors.positive_integer("gated", "hidden", hidden)
    chosen("gated", activation)
    check_initialisers("gated", weights=weights, biases=biases)
    check_dtype("gated", dtype)

    def init(key: Key, x: Batch) -> tuple[GatedParams, tuple[()]]:
        n, taken = fed_by("gated", x, dtype)
        of_weights, of_biases = map(jax.random.split, jax.random.split(key), (3, 3))
        shapes = (n, hidden), (n, hidden), (hidden, n)
        w = [weights(k, shape, taken) for k, shape in zip(of_weights, shapes, strict=True)]
        if not bias:
            return GatedParams(*w), ()
        b = [biases(k, shape[1:], taken) for k, shape in zip(of_biases, shapes, strict=True)]
        return GatedParams(*w, *b), ()

    def apply(params: GatedParams, x: jax.Array) -> jax.Array:
        if not isinstance(params, GatedParams) or params.w_gate.shape[-1] != hidden:
            expected = f"GatedParams of {hidden} units"
            errors.fail("gated", "params", expected, described(params), "Make them by init.")
        return rules.gated_mlp(fed(x, params.w_gate, dtype), *params, activation=activation)

    return init, pure(apply)
