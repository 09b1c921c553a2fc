"""One line of a comparison, by hand and under autodiff."""

from typing import NamedTuple


class Measure(NamedTuple):
    """One line of a comparison; numbers are None where they are not known."""

    label: str
    unit: str
    hand: float | None
    autodiff: float | None

    @property
    def ratio(self) -> float | None:
        """By hand over autodiff; None where it says nothing."""
        return None if self.hand is None or not self.autodiff else self.hand / self.autodiff
