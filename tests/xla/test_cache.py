"""Programs that are kept: where, for whom, and that nothing else changes."""

import os
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from jnn.xla import cache

# Says how many programs were compiled, and what JAX is left with.
COUNTED = """
import jax
from jnn.xla.cache import kept
compiled = []
jax.monitoring.register_event_duration_secs_listener(
    lambda event, duration, **_: compiled.append(event.endswith("cache_retrieval_time_sec")))
@kept()
def work():
    return jax.jit(lambda x: x * 2 + 1)(jax.numpy.float32(3)).item()
assert work() == 7
print(sum(compiled), jax.config.jax_compilation_cache_dir)
"""


def said(code: str, folder: Path, **environment: str) -> str:
    """What a process prints whose user has this folder."""
    keep = {
        k: v
        for k, v in os.environ.items()
        if not k.startswith(("JNN_CACHE", "JAX_COMP", "JAX_PERS"))
    }
    user = {"HOME": str(folder), "XDG_CACHE_HOME": str(folder), "LOCALAPPDATA": str(folder)}
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], env=keep | user | environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert not run.returncode, run.stderr
    return run.stdout.strip()


def programs(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_the_next_process_finds_what_one_compiled(tmp_path):
    assert said(COUNTED, tmp_path) == "0 None"
    assert programs(tmp_path / "jnn")
    assert int(said(COUNTED, tmp_path).split()[0]) > 0


def test_a_variable_names_another_folder_or_none(tmp_path):
    assert said(COUNTED, tmp_path, JNN_CACHE="off") == "0 None"
    assert not programs(tmp_path)
    said(COUNTED, tmp_path, JNN_CACHE=str(tmp_path / "own"))
    assert programs(tmp_path / "own")
    assert not (tmp_path / "jnn").exists()


def test_a_cache_of_the_users_own_stays_theirs(tmp_path):
    theirs = tmp_path / "theirs"
    setting = {"JAX_COMPILATION_CACHE_DIR": str(theirs)}
    assert said(COUNTED, tmp_path, **setting) == f"0 {theirs}"
    assert said(COUNTED, tmp_path, JAX_ENABLE_COMPILATION_CACHE="false") == "0 None"
    assert not (tmp_path / "jnn").exists()


def test_a_folder_that_cannot_be_made_or_written_harms_nobody(tmp_path):
    (tmp_path / "file").write_text("")
    assert said(COUNTED, tmp_path, JNN_CACHE=str(tmp_path / "file" / "under")) == "0 None"
    full = f"import pathlib; pathlib.Path.write_bytes = {{}}.__getitem__\n{COUNTED}"
    assert said(full, tmp_path) == "0 None"


def test_a_damaged_program_is_compiled_again(tmp_path):
    said(COUNTED, tmp_path)
    for path in programs(tmp_path):
        path.write_bytes(path.read_bytes()[:50])
    assert said(COUNTED, tmp_path) == "0 None"


def test_afterwards_jax_takes_the_users_setting(tmp_path):
    code = (
        f"{COUNTED}\njax.config.update('jax_compilation_cache_dir', {str(tmp_path / 'then')!r})\n"
    )
    code += "jax.config.update('jax_persistent_cache_min_compile_time_secs', 0)\n"
    code += "jax.jit(lambda x: x - 5)(3.0)"
    said(code, tmp_path)
    assert programs(tmp_path / "then")


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="no owners")
def test_what_belongs_to_somebody_else_is_not_run(tmp_path, monkeypatch):
    monkeypatch.setenv("JNN_CACHE", str(tmp_path))
    monkeypatch.setattr(os, "getuid", lambda: -1)
    monkeypatch.setattr(cache, "_configured", lambda: False)
    cache._ready.cache_clear()
    with cache.kept():
        jax.jit(lambda x: x + 17)(jnp.ones(()))
    assert not programs(tmp_path)


def test_the_oldest_go_where_there_are_too_many(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "LARGEST", 10)
    cache._ready.cache_clear()
    for i in range(4):
        (tmp_path / f"{i}").write_bytes(b"abc")
        os.utime(tmp_path / f"{i}", (time.time() + i, time.time() + i))
    assert cache._ready(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["3"]


def test_the_command_line_keeps_what_it_compiles(tmp_path):
    code = "from jnn.__main__ import main; main(['train', 'xor', '--epochs', '1', '--quiet'])"
    said(code, tmp_path)
    assert len(programs(tmp_path / "jnn")) > 5
    kept = len(programs(tmp_path / "jnn"))
    said(code, tmp_path)
    assert len(programs(tmp_path / "jnn")) == kept


def test_estimators_keep_what_they_compile(tmp_path):
    code = """
import jnn, numpy as np
from jnn.estimators import LinearRegression, LogisticRegression, MLPClassifier
x, y = jnn.data.xor(32)
for model in LinearRegression(), LogisticRegression(), MLPClassifier(hidden=(2,), epochs=1):
    model.fit(x, y).predict(x)
import jax
assert jax.config.jax_compilation_cache_dir is None
"""
    said(code, tmp_path)
    names = "".join(path.name for path in programs(tmp_path / "jnn"))
    kept = len(programs(tmp_path / "jnn"))
    assert all(f"jit_{name}" in names for name in ("_least_squares", "_scaled", "_apply"))
    said(code, tmp_path)
    assert len(programs(tmp_path / "jnn")) == kept
