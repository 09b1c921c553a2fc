"""Programs of JAX (jaxprs) and the operations that they are made of."""

from collections.abc import Iterator
from typing import Any


def equations(program: Any) -> Iterator[Any]:
    """The operations of a program, and of those that it calls: bodies, branches, custom rules.

    >>> branches = lambda x: jax.lax.cond(x > 0, jnp.sin, jax.jit(jnp.cos), x)
    >>> program = jax.make_jaxpr(branches)(1.0)
    >>> sorted({e.primitive.name for e in jnn.xla.programs.equations(program)} - {"cond", "jit"})
    ['convert_element_type', 'cos', 'gt', 'sin']
    """
    from jax.extend.core import subjaxprs  # Slow to import.

    program = getattr(program, "jaxpr", program)  # Closed over its constants or not.
    yield from program.eqns
    for inner in subjaxprs(program):
        yield from equations(inner)
