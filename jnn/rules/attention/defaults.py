"""Which implementation of attention's products runs where nothing is chosen."""

from jnn.rules.core.product import Call

# Scores of a head that are had at once, by platform; more are had in blocks.
AT_ONCE = {"cpu": 256 * 256}
ELSEWHERE = 1024 * 1024


def usual(call: Call) -> str:
    """Blocks where a head has more scores than are had at once."""
    queries, keys = call.shape(0)[1], call.shape(1)[1]
    return "whole" if queries * keys <= AT_ONCE.get(call.platform, ELSEWHERE) else "blocks"
