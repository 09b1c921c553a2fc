"""An optimizer apart from its rates: what a program is compiled for, and numbers that it is given.

Learning rates and the strength of a decay do no more than multiply. So a training program takes
them as arguments, and another rate compiles nothing; all other settings are part of the program.
Its numbers are those of a program for one rate but for the last bit: XLA joins constants that
follow each other, as the rate and the share of a sample in the mean.
"""

from typing import Any

from jnn.value import Recipe, recipe_of

MULTIPLY = ("rate", "decay", "strength")  # Settings by these names.


class _Open:
    """Stands in a template for a number."""

    def __repr__(self) -> str:
        return "..."


OPEN = _Open()


def without_rates(optimizer: Any) -> tuple[Any, tuple[float, ...]]:
    """The optimizer's template, equal for all rates, and the rates that it has.

    An optimizer that no constructor of this library made is its own template, without rates.

    >>> template, rates = jnn.optim.without_rates(jnn.chain(jnn.optim.decay(0.5), jnn.adam(0.1)))
    >>> template, rates
    (chain(decay(...), adam(...)), (0.5, 0.1))
    >>> template == jnn.optim.without_rates(jnn.chain(jnn.optim.decay(0.4), jnn.adam(0.2)))[0]
    True
    """
    rates: list[float] = []
    return _opened(optimizer, rates), tuple(rates)


def with_rates(template: Any, rates: tuple[Any, ...]) -> Any:
    """The optimizer of a template with these rates, which may be traced.

    >>> template, _ = jnn.optim.without_rates(jnn.adam(0.1))
    >>> jnn.optim.with_rates(template, (0.2,))
    adam(0.2)
    """
    given = iter(rates)
    optimizer = _filled(template, given)
    assert next(given, OPEN) is OPEN, "as many rates as the template has places"
    return optimizer


def _opened(thing: Any, rates: list[Any], name: str = "") -> Any:
    if name in MULTIPLY and isinstance(thing, float) and thing:  # Some leave out what is 0.
        rates.append(float(thing))
        return OPEN
    if type(thing) is tuple:
        return tuple(_opened(inner, rates) for inner in thing)
    if type(thing) is list:
        return [_opened(inner, rates) for inner in thing]
    if type(thing) is dict:
        return {key: _opened(inner, rates, key) for key, inner in thing.items()}
    recipe = recipe_of(thing)
    if recipe is None:
        return thing
    found = len(rates)
    settings = tuple((key, _opened(inner, rates, key)) for key, inner in recipe.settings)
    return Recipe(recipe.maker, settings) if len(rates) > found else thing


def _filled(thing: Any, rates: Any) -> Any:
    if thing is OPEN:
        return next(rates)
    if type(thing) is tuple:
        return tuple(_filled(inner, rates) for inner in thing)
    if type(thing) is list:
        return [_filled(inner, rates) for inner in thing]
    if type(thing) is dict:
        return {key: _filled(inner, rates) for key, inner in thing.items()}
    if not isinstance(thing, Recipe):
        return thing
    settings = tuple((key, _filled(inner, rates)) for key, inner in thing.settings)
    return Recipe(thing.maker, settings).make()
