r"""Compiled programs that outlive the process, by JAX's persistent compilation cache.

What a command or an estimator compiles, the next process reads in a few milliseconds. The folder is
the user's own: `$XDG_CACHE_HOME/jnn` or `~/.cache/jnn`, on Windows `%LOCALAPPDATA%\jnn`.
`JNN_CACHE` in the environment names another, or is `off`. Where JAX has a cache of its own setting,
or the folder cannot be used, nothing happens here.
"""

import contextlib
import functools
import os
import platform
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path

import jax
from jax.experimental.compilation_cache import compilation_cache

VARIABLE = "JNN_CACHE"
OFF = ("off", "0", "no", "false", "none")
LARGEST = 2**30  # Bytes; with more than these, the oldest half goes.
ENABLED = "jax_enable_compilation_cache"
FOLDER, LEAST = "jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs"


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Within, and within a function that it decorates, compiled programs are kept and found again.

    >>> with jnn.xla.cache.kept():
    ...     jax.jit(jnp.sin)(0.0).item()
    0.0
    """
    place = None if _configured() else _place()
    if place is None:
        yield
        return
    before = {name: getattr(jax.config, name) for name in (FOLDER, LEAST)}
    with warnings.catch_warnings():
        # A program that another process is about to write, or a full disk: it is compiled here.
        warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache")
        jax.config.update(FOLDER, str(place))
        jax.config.update(LEAST, 0.0)  # Small programs too: there are many of them.
        try:
            yield
        finally:
            for name, value in before.items():
                jax.config.update(name, value)
            compilation_cache.reset_cache()  # Else JAX would stay with this folder.


def _configured() -> bool:
    """Whether the user has told JAX where to keep programs, or not to keep any."""
    told = getattr(jax.config, FOLDER) is not None
    return told or not getattr(jax.config, ENABLED)


def _place() -> Path | None:
    """The folder of this machine's programs; None where there shall be none, or can be none."""
    told = os.environ.get(VARIABLE, "").strip()
    if told.lower() in OFF:
        return None
    try:
        base = Path(told).expanduser() if told else _of_the_user()
    except RuntimeError:  # A user without a home.
        return None
    place = base / f"programs-{_machine()}"
    return place if _ready(place) else None


def _of_the_user() -> Path:
    if os.name == "nt":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
        return Path(base) / "jnn"
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "jnn"


@functools.cache
def _machine() -> str:
    """A name for the processor, whose instructions programs are made of: a home may be shared."""
    told = [platform.machine(), os.environ.get("PROCESSOR_IDENTIFIER", "")]
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        first = lines[: lines.index("")] if "" in lines else lines  # One core for all.
        told += [line for line in first if line.startswith(("model name", "flags", "Features"))]
    return f"{zlib.crc32(' '.join(told).encode()):08x}"


@functools.cache
def _ready(place: Path) -> bool:
    """Whether the folder is there, or was made, and is the user's own: what lies in it is run."""
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        own = not hasattr(os, "getuid") or place.stat().st_uid == os.getuid()
        if not own or not os.access(place, os.R_OK | os.W_OK | os.X_OK):
            return False
        files = [(file.stat(), file.path) for file in os.scandir(place)]
    except OSError:
        return False
    total = sum(about.st_size for about, _ in files)
    if total > LARGEST:
        for about, path in sorted(files, key=lambda file: file[0].st_mtime):
            with contextlib.suppress(OSError):  # Another process was quicker.
                os.unlink(path)
            total -= about.st_size
            if total <= LARGEST / 2:
                break
    return True
