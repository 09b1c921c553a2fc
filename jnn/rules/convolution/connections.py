"""Connection tables: which input maps each output map reads (Hedberg §6.1, Remark 2).

Hedberg gives a table as the sets D_i of input maps that output map i reads; the sets C_j of output
maps that input map j feeds follow from it.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from jnn import errors


class Connections:
    """A connection table: an immutable, hashable boolean array, (input maps, output maps).

    A link is a True of the table. Where there is one parameter a link, links are in the order of
    the output maps, and for each in that of its input maps: D_0, D_1, ...

    Args:
      table: a boolean array, (input maps, output maps).

    >>> table = jnn.rules.Connections([[True, True], [False, True]])
    >>> table.inputs, table.outputs, table.links
    (((0,), (0, 1)), ((0, 1), (1,)), 3)
    """

    def __init__(self, table: Any):
        if isinstance(table, Connections):
            table = table.table
        array = np.array(table)
        if array.ndim != 2 or array.dtype != bool or not array.size:
            errors.fail(
                "Connections", "table", "a boolean array, (input maps, output maps)",
                errors.describe(array),
            )  # fmt: skip
        if not array.any(0).all():
            errors.fail(
                "Connections", "table", "such that each output map reads an input map",
                f"none for the output maps {np.flatnonzero(~array.any(0)).tolist()}",
            )  # fmt: skip
        array.flags.writeable = False
        self.table = array

    @classmethod
    def of(cls, inputs: Sequence[Iterable[int]], maps: int) -> "Connections":
        """The table of Hedberg's sets: `inputs[i]` is D_i, out of so many input maps.

        >>> jnn.rules.Connections.of([[0], [0, 1]], maps=2).links
        3
        """
        table = np.zeros((maps, len(inputs)), bool)
        for i, read in enumerate(inputs):
            for j in read:
                if not 0 <= j < maps:
                    errors.fail("Connections.of", "inputs", f"input maps from 0 to {maps - 1}", j)
                table[j, i] = True
        return cls(table)

    @classmethod
    def full(cls, inputs: int, outputs: int) -> "Connections":
        """Every output map reads every input map."""
        return cls(np.ones((inputs, outputs), bool))

    @classmethod
    def one_to_one(cls, maps: int) -> "Connections":
        """Output map i reads input map i alone."""
        return cls(np.eye(maps, dtype=bool))

    @classmethod
    def random(cls, inputs: int, outputs: int, fan_in: int, seed: int = 0) -> "Connections":
        """Each output map reads `fan_in` input maps, drawn at random without repetition.

        >>> jnn.rules.Connections.random(8, 3, fan_in=2).links
        6
        """
        errors.positive_integer("Connections.random", "fan_in", fan_in)
        if fan_in > inputs:
            errors.fail("Connections.random", "fan_in", f"at most {inputs}, the inputs", fan_in)
        random = np.random.default_rng(seed)
        return cls.of([random.permutation(inputs)[:fan_in] for _ in range(outputs)], inputs)

    @classmethod
    def lenet5(cls) -> "Connections":
        """The table of LeNet-5's layer C3, 6 to 16 maps by 60 links (LeCun et al. 1998, Table I).

        Six maps read three neighbours, six read four, three read four that are not neighbours,
        and the last reads all.

        >>> jnn.rules.Connections.lenet5().inputs[6]
        (0, 1, 2, 3)
        """
        three = [[(i + k) % 6 for k in range(3)] for i in range(6)]
        four = [[(i + k) % 6 for k in range(4)] for i in range(6)]
        apart = [[(i + k) % 6 for k in (0, 1, 3, 4)] for i in range(3)]
        return cls.of([*three, *four, *apart, range(6)], 6)

    @property
    def inputs(self) -> tuple[tuple[int, ...], ...]:
        """Hedberg's D: for each output map, the input maps that it reads."""
        return tuple(tuple(np.flatnonzero(column).tolist()) for column in self.table.T)

    @property
    def outputs(self) -> tuple[tuple[int, ...], ...]:
        """Hedberg's C, derived from D: for each input map, the output maps that it feeds."""
        return tuple(tuple(np.flatnonzero(row).tolist()) for row in self.table)

    @property
    def links(self) -> int:
        """How many links there are."""
        return int(self.table.sum())

    def indices(self) -> tuple[np.ndarray, np.ndarray]:
        """The input map and the output map of each link, links in their order."""
        out, into = np.nonzero(self.table.T)
        return into, out

    def numbers(self) -> np.ndarray:
        """The number of the link from each input to each output map; one too many for none."""
        number = np.full(self.table.shape, self.links)
        number[self.indices()] = np.arange(self.links)
        return number

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Connections) and np.array_equal(self.table, other.table)

    def __hash__(self) -> int:
        return hash((self.table.shape, self.table.tobytes()))

    def __repr__(self) -> str:
        inputs, outputs = self.table.shape
        return f"Connections({inputs} -> {outputs} maps, {self.links} links)"


def canonical(function: str, connections: Any, inputs: int) -> "Connections | None":
    """The setting of a rule as a table of so many input maps; a table with every link is None."""
    if connections is None:
        return None
    if not isinstance(connections, Connections | np.ndarray | list | tuple):
        errors.fail(
            function, "connections", "a boolean NumPy array or jnn.rules.Connections",
            errors.describe(connections), "A table is a constant of the program.", TypeError,
        )  # fmt: skip
    table = Connections(connections)
    if table.table.shape[0] != inputs:
        errors.fail(
            function, "connections", f"of {inputs} input maps, as `x` has", repr(table),
            "A table is (input maps, output maps).",
        )  # fmt: skip
    return table
