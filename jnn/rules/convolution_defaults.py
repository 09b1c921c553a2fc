"""Which implementation of a convolution's products runs where nothing is chosen."""

from jnn.rules.product import Call


def default(call: Call, backend: str) -> str:
    """Off the CPU, XLA's own convolution; on it, what benchmarks/conv.py measured best."""
    if backend != "cpu":
        return "lax"
    return "shifted" if call.setting("groups") > 1 and _depthwise(call) else "lax"


def _depthwise(call: Call) -> bool:
    maps = call.shape(0)[-1] if call.product == "conv.filter" else call.shape(1)[-2]
    return maps == (call.setting("groups") if call.product == "conv.filter" else 1)
