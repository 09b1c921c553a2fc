"""CSV and NPZ: tables as they were written, and refusals."""

import io
import zipfile

import numpy as np
import pytest

from jnn import data


def written(tmp_path, text):
    path = tmp_path / "table.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_table_with_and_without_names(tmp_path):
    rows = "1,2.5\n\n# a remark\n-3e2,nan\n"
    for head, names in (("", ()), ("a,b c\n", ("a", "b c")), ('"a","b c"\n', ("a", "b c"))):
        table = data.csv(written(tmp_path, head + rows))
        assert table.names == names
        np.testing.assert_array_equal(table.values, [[1, 2.5], [-300, np.nan]])
    table = data.csv(written(tmp_path, "2020;1\n3;4\n"), delimiter=";", header=True, dtype=int)
    assert table.names == ("2020", "1")
    assert table.values.tolist() == [[3, 4]]
    assert table.values.dtype == int


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "is empty"),
        ("1,2\n3,4,5\n", "number of columns changed"),
        ("1,2\n3,x\n", "could not convert string 'x'"),
        ("a,b,c\n1,2\n", "as the header has names, 3"),
        ("# alone\n", "is empty"),
        ('a,b\n1,"2\n', "a quote is not closed"),
        ("a,b\n1,2\n3\n", r"from 2 to 1 at row 2 \(counted from line 2\)"),
    ],
)
def test_a_table_that_is_none(text, fault, tmp_path):
    with pytest.raises(ValueError, match=fault):
        data.csv(written(tmp_path, text))


def test_only_lines_that_begin_with_it_are_remarks(tmp_path):
    text = 'a,k\n1,C#\n # a remark, "\n2,C\n3,"F#\n# more"\n4,5"\n# the end\n'
    cells = data.csv(written(tmp_path, text), dtype=str).values
    assert cells[:, 1].tolist() == ["C#", "C", "F#\n# more", '5"']
    with pytest.raises(ValueError, match="could not convert string '2#3'"):
        data.csv(written(tmp_path, "1,2\n1,2#3\n"))


def test_a_table_in_another_encoding_is_named(tmp_path):
    for text in ("größe,k\n1,2\n", "a,k\n1,ä\n"):
        (tmp_path / "table.csv").write_bytes(text.encode("latin-1"))
        with pytest.raises(ValueError, match=r"csv: .*table\.csv"):
            data.csv(tmp_path / "table.csv", dtype=str)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_come_back(save, tmp_path, random):
    arrays = {
        "x": random.standard_normal((3, 4)),
        "columns": np.asfortranarray(random.standard_normal((3, 4)).astype("f4")),
        "scalar": np.array(3),
        "none": np.zeros((0, 5), bool),
        "text": np.array(["a", "bc"]),
    }
    save(tmp_path / "a.npz", **arrays)
    read = data.npz(tmp_path / "a.npz")
    assert list(read) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array)
        assert read[name].dtype == array.dtype


def test_an_archive_of_objects_is_refused_and_runs_nothing(tmp_path):
    class Evil:
        def __reduce__(self):
            return pytest.fail, ("code from a file ran",)

    np.savez(tmp_path / "a.npz", x=np.array([Evil()], object))
    with pytest.raises(ValueError, match="can run any code"):
        data.npz(tmp_path / "a.npz")


def test_a_header_that_lies_is_refused(tmp_path):
    content = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        content, {"descr": "<f8", "fortran_order": False, "shape": (10**12,)}
    )
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", content.getvalue() + bytes(80))
    with pytest.raises(ValueError, match="8,000,000,000,000 bytes"):
        data.npz(path)


def test_what_is_no_archive(tmp_path, random):
    path = tmp_path / "a.npz"
    np.savez(path, x=random.standard_normal(100))
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[400] ^= 1
    for content in (b"", b"no archive", whole[:300], bytes(damaged)):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="undamaged"):
            data.npz(path)


def test_no_damage_ends_in_another_error(tmp_path, random):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        content = io.BytesIO()
        np.save(content, random.standard_normal(50))
        archive.writestr("x.npy", content.getvalue())
    whole = path.read_bytes()
    refused = 0
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << random.integers(8)
        path.write_bytes(damaged)
        try:
            data.npz(path)
        except ValueError as error:
            refused += str(error).startswith("npz: `path`")
    assert refused > len(whole) / 2
