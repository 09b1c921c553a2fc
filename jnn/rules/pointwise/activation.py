"""Which activations have a name, and the choice of one."""

from jnn import errors
from jnn.rules.core.rule import Rule
from jnn.rules.pointwise import piecewise, sigmoids, smooth

ACTIVATIONS = {
    r.name: r
    for module in (piecewise, sigmoids, smooth)
    for r in vars(module).values()
    if isinstance(r, Rule)
}


def activation(function: str, choice: str | Rule) -> Rule:
    """The elementwise rule that `choice` names, or is; `function` asks, and errors name it."""
    if isinstance(choice, str):
        errors.choice(function, "activation", choice, ACTIVATIONS)
        return ACTIVATIONS[choice]
    if not isinstance(choice, Rule) or not choice.elementwise:
        remedy = f"Names: {', '.join(ACTIVATIONS)}; or make one by jnn.rules.elementwise."
        expected = "a name or an elementwise rule"
        errors.fail(function, "activation", expected, repr(choice), remedy, TypeError)
    return choice
