"""Files of trees: what was saved comes back, and what is no whole, true file is refused."""

import json
import os
import re
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from jnn.store import format as file_format
from jnn.store import safetensors as files


class Pair(NamedTuple):
    w: Any
    n: Any


def tree(random):
    x = random.standard_normal((3, 4))
    return {
        "layers": [Pair(jnp.array(x, jnp.bfloat16), jnp.arange(5)), ()],
        "half": jnp.array(x, jnp.float16),
        "double": x.T,  # Not in the order of memory.
        "flags": np.array([True, False]),
        "empty": jnp.zeros((0, 7)),
        "none": None,
        "key": jax.random.key(3),
        "keys": jax.random.split(jax.random.key(4, impl="rbg"), 2),
        "old": jax.random.PRNGKey(1),
        "scalar": jnp.float32(2.5),
        "numbers": (7, -0.1, True, 1 + 2j),
    }


def data(x):
    return np.asarray(jax.random.key_data(x) if jnn.errors.is_key(x) else x)


def test_everything_comes_back_as_it_was(random, tmp_path):
    saved = tree(random)
    saved["numbers"] = saved["numbers"][:3]
    path = tmp_path / "new" / "tree.safetensors"
    jnn.save(path, saved)
    for like in (saved, jax.tree.map(lambda x: x, saved)):
        loaded = jnn.load(path, like)
        assert jax.tree.structure(loaded) == jax.tree.structure(saved)
        for a, b in zip(jax.tree.leaves(loaded), jax.tree.leaves(saved), strict=True):
            assert type(a) is type(b)
            np.testing.assert_array_equal(data(a), data(b))
            assert data(a).dtype == data(b).dtype
            if jnn.errors.is_key(b):
                assert a.dtype == b.dtype
    assert os.listdir(path.parent) == ["tree.safetensors"]
    names = jnn.load(path)
    np.testing.assert_array_equal(names["layers/0/n"], np.arange(5))
    assert all(isinstance(array, np.ndarray) for array in names.values())


def test_shapes_alone_say_what_to_load(tmp_path):
    net = jnn.serial(jnn.dense(3), jnn.relu())
    params, _ = net.init(jax.random.key(0), jnp.ones((2, 4)))
    jnn.save(tmp_path / "a", (params, jax.random.key(5)))
    like = jax.eval_shape(lambda: (net.init(jax.random.key(0), jnp.ones((2, 4)))[0],
                                   jax.random.key(0)))  # fmt: skip
    loaded, key = jnn.load(tmp_path / "a", like)
    np.testing.assert_array_equal(loaded[0].w, params[0].w)
    assert jax.random.key_data(key).tolist() == jax.random.key_data(jax.random.key(5)).tolist()


@pytest.mark.parametrize(
    ("like", "fault"),
    [
        ({"a": jnp.zeros(3), "b": 1}, "float32[3] for 'a', where the file has float32[2]"),
        ({"a": jnp.zeros(2, jnp.int32), "b": 1}, "int32[2] for 'a'"),
        ({"a": jnp.zeros(2), "b": 1.0}, "float 1.0 for 'b'"),
        ({"a": "text", "b": 1}, "str 'text' for 'a'"),
        ({"a": jnp.zeros(2)}, "with 'b'"),
        ({"a": jnp.zeros(2), "b": 1, "c": 2}, "without 'c'"),
    ],
)
def test_a_tree_that_does_not_fit_is_named(like, fault, tmp_path):
    jnn.save(tmp_path / "a", {"a": jnp.ones(2), "b": 3})
    with pytest.raises(ValueError, match=re.escape(fault)):
        jnn.load(tmp_path / "a", like)


def test_keys_of_another_kind_do_not_pass(tmp_path):
    jnn.save(tmp_path / "a", jax.random.key(0))
    with pytest.raises(ValueError, match=r"key<rbg>\[\] for ''"):
        jnn.load(tmp_path / "a", jax.random.key(0, impl="rbg"))


def test_what_cannot_be_saved():
    for bad, fault in (({"a": "text"}, "for 'a'"), ([np.zeros(2, object)], "for '0'")):
        with pytest.raises(TypeError, match=fault):
            jnn.save("never", bad)
    with pytest.raises(ValueError, match="'a/b' twice"):
        jnn.save("never", {"a": {"b": 1}, "a/b": 2})
    assert not os.path.exists("never")


def test_an_error_while_writing_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a"
    jnn.save(path, {"a": jnp.ones(2)})
    monkeypatch.setattr(file_format, "bytes_of", lambda array: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        jnn.save(path, {"a": jnp.zeros(2)})
    monkeypatch.undo()
    monkeypatch.setattr(os, "replace", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        jnn.save(path, {"a": jnp.zeros(2)})
    monkeypatch.undo()
    assert jnn.load(path)["a"].tolist() == [1, 1]
    assert os.listdir(tmp_path) == ["a"]


def test_a_device_stays_one():
    jnn.save(os.devnull, {"a": jnp.ones(2)})
    assert not os.path.isfile(os.devnull)


def test_texts_stand_in_the_metadata(tmp_path):
    path = tmp_path / "a"
    jnn.save(path, {"a": jnp.ones(2), "key": jax.random.key(1)}, {"what": "two ones"})
    assert files.read_arrays(path)[1]["what"] == "two ones"
    with pytest.raises(ValueError, match="got 'crc32', which the format uses"):
        jnn.save(path, {}, {"crc32": "0"})
    with pytest.raises(TypeError, match=r"got 5 for 'epochs'\. Write numbers as texts"):
        jnn.save(path, {}, {"epochs": 5})  # pyright: ignore[reportArgumentType]


def test_a_name_as_long_as_the_system_takes(tmp_path):
    path = tmp_path / ("ü" * 120 + "a" * 15)
    jnn.save(path, {"a": 1})
    assert jnn.load(path, {"a": 0}) == {"a": 1}


def test_no_flipped_bit_and_no_shortened_file_passes(tmp_path, random):
    path = tmp_path / "a"
    jnn.save(path, {"a": random.standard_normal(4), "b": np.arange(3)}, {"what": "numbers"})
    whole = path.read_bytes()
    padding = range(whole.index(b"}}") + 2, 8 + int.from_bytes(whole[:8], "little"))
    for place in range(len(whole)):
        if place in padding:
            continue
        damaged = bytearray(whole)
        damaged[place] ^= 1 << random.integers(8)
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="load: `path`"):
            jnn.load(path, {"a": np.zeros(4), "b": np.zeros(3, int)})
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="load: `path`"):
            jnn.load(path)
    path.write_bytes(whole + b"\0")
    with pytest.raises(ValueError, match="there are"):
        jnn.load(path)


def entry(dtype: Any = "F32", shape: Any = (2,), offsets: Any = (0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


HOSTILE = {
    "overlap": ({"a": entry(), "b": entry(offsets=(4, 12))}, "overlaps"),
    "gap": ({"a": entry(offsets=(8, 16))}, "leaves a gap"),
    "behind the end": ({"a": entry(shape=[2**40], offsets=(0, 2**42))}, "there are"),
    "backwards": ({"a": entry(offsets=(8, 0))}, "another size"),
    "negative": ({"a": entry(shape=[-2], offsets=(0, 8))}, "no true shape"),
    "huge": (
        {
            "a": entry(shape=[2**62, 2**62, 0], offsets=(0, 0)),
            "b": entry(shape=[4], offsets=(0, 16)),
        },
        "the shape",
    ),
    "too many axes": ({"a": entry(shape=[1] * 65, offsets=(0, 4))}, "no true shape"),
    "fractions": ({"a": entry(shape=[2.0])}, "no true shape"),
    "flags": ({"a": entry(shape=[True, 2])}, "no true shape"),
    "three offsets": ({"a": entry(offsets=(0, 4, 8))}, "no true place"),
    "a dtype": ({"a": entry(dtype="O")}, "the dtype 'O'"),
    "a list": ([1], "no JSON object"),
    "no entry": ({"a": 3}, "not told by"),
    "metadata": ({"__metadata__": {"format": 3}}, "not text"),
    "a later version": ({"__metadata__": {"format": "jnn", "version": "9"}}, "another version"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_header_is_refused(name, tmp_path):
    header, fault = HOSTILE[name]
    content = json.dumps(header).encode()
    (tmp_path / "a").write_bytes(len(content).to_bytes(8, "little") + content + bytes(16))
    with pytest.raises(ValueError, match=fault):
        jnn.load(tmp_path / "a")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x89PNG\r\n\x1a\n" + bytes(100),
        (2**63).to_bytes(8, "little") + b"{}",
        (10**5).to_bytes(8, "little") + b"[" * 10**5,
        (20).to_bytes(8, "little") + b'{"a": 1, "a": 2}    ',
        (4).to_bytes(8, "little") + b"\xff\xfe\x00\x01",
        (6).to_bytes(8, "little") + "{}".encode("utf-16"),
    ],
)
def test_a_foreign_file_is_refused(content, tmp_path):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(ValueError, match="format of safetensors"):
        jnn.load(tmp_path / "a")
