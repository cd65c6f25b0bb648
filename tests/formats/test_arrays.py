"""Arrays of .npy and .npz files that others made, sound and damaged."""

import io
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from mutations import mutated

from mlstm.errors import InputError
from mlstm.formats import arrays, npz_files


def npy(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.lib.format.write_array(out, array, allow_pickle=True)
    return out.getvalue()


def npy_saying(shape: str, data: bytes = b"", descr: str = "'<f4'") -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + data


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", "<f2", "<i8", "|u1", "|b1"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_an_array_is_read_as_numpy_reads_it(tmp_path, dtype, order):
    array = np.asarray(np.arange(24).reshape(2, 3, 4), dtype, order=order)
    (tmp_path / "a.npy").write_bytes(npy(array))
    read = arrays.read_npy(tmp_path / "a.npy")
    assert read.dtype == array.dtype
    np.testing.assert_array_equal(read, array)


def test_shapes_as_python_2_wrote_them_are_read():
    data = np.arange(6, dtype=np.float32)
    read = arrays.read_npy(npy_saying("(2L, 3L)", data.tobytes()))
    np.testing.assert_array_equal(read, data.reshape(2, 3))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a .npy file"),
        (npy(np.zeros(4))[:-1], "the array .4,. of float64 needs 32 bytes, the file has 31"),
        (npy(np.zeros(4)) + b"x", "the file has 33"),
        (npy(np.array([{}, "text"], object)), "holds Python objects"),
        (npy(np.array(["text"])), "plain numbers are needed"),
        (npy(np.zeros(2, [("a", "f4")])), "plain numbers are needed"),
        (npy_saying("(1000000000000,)"), "needs 4,000,000,000,000 bytes"),
        (npy_saying("(-1, -1)", bytes(4)), "impossible shape"),
        (npy_saying("(0, 281474976710655, 281474976710655)"), "impossible"),
        (npy_saying("('a',)"), "impossible shape"),
        (npy_saying("(True,)", bytes(4)), "impossible shape"),
        (npy_saying("__import__('os').system('touch run')"), "does not tell"),
        (npy_saying("(" * 5000), "does not tell"),
        (npy_saying("(1,)", descr="'<f4'" + " " * 20_000), "too long"),
    ],
)
def test_what_is_no_plain_array_is_refused_in_one_line(data, message):
    with pytest.raises(InputError, match=message) as caught:
        arrays.read_npy(data, "w.npy")
    assert str(caught.value).startswith("w.npy: ")
    assert "\n" not in str(caught.value)


def test_no_memory_is_taken_for_what_a_header_only_says(tmp_path):
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", npy_saying("(50000000,)", bytes(200_000_000)))
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="says that it holds 200,0"):
            npz_files.read_npz(path)
        with pytest.raises(InputError, match="needs"):
            arrays.read_npy(npy_saying("(50000000,)"))
        with pytest.raises(InputError, match=r"damaged|cut short"):
            npz_files.read_npz(_understated(path, tmp_path / "understated.npz"))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10_000_000


def _understated(path: Path, made: Path) -> Path:
    """The archive, whose index says that its member unpacks to 100 bytes."""
    data = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        unpacked = archive.infolist()[0].file_size
    made.write_bytes(data.replace(unpacked.to_bytes(4, "little"), (100).to_bytes(4, "little")))
    return made


def test_an_npz_is_read_by_name_compressed_or_not(tmp_path):
    wanted = {"a": np.arange(5.0), "layer/b": np.ones((2, 3), np.float32)}
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "w.npz", **wanted)
        read = npz_files.read_npz(tmp_path / "w.npz")
        assert read.keys() == wanted.keys()
        for name, array in wanted.items():
            np.testing.assert_array_equal(read[name], array)


def test_a_folder_of_arrays_is_read_by_name(tmp_path):
    np.save(tmp_path / "w.npy", np.ones(3))
    assert npz_files.read_named(tmp_path).keys() == {"w"}
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"no \.npy files"):
        npz_files.read_named(tmp_path / "empty")


def test_an_npz_of_other_members_is_refused(tmp_path):
    path = tmp_path / "w.npz"
    for name, compression, message in [
        ("a.txt", zipfile.ZIP_STORED, "is no .npy"),
        ("a.npy", zipfile.ZIP_LZMA, "compressed in a way"),
    ]:
        with zipfile.ZipFile(path, "w", compression) as archive:
            archive.writestr(name, npy(np.ones(3)))
        with pytest.raises(InputError, match=message):
            npz_files.read_npz(path)
    path.write_bytes(b"PK\x03\x04")
    with pytest.raises(InputError, match=r"w\.npz: the \.npz file is damaged"):
        npz_files.read_npz(path)
    with pytest.raises(InputError, match="no such file"):
        npz_files.read_npz(tmp_path / "absent.npz")


def test_a_list_of_very_many_members_is_not_read(tmp_path):
    entry = b"PK\x01\x02" + struct.pack("<HHHHHHIIIHHHHHII", 20, 20, *[0] * 14)
    directory, path = entry * 60_000, tmp_path / "w.npz"
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 60_000, 60_000, len(directory), 64, 0)
    path.write_bytes(b"PK\x03\x04" + bytes(60) + directory + end)
    tracemalloc.start()
    with pytest.raises(InputError, match="a directory of 2,760,000 bytes"):
        npz_files.read_npz(path)
    assert not npz_files.names(path)
    assert tracemalloc.get_traced_memory()[1] < 2e6
    tracemalloc.stop()


def test_a_large_member_is_read_whole(tmp_path):
    wanted = np.arange(1 << 20, dtype=np.float32)
    np.savez(tmp_path / "w.npz", a=wanted)
    np.testing.assert_array_equal(npz_files.read_npz(tmp_path / "w.npz")["a"], wanted)


def test_float32_is_made_of_finite_floating_point_alone():
    made = arrays.as_float32(np.asfortranarray(np.ones((2, 3), ">f8")), "w")
    assert made.dtype == np.float32
    assert made.flags.c_contiguous
    for array in (np.array([np.nan]), np.array([1e300]), np.array([1])):
        with pytest.raises(InputError, match=r"^w: "):
            arrays.as_float32(array, "w")


@pytest.mark.parametrize("count", [300, pytest.param(4000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", ["npy", "npz", "compressed"])
def test_damaged_arrays_are_read_or_refused_in_one_line(tmp_path, kind, count):
    path = tmp_path / "w"
    if kind == "npy":
        data = npy(np.arange(40.0).reshape(5, 8))
    else:
        out = io.BytesIO()
        (np.savez if kind == "npz" else np.savez_compressed)(
            out, a=np.arange(40.0).reshape(5, 8), b=np.ones(7, np.float32)
        )
        data = out.getvalue()
    refused = 0
    for seed in range(count):
        path.write_bytes(mutated(data, seed))
        try:
            arrays.read_npy(path) if kind == "npy" else npz_files.read_npz(path)
        except InputError as error:
            assert "\n" not in str(error)  # noqa: PT017
            refused += 1
    assert refused > count / 4
