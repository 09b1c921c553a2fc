"""Where a run's epochs come from: one program over data on the device, or chunks of a stream."""

import collections
import dataclasses
from collections.abc import Callable
from typing import Any

from jnn import errors
from jnn.train.host import fault
from jnn.train.host.ahead import Batches, fetched
from jnn.train.host.fault import Fault
from jnn.train.host.loop import Loop, named_values
from jnn.train.host.progress import amount
from jnn.train.host.stream import Chunk, End, Reader
from jnn.train.placing import local
from jnn.train.plan import Carry, Plan, Row, RunStatus
from jnn.train.program import chunk
from jnn.train.program.chunk import Underway
from jnn.train.program.epoch import epoch
from jnn.train.program.evaluate import as_validation
from jnn.train.program.means import Values, ignored, nothing
from jnn.train.program.order import length


class Resident:
    """Epochs over data that stay on the device."""

    def __init__(
        self, plan: Plan, data: Any, validation: Any, epochs: int | None, steps: int | None
    ):
        self.plan, self.data, self.validation = plan, data, validation
        self.whole, self.ending = True, RunStatus.RUNNING
        self.samples, self.unit = amount(data, ignored(plan.loss))
        each = 1 if plan.solves else -(-length(data) // plan.batch_size)
        last = epochs if steps is None else -(-steps // each)
        assert last is not None
        self.last: int | None = last
        extra = 0 if steps is None else steps % each
        self.final = dataclasses.replace(plan, limit=extra) if extra else plan

    def run(self, loop: Loop, number: int, interrupted: Callable[[], bool]) -> Row:
        """One call of the compiled program."""
        del interrupted
        plan = self.final if number + 1 == self.last else self.plan
        loop.carry, row = epoch(plan, loop.carry, self.data, self.validation)
        self.whole = plan.limit is None
        return row

    def blame(self, carry: Carry) -> tuple[Fault | None, Carry]:
        """The step that was not finite, and the carry before it."""
        return fault.find(self.plan, carry, self.data)


class Streamed:
    """Epochs whose batches are read while they run."""

    def __init__(
        self, plan: Plan, reader: Reader, validation: Any, epochs: int | None, steps: int | None
    ):
        self.plan, self.reader, self.steps = plan, reader, steps
        self.held = validation if isinstance(validation, Reader) else None
        self.validation = None if self.held else validation
        self.last = epochs
        each, self.unit = amount(reader.example, reader.ignore)
        self.samples = each * (reader.steps or 0)
        if epochs is None and reader.steps is not None:
            assert steps is not None
            self.last = -(-steps // reader.steps)
        elif reader.once is not None and reader.steps is None and epochs not in (None, 1):
            expected = f"a source that can be read {epochs} times"
            remedy = "Give a function of the epoch, or jnn.train.Stream(source, length=...)."
            errors.fail("fit", "data", expected, "an iterator, which can be read once", remedy)
        self.whole, self.ending = True, RunStatus.RUNNING
        self.chunks: Batches | None = None
        self.failed: tuple[Chunk, int] | None = None

    def run(self, loop: Loop, number: int, interrupted: Callable[[], bool]) -> Row | None:
        """Chunks until the end of the epoch."""
        chunks = self.chunks = self.chunks or self._chunks(loop, number)
        self.whole, seen, index = False, 0, 0
        part = chunk.initial(self.plan, loop.carry)
        under_way: collections.deque = collections.deque()
        for item in chunks:
            if isinstance(item, End):
                break
            part, so_far, latest = chunk.run_chunk(self.plan, part, item.batches)
            under_way.append((so_far, item, index))
            seen, index = seen + item.samples, index + length(item.batches)
            if len(under_way) > 1:
                if not self._check(*under_way.popleft()):
                    break
                loop.progress.compiled(seen - item.samples)
            if loop.progress.due():
                loop.progress.show(number, named_values(self.plan.names, so_far), seen)
            called = loop.steps.seen(part.carry, latest, loop.report)
            if called or interrupted():
                self.ending = RunStatus.CALLED if called else self.ending
                loop.carry = part.carry
                return None
        else:  # The source was over before.
            item = End(0, False)
        while under_way:
            self._check(*under_way.popleft())
        if isinstance(item, End):
            self._end(item, int(part.carry.steps))
            if not item.steps:
                self.whole, loop.carry = True, part.carry
                return None
        self.samples = loop.progress.samples = seen
        means = part.sums.means | (self._measure(part) if self.held else {})
        loop.carry, row = chunk.close(self.plan, part.carry, part.running, means, self.validation)
        return row

    def _chunks(self, loop: Loop, number: int) -> Batches:
        done = int(loop.carry.steps)
        source = self.reader.read(local(loop.carry.key), number, done, self.last, self.steps)
        return fetched(source, self.reader.stream.ahead, lambda item: item)

    def _check(self, so_far: Row, item: Chunk, index: int) -> bool:
        """Whether a chunk went well; that waits for it, so that few are under way at a time."""
        if self.failed is None and int(so_far.status) == RunStatus.NOT_FINITE:
            self.failed = item, index
        return self.failed is None

    def _end(self, end: End, done: int) -> None:
        self.whole = not end.cut
        if self.steps is not None and done >= self.steps:
            self.ending = RunStatus.DONE
        elif not end.steps:
            self.ending = RunStatus.OUT_OF_DATA

    def _measure(self, part: Underway) -> Values:
        """The means on a validation that is a stream."""
        assert self.held is not None
        sums = nothing(self.plan.measures)
        for item in fetched(self.held.read(last=1), self.held.stream.ahead, lambda item: item):
            if isinstance(item, Chunk):
                sums = chunk.tally(self.plan, part.carry, sums, item.batches)
        return as_validation(sums.means)

    def blame(self, carry: Carry) -> tuple[Fault | None, Carry]:
        """The step that was not finite, and the carry before it."""
        if self.failed is None:
            return None, carry
        item, index = self.failed
        return fault.within(self.plan, carry, item.batches, index)

    def close(self) -> None:
        """Ends the thread that reads."""
        if self.chunks is not None:
            self.chunks.close()
