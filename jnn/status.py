"""How a loop ends: a number that compiled programs carry, and a sentence for people."""

from enum import IntEnum
from typing import Any, Self

import numpy as np


class Status(IntEnum):
    """A number with its sentence; each room that has loops makes its own of this.

    A member is an int, so that programs select and compare it as any other number; what a program
    returns is an int32, of which `said` gives the sentence.

    >>> from jnn.status import Status
    >>> class Weather(Status):
    ...     FAIR = 0, "The sun shines."
    ...     NO_RAIN = 1, "It is dry at least."
    >>> seen = jnp.where(jnp.array([True, False]), Weather.FAIR, Weather.NO_RAIN)
    >>> Weather.said(seen), Weather.said(seen[0])
    (['The sun shines.', 'It is dry at least.'], 'The sun shines.')
    >>> Weather.NO_RAIN.word
    'no rain'
    """

    sentence: str

    def __new__(cls, number: int, sentence: str) -> Self:
        status = int.__new__(cls, number)
        status._value_ = number
        status.sentence = sentence
        return status

    @property
    def word(self) -> str:
        """The name as prose has it."""
        return self.name.lower().replace("_", " ")

    @classmethod
    def said(cls, status: Any) -> Any:
        """The sentence of a number, or the list of those of an array. Only outside `jit`."""
        numbers = np.asarray(status)
        sentences = [cls(int(number)).sentence for number in numbers.ravel()]
        return sentences if numbers.ndim else sentences[0]
