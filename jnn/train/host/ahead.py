"""A thread that runs ahead of the program: what comes next is read while something is computed."""

import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any

import jax

from jnn import errors

Batches = Generator[Any, None, None]


def prefetch(batches: Iterable[Any], size: int = 2, device: Any = None) -> Batches:
    """The batches of an iterator, put on the device by a thread that runs ahead.

    The thread reads the source, a file for instance, while the program computes. It ends with the
    source, on an error of the source, which is raised here, and when the iterator is closed. `fit`
    does this by itself; this is for loops of your own.

    >>> list(map(int, jnn.train.prefetch(iter([1, 2, 3]))))
    [1, 2, 3]

    Args:
      batches: any iterable of trees of arrays, e.g. `jnn.data.batches(arrays, 128, key=0)` over
        memory-mapped files.
      size: how many batches may wait.
      device: a device or a sharding; the default device if None.
    """
    errors.positive_integer("prefetch", "size", size)
    return fetched(iter(batches), size, lambda batch: jax.device_put(batch, device))


def fetched(source: Iterator[Any], size: int, place: Callable[[Any], Any]) -> Batches:
    """What `place` makes of the items of an iterator, in a thread that runs ahead."""
    closed, waiting = threading.Event(), queue.Queue(size)

    def put(kind: str, item: Any) -> bool:
        while not closed.is_set():
            try:
                waiting.put((kind, item), timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def read() -> None:
        try:
            for batch in source:
                if not put("batch", place(batch)):
                    return
            put("end", None)
        except BaseException as error:
            put("error", error)

    thread = threading.Thread(target=read, name="jnn-prefetch", daemon=True)
    thread.start()
    try:
        while True:
            kind, item = waiting.get()
            if kind == "batch":
                yield item
            elif kind == "error":
                raise item
            else:
                return
    finally:
        closed.set()
        thread.join()
