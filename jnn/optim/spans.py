"""Schedules as long as the run: what is left open in them is filled in once its steps are known."""

import operator
from typing import Any

from jnn.optim import schedules
from jnn.optim.wrappers import accumulate
from jnn.value import Recipe, recipe_of


def spanning(optimizer: Any, steps: int) -> Any:
    """The optimizer whose schedules take so many steps, where theirs were left open.

    `jnn.fit` calls it with the number of its steps. Behind a `warm_up` that is what is left, before
    the end of a piece of `join` what that piece has, and inside `accumulate` a part of it.

    >>> rate = jnn.schedules.warm_up(jnn.schedules.cosine(0.1), 0.25)
    >>> jnn.optim.spanning(jnn.adam(rate), 400)
    adam(warm_up(cosine(0.1, 300), 100))

    Args:
      optimizer: one that constructors of this library made, or a schedule; another is returned as
        it is.
      steps: how many the run has.
    """
    return _filled(optimizer, steps)


def open_ended(optimizer: Any) -> bool:
    """Whether something in an optimizer or a schedule waits for the number of steps.

    >>> from jnn.optim.spans import open_ended
    >>> open_ended(jnn.adam(jnn.schedules.cosine(0.1))), open_ended(jnn.adam(0.1))
    (True, False)
    """
    return _filled(optimizer, 1) is not optimizer


def _filled(thing: Any, steps: int) -> Any:
    if type(thing) in (tuple, list):
        inside = type(thing)(_filled(inner, steps) for inner in thing)
        return inside if any(map(operator.is_not, inside, thing)) else thing
    if type(thing) is dict:
        return dict(zip(thing, _filled(tuple(thing.values()), steps), strict=True))
    recipe = recipe_of(thing)
    if recipe is None:
        return thing
    settings = dict(recipe.settings)
    if recipe.maker in schedules.OPEN and settings["steps"] is None:
        settings["steps"] = steps
    elif recipe.maker is schedules.warm_up:
        rise = schedules.rising(settings["steps"], steps)
        left = max(steps - rise, 1)
        settings |= {"steps": rise, "rate": _filled(settings["rate"], left)}
    elif recipe.maker is schedules.join:
        ends = [*settings["boundaries"], max(steps, *settings["boundaries"], 1)]
        lengths = (max(e - b, 1) for b, e in zip([0, *ends], ends, strict=False))
        pieces = zip(settings["schedules"], lengths, strict=True)
        settings["schedules"] = type(settings["schedules"])(_filled(*piece) for piece in pieces)
    else:
        inside = max(steps // settings["every"], 1) if recipe.maker is accumulate else steps
        settings = {name: _filled(setting, inside) for name, setting in settings.items()}
    filled = Recipe(recipe.maker, tuple(settings.items()))
    return thing if filled == recipe else filled.make()
