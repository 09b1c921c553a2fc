"""Files that appear whole or not at all."""

import contextlib
import os
import platform
import re
import tempfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

DAY = 24 * 3600
UNFINISHED = re.compile(r"\..*\.([0-9a-f]{8})-(\d+)\.[^.]*\.tmp")  # Machine and process.


@contextlib.contextmanager
def whole(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A file that takes its name when everything is on the disk, and vanishes on an error.

    Folders on the way to it are made. What is no ordinary file, `/dev/stdout`, is written into.

    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp(), "new", "answer.txt")
    >>> with whole(path) as file:
    ...     _ = file.write(b"42")
    ...     path.exists()
    False
    >>> path.read_text()
    '42'
    """
    path = Path(path)
    if path.exists() and not path.is_file() and not path.is_dir():
        with path.open("wb") as file:
            yield file
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    # Of a long name the end alone, so that the name of the temporary file is none too long.
    short = os.fsencode(path.name)[-100:].decode(errors="ignore")
    prefix = f".{short}.{_machine()}-{os.getpid()}."
    handle, temporary = tempfile.mkstemp(".tmp", prefix, path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)  # As any new file; a temporary one is private.
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    with contextlib.suppress(OSError, AttributeError):  # Not every system has directories to sync.
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def abandoned(folder: str | os.PathLike[str], name: str) -> Iterator[Path]:
    """The temporary files of `whole` that nobody will finish: their process has ended.

    Of another machine's process, or where that cannot be asked, when they are a day old.

    >>> import tempfile
    >>> list(abandoned(tempfile.mkdtemp(), "*.txt"))
    []

    Args:
      folder: where they are.
      name: the pattern of the names that they were to take.
    """
    for path in Path(folder).glob(f".{name}.*.tmp"):
        found = UNFINISHED.fullmatch(path.name)
        if found and os.name == "posix" and found[1] == _machine():
            ended = not _runs(int(found[2]))
        else:
            ended = _age(path) > DAY
        if ended:
            yield path


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:  # By now it has its name.
        return 0.0


def _machine() -> str:
    return f"{zlib.crc32(platform.node().encode()):08x}"


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)  # Which only asks.
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True
