"""One line of a comparison, by hand and under autodiff."""

from typing import NamedTuple

from jnn.text import quantity_text


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

    def row(self, ratio: float | None) -> tuple[str, ...]:
        """The line of a table, with that ratio."""
        cells = (quantity_text(x, self.unit) for x in (self.hand, self.autodiff))
        return self.label, *cells, "" if ratio is None else f"{ratio:.2f}"
