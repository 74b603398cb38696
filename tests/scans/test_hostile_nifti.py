"""Files that are broken, or meant to break: each ends in one line, none in a large allocation."""

from __future__ import annotations

import contextlib
import gzip
import os
import re
import resource
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from brainjax.errors import InputError
from brainjax.scans import nifti
from brainjax.scans.nifti import read_image

SHAPE = (8, 8, 8)
Break = Callable[[nib.Nifti1Header], None]


def plain(change: Break | None = None, *, array: np.ndarray | None = None) -> bytes:
    """The bytes of a .nii whose header was tampered with after writing."""
    if array is None:
        array = np.random.default_rng(0).integers(0, 999, SHAPE).astype(np.int16)
    data = bytearray(nib.Nifti1Image(array, np.eye(4)).to_bytes())
    header = nib.Nifti1Header(bytes(data[:348]), check=False)
    if change:
        change(header)
    data[:348] = header.binaryblock
    return bytes(data)


def refuse(path: Path, data: bytes | None = None, *, ndim: int = 3) -> str:
    """Reads a file that must be refused, in one line that names it, and returns the line."""
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        read_image(path, ndim=ndim)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message.replace(str(path), "")


def put(field: str, value: object, index: int | None = None) -> Break:
    def change(header: nib.Nifti1Header) -> None:
        if index is None:
            header[field] = value
        else:
            header[field][index] = value

    return change


def dims(*sizes: int) -> Break:
    def change(header: nib.Nifti1Header) -> None:
        header["dim"][0] = len(sizes)
        header["dim"][1 : len(sizes) + 1] = sizes

    return change


def code(value: int, bits: int) -> Break:
    def change(header: nib.Nifti1Header) -> None:
        header["datatype"], header["bitpix"] = value, bits

    return change


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (dims(10_000, 10_000, 10_000), "1,000,000,000,000 voxels"),
        (dims(32767, 32767, 32767, 32767), "axes"),
        (dims(500, 500, 500), "more than the file can hold"),
        (dims(0, 8, 8), "positive size"),
        (dims(8, -8, 8), "positive size"),
        (put("dim", 0, 0), "0 axes"),
        (put("dim", 9, 0), "not valid"),
        (dims(8, 8), "expected an image with 3 axes, found 2"),
        (dims(8, 8, 4, 2), "expected an image with 3 axes, found 4"),
        (dims(8, 8, 4), "holds more than"),
        (code(32, 64), "complex64"),
        (code(1792, 128), "complex128"),
        (code(128, 24), "RGB"),
        (code(2304, 32), "RGBA"),
        (code(1536, 128), "float128|not supported"),
        (code(1, 1), "not valid"),
        (code(77, 16), "not valid"),
        (put("magic", b"ni1"), "single file"),
        (put("magic", b""), "single file"),
        (put("vox_offset", 1e12), "voxels at byte"),
        (put("vox_offset", np.nan), "voxels at byte"),
        (put("vox_offset", 100.0), "not valid"),
        (put("vox_offset", 1e6), "ends within its header"),
        (put("scl_slope", np.inf), "finite scale"),
        (put("srow_x", np.nan, 1), "cannot be inverted"),
        (put("srow_x", 0.0), "cannot be inverted"),
        (put("srow_z", (1, 0, 0, 0)), "cannot be inverted"),
        (put("srow_x", (1e-4, 0, 0, 0)), "not plausible"),
        (put("srow_x", (1e6, 0, 0, 0)), "not plausible"),
    ],
)
def test_headers(tmp_path: Path, change: Break, words: str, packed: bool) -> None:
    data = plain(change)
    tracemalloc.start()
    message = refuse(tmp_path / "a.nii.gz", gzip.compress(data) if packed else data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert re.search(words, message), message
    assert peak < 64 * 2**20


def test_qform_without_voxel_size(tmp_path: Path) -> None:
    def change(header: nib.Nifti1Header) -> None:
        header["sform_code"], header["qform_code"] = 0, 1
        header["pixdim"][2] = 0

    assert "voxel sizes" in refuse(tmp_path / "a.nii", plain(change))


def test_quaternion_that_is_no_rotation(tmp_path: Path) -> None:
    def change(header: nib.Nifti1Header) -> None:
        header["sform_code"], header["qform_code"] = 0, 1
        header["quatern_b"] = 5

    assert "orientation" in refuse(tmp_path / "a.nii", plain(change))


def test_harmless_oddities_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.nii").write_bytes(plain(put("pixdim", 0, 0)))
    read_image(tmp_path / "a.nii")
    (tmp_path / "b.nii").write_bytes(plain(put("vox_offset", 0)) + b"\0" * 100)
    read_image(tmp_path / "b.nii")
    # Named .nii.gz though not packed, and the reverse.
    (tmp_path / "c.nii.gz").write_bytes(plain())
    (tmp_path / "d.nii").write_bytes(gzip.compress(plain()))
    np.testing.assert_array_equal(
        read_image(tmp_path / "c.nii.gz")[0], read_image(tmp_path / "d.nii")[0]
    )
    # bgzip and pigz write several members.
    data = plain()
    (tmp_path / "e.nii.gz").write_bytes(gzip.compress(data[:700]) + gzip.compress(data[700:]))
    np.testing.assert_array_equal(
        read_image(tmp_path / "e.nii.gz")[0], read_image(tmp_path / "d.nii")[0]
    )


def test_decompression_bomb(tmp_path: Path) -> None:
    """A small header before gigabytes of zeros: no more than declared is unpacked."""
    member = gzip.compress(bytes(2**24))
    path = tmp_path / "bomb.nii.gz"
    with path.open("wb") as file:
        file.write(gzip.compress(plain()))
        for _ in range(256):
            file.write(member)  # 4 GiB
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "holds more than" in refuse(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 2**10


def test_a_declaration_that_deflate_could_fulfil_is_not_believed(tmp_path: Path) -> None:
    """2 MiB would fit into 70 kB of packed bytes, but they hold 64 KiB."""
    data = plain(dims(128, 128, 64)) + np.random.default_rng(0).bytes(2**16)
    assert "truncated: the header declares 2,097,152 bytes" in refuse(
        tmp_path / "b.nii.gz", gzip.compress(data)
    )


@pytest.mark.parametrize("keep", [0, 1, 2, 9, 100, 347, 350, 353, 700, -1])
@pytest.mark.parametrize("packed", [False, True])
def test_truncated(tmp_path: Path, keep: int, packed: bool) -> None:
    data = plain()
    data = gzip.compress(data) if packed else data
    message = refuse(tmp_path / "a.nii.gz", data[:keep])
    assert any(
        word in message
        for word in ("truncated", "empty", "not a NIfTI", "more than the file", "ends within")
    )


@pytest.mark.parametrize("position", [15, 200, 600, -6, -2])
def test_a_flipped_byte_in_the_packed_stream(tmp_path: Path, position: int) -> None:
    data = bytearray(gzip.compress(plain()))
    data[position] ^= 0x5A
    refuse(tmp_path / "a.nii.gz", bytes(data))


OTHER_KINDS = {
    "text": b"this is a text file, not a scan\n" * 99,
    "packed-text": gzip.compress(b"this is a text file, not a scan\n" * 99, mtime=0),
    "packed-nothing": gzip.compress(b"", mtime=0),
    "png": b"\x89PNG\r\n\x1a\n" + bytes(999),
    "zeros": bytes(400),
}


@pytest.mark.parametrize("data", OTHER_KINDS.values(), ids=OTHER_KINDS.keys())
def test_other_kinds_of_files(tmp_path: Path, data: bytes) -> None:
    assert "not a NIfTI" in refuse(tmp_path / "a.nii.gz", data)


def test_random_bytes_never_surprise(tmp_path: Path, rng: np.random.Generator) -> None:
    """Whatever bytes a header has: it is read, or refused as InputError."""
    good = plain()
    for _ in range(300):
        data = bytearray(good)
        for position in rng.integers(4, 352, 6):
            data[position] = rng.integers(256)
        path = tmp_path / "a.nii"
        path.write_bytes(bytes(data))
        with contextlib.suppress(InputError):
            array, _ = read_image(path)
            assert np.isfinite(array).all()


def test_places_that_are_no_files(tmp_path: Path) -> None:
    (tmp_path / "folder.nii.gz").mkdir()
    assert "found a folder" in refuse(tmp_path / "folder.nii.gz")
    assert "no such file" in refuse(tmp_path / "missing.nii.gz")
    os.mkfifo(tmp_path / "pipe.nii")
    assert "special file" in refuse(tmp_path / "pipe.nii")
    (tmp_path / "loop.nii").symlink_to(tmp_path / "loop.nii")
    refuse(tmp_path / "loop.nii")


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.nii"
    path.write_bytes(plain())

    def forbid(self: Path, *args: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", forbid)
    assert "Permission denied" in refuse(path)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_voxels_that_are_not_finite_are_counted(tmp_path: Path, dtype: type) -> None:
    array = np.ones(SHAPE, dtype)
    array[0, 0, :2] = np.nan
    array[1, 1, 1] = np.inf
    assert "3 of 512 voxels are NaN or infinite" in refuse(tmp_path / "a.nii", plain(array=array))


def test_what_float32_cannot_hold_counts_as_infinite(tmp_path: Path) -> None:
    array = np.ones(SHAPE)
    array[0, 0, 0] = 1e300
    assert "1 of 512 voxels" in refuse(tmp_path / "a.nii", plain(array=array))


def test_three_axes_where_channels_are_expected(tmp_path: Path) -> None:
    assert "expected an image with 4 axes, found 3" in refuse(tmp_path / "a.nii", plain(), ndim=4)


def test_the_limit_lets_large_scans_through() -> None:
    assert nifti.MAX_VOXELS >= 512**3
