"""Which implementation of attention's products runs where nothing is chosen."""

from jnn.rules.core.product import Call
from jnn.rules.core.sharded import own

AT_ONCE = 256 * 256  # Scores of a head that a CPU has at once.
SCORES = 2**26  # Of all heads, elsewhere: 256 MiB in float32.


def usual(call: Call) -> str:
    """Blocks where there are more scores than are had at once."""
    batch, queries, heads, _ = call.shape(0)
    scores = queries * call.shape(1)[1]
    at_once = (
        AT_ONCE if call.platform == "cpu" else max(AT_ONCE, SCORES // max(1, own(batch) * heads))
    )
    return "whole" if scores <= at_once else "blocks"
