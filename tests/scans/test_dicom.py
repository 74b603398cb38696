"""DICOM series in every pixel format, in order, and what is told of files that cannot be read."""

from __future__ import annotations

import contextlib
import io
import logging
import struct
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    MPEG2MPML,
    DeflatedExplicitVRLittleEndian,
    EnhancedMRImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    MRImageStorage,
    RLELossless,
    generate_uid,
)

from brainjax.errors import InputError
from brainjax.scans import dicom, dicom_header
from brainjax.scans.dicom import count_slices, dicom_files, is_dicom, read_series, write_slice

AXIAL = (1, 0, 0, 0, 1, 0)
NATIVE = (
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
)


def made(
    stored: np.ndarray,
    *,
    bits: int | None = None,
    signed: bool = False,
    syntax: Any = ExplicitVRLittleEndian,
    position: Any = (0, 0, 0),
    orientation: Any = AXIAL,
    instance: int | None = 1,
    **more: Any,
) -> Dataset:
    """An uncompressed MR image, before compression if ``syntax`` asks for it."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = MRImageStorage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.Modality = "MR"
    dataset.SeriesDescription = "ax T1"
    if instance is not None:
        dataset.InstanceNumber = instance
    if position is not None:
        dataset.ImagePositionPatient = [float(value) for value in position]
    if orientation is not None:
        dataset.ImageOrientationPatient = [float(value) for value in orientation]
    dataset.PixelSpacing = [0.5, 0.75]
    dataset.SliceThickness = 4.0
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = stored.shape[-2:]
    if stored.ndim == 3:
        dataset.NumberOfFrames = len(stored)
    dataset.BitsAllocated = 8 * stored.dtype.itemsize
    dataset.BitsStored = bits or dataset.BitsAllocated
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(signed)
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    dataset.PixelData = stored.astype(stored.dtype.newbyteorder(order)).tobytes()
    dataset["PixelData"].VR = "OW" if stored.dtype.itemsize > 1 else "OB"
    for name, value in more.items():
        setattr(dataset, name, value)
    return dataset


def save(path: Path, dataset: Dataset, *, frames: list[bytes] | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if frames is not None:
        dataset.PixelData = encapsulate(frames)
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)
    return path


def save_series(folder: Path, values: list[int], **columns: list[Any]) -> Path:
    """One 4 x 4 slice per value; ``columns`` are arguments of ``made`` and ``name``."""
    for index, value in enumerate(values):
        keys = {key: column[index] for key, column in columns.items()}
        name = keys.pop("name", f"Image-{index + 1}.dcm")
        save(folder / name, made(np.full((4, 4), value, np.uint16), **keys))
    return folder


def order(folder: Path) -> list[float]:
    return read_series(folder).volume[:, 0, 0].tolist()


def message_of(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_series(path)
    text = str(caught.value)
    assert "\n" not in text
    assert str(path) in text
    return text


def lossless_jpeg(picture: np.ndarray) -> bytes:
    """Process 14, first-order prediction from the left (ITU-T T.81, annex H)."""
    rows, columns = picture.shape
    values = picture.astype(np.int64)
    predicted = np.empty_like(values)
    predicted[:, 1:] = values[:, :-1]
    predicted[1:, 0] = values[:-1, 0]
    predicted[0, 0] = 1 << 15
    bits = []
    for difference in ((values - predicted + 32767) % 65536 - 32767).ravel().tolist():
        size = abs(difference).bit_length()
        bits.append(f"{size:05b}")  # all 17 sizes have codes of five bits
        if 0 < size < 16:
            bits.append(f"{difference if difference > 0 else difference + 2**size - 1:0{size}b}")
    text = "".join(bits)
    text += "1" * (-len(text) % 8)
    data = int(text, 2).to_bytes(len(text) // 8, "big").replace(b"\xff", b"\xff\x00")
    table = b"\x00" + bytes([0, 0, 0, 0, 17] + [0] * 11) + bytes(range(17))
    return b"".join(
        (
            b"\xff\xd8\xff\xc4" + struct.pack(">H", 2 + len(table)) + table,
            b"\xff\xc3" + struct.pack(">HBHHB3B", 11, 16, rows, columns, 1, 1, 0x11, 0),
            b"\xff\xda" + struct.pack(">HB2B3B", 8, 1, 1, 0, 1, 0, 0) + data + b"\xff\xd9",
        )
    )


@pytest.fixture
def picture(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 2**16, (9, 7)).astype(np.uint16)


@pytest.mark.parametrize("syntax", [*NATIVE, RLELossless], ids=lambda uid: uid.keyword)
@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_every_native_pixel_format(
    tmp_path: Path, rng: np.random.Generator, photometric: str, bits: int, signed: bool, syntax: Any
) -> None:
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1)) if signed else (0, 2**bits)
    kind = np.dtype(f"{'i' if signed else 'u'}{1 if bits == 8 else 2}")
    stored = rng.integers(low, high, (2, 5, 7)).astype(kind)
    stored[0, 0, :2] = low, high - 1
    for index, slice_ in enumerate(stored):
        dataset = made(
            slice_,
            bits=bits,
            signed=signed,
            position=(0, 0, index),
            PhotometricInterpretation=photometric,
            RescaleSlope="2.5",
            RescaleIntercept="-7",
            syntax=ExplicitVRLittleEndian if syntax == RLELossless else syntax,
        )
        if syntax == RLELossless:
            dataset.compress(RLELossless, generate_instance_uid=False)
        save(tmp_path / f"{index}.dcm", dataset)
    expected = stored * 2.5 - 7
    if photometric == "MONOCHROME1":
        expected = expected.max() - expected
    series = read_series(tmp_path)
    assert series.volume.dtype == np.float32
    np.testing.assert_array_equal(series.volume, expected.astype(np.float32))
    assert series.spacing_mm == (1.0, 0.5, 0.75)
    assert series.description == "ax T1"


def test_bits_that_are_not_stored_are_not_read(tmp_path: Path) -> None:
    values = np.array([[-2048, -1], [5, 2047]])
    overlaid = (values & 0x0FFF | 0x3000).astype(np.uint16)
    save(tmp_path / "1.dcm", made(overlaid, bits=12, signed=True))
    np.testing.assert_array_equal(read_series(tmp_path).volume[0], values)


def test_bits_at_the_top_of_the_word(tmp_path: Path) -> None:
    values = np.array([[0, 1], [1000, 4095]], np.uint16)
    save(tmp_path / "1.dcm", made(values << 4, bits=12, HighBit=15))
    np.testing.assert_array_equal(read_series(tmp_path).volume[0], values)


def test_real_numbers_and_lookup_tables(tmp_path: Path) -> None:
    reals = made(np.zeros((2, 2), np.uint32))
    del reals.PixelData, reals.BitsStored, reals.HighBit, reals.PixelRepresentation
    reals.FloatPixelData = np.array([[0.5, -1.25], [3.0, 1e6]], "<f4").tobytes()
    save(tmp_path / "real" / "1.dcm", reals)
    assert read_series(tmp_path / "real").volume[0].tolist() == [[0.5, -1.25], [3.0, 1e6]]
    table = Dataset()
    table.LUTDescriptor = [3, 0, 16]
    table.add_new("LUTData", "US", [10, 400, 20])
    table.ModalityLUTType = "US"
    mapped = made(np.array([[0, 1], [2, 9]], np.uint8), ModalityLUTSequence=Sequence([table]))
    save(tmp_path / "table" / "1.dcm", mapped)
    assert read_series(tmp_path / "table").volume[0].tolist() == [[10, 400], [20, 20]]


def test_numbers_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    reals = made(np.zeros((1, 2), np.uint32))
    del reals.PixelData, reals.BitsStored, reals.HighBit, reals.PixelRepresentation
    reals.FloatPixelData = np.array([0.5, np.nan], "<f4").tobytes()
    save(tmp_path / "1.dcm", reals)
    assert "NaN or infinite" in message_of(tmp_path)


def test_jpeg_baseline(tmp_path: Path) -> None:
    smooth = np.add.outer(np.arange(16) * 8, np.arange(24) * 4).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(smooth).save(buffer, "JPEG", quality=95)
    path = tmp_path / "1.dcm"
    save(path, made(smooth, syntax=JPEGBaseline8Bit), frames=[buffer.getvalue()])
    np.testing.assert_allclose(read_series(tmp_path).volume[0], smooth, atol=3)


def test_jpeg_2000(tmp_path: Path, picture: np.ndarray) -> None:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG2000", irreversible=False, no_jp2=True)
    dataset = made(picture, syntax=JPEG2000Lossless)
    save(tmp_path / "1.dcm", dataset, frames=[buffer.getvalue()])
    np.testing.assert_array_equal(read_series(tmp_path).volume[0], picture)


def test_jpeg_lossless(tmp_path: Path, picture: np.ndarray) -> None:
    pytest.importorskip("libjpeg")
    picture[0, :2] = 0, 32768  # the difference without extra bits
    dataset = made(picture, syntax=JPEGLosslessSV1)
    save(tmp_path / "1.dcm", dataset, frames=[lossless_jpeg(picture)])
    np.testing.assert_array_equal(read_series(tmp_path).volume[0], picture)


@pytest.mark.parametrize("name", ["jpeg_ls_lossless", "jp2klossless", "RLE"])
def test_pydicom_s_own_compressed_files(tmp_path: Path, name: str) -> None:
    if name == "jpeg_ls_lossless":
        pytest.importorskip("libjpeg")
    files = [get_testdata_file(f"MR_small{x}.dcm", download=False) for x in ("", f"_{name}")]
    if None in files:
        pytest.skip("pydicom was installed without its test files")
    raw, compressed = (read_series(Path(str(file))).volume for file in files)
    assert (raw.min(), raw.max()) == (127, 2145)
    np.testing.assert_array_equal(compressed, raw)


def test_twelve_bit_jpeg(tmp_path: Path) -> None:
    pytest.importorskip("libjpeg")
    file = get_testdata_file("JPGExtended.dcm", download=False)
    if file is None:
        pytest.skip("pydicom was installed without its test files")
    series = read_series(Path(str(file)))
    assert series.volume.shape == (1, 1024, 256)
    assert series.volume.max() == 264


@pytest.mark.parametrize(
    "syntax", [JPEGBaseline8Bit, JPEGLosslessSV1, JPEG2000Lossless, JPEGLSLossless]
)
def test_missing_decoder_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, syntax: Any
) -> None:
    monkeypatch.setattr(dicom, "get_decoder", lambda uid: SimpleNamespace(is_available=False))
    dataset = made(np.zeros((4, 4), np.uint8), syntax=syntax)
    text = message_of(save(tmp_path / "1.dcm", dataset, frames=[b"\xff\xd8"]))
    assert syntax.name in text
    assert "pip install 'brainjax[dicom]'" in text


def test_decoder_that_gives_up_hints_at_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder = SimpleNamespace(is_available=True, missing_dependencies=["pylibjpeg - requires it"])
    monkeypatch.setattr(dicom, "get_decoder", lambda uid: decoder)
    dataset = made(np.zeros((4, 4), np.uint8), syntax=JPEGBaseline8Bit)
    text = message_of(save(tmp_path / "1.dcm", dataset, frames=[b"\xff\xd8 no picture"]))
    assert "JPEG Baseline" in text
    assert text.endswith("or if it is sound: pip install 'brainjax[dicom]'")


def test_films_are_refused(tmp_path: Path) -> None:
    dataset = made(np.zeros((4, 4), np.uint8), syntax=MPEG2MPML)
    text = message_of(save(tmp_path / "1.dcm", dataset, frames=[b"\x00\x00"]))
    assert "MPEG2" in text


def test_sorted_by_position_not_by_number_or_name(tmp_path: Path) -> None:
    folder = save_series(
        tmp_path,
        [30, 10, 20],
        position=[(0, 0, 7.5), (0, 0, -2.5), (0, 0, 2.5)],
        instance=[1, 2, 3],
    )
    assert order(folder) == [10, 20, 30]
    series = read_series(folder)
    assert series.spacing_mm[0] == 5.0
    assert [path.name for path in series.files] == ["Image-2.dcm", "Image-3.dcm", "Image-1.dcm"]


def test_oblique_slices_are_sorted_along_their_normal(tmp_path: Path) -> None:
    turn = np.array([1, 0, 0, 0, 0.8, 0.6])
    normal = np.cross(turn[:3], turn[3:])
    # In-plane shifts that would turn the order of every single coordinate around.
    shifts = [turn[3:] * -9.0 * n for n in range(3)]
    places = [normal * n * 2.0 + shifts[n] for n in range(3)]
    folder = save_series(tmp_path, [1, 2, 3], position=places, orientation=[turn] * 3)
    assert order(folder) == [1, 2, 3]
    assert read_series(folder).spacing_mm[0] == pytest.approx(2.0)


@pytest.mark.parametrize(
    "orientation",
    [AXIAL, (-1, 0, 0, 0, 1, 0), (0, 1, 0, 0, 0, -1), (0, -1, 0, 0, 0, -1), (1, 0, 0, 0, 0, -1)],
)
def test_turned_rows_do_not_turn_the_order(tmp_path: Path, orientation: Any) -> None:
    """From the right to the left, the front to the back, the bottom to the top."""
    axis = np.argmax(np.abs(np.cross(orientation[:3], orientation[3:])))
    places = [np.eye(3)[axis] * height for height in (4.0, 0.0, 2.0)]
    folder = save_series(tmp_path, [3, 1, 2], position=places, orientation=[orientation] * 3)
    assert order(folder) == [1, 2, 3]


def test_without_positions_by_instance_number(tmp_path: Path) -> None:
    folder = save_series(tmp_path, [2, 10, 1], position=[None] * 3, instance=[2, 10, 1])
    assert order(folder) == [1, 2, 10]
    assert read_series(folder).spacing_mm[0] == 4.0  # the slice thickness


def test_one_missing_position_leaves_the_numbers(tmp_path: Path) -> None:
    places = [(0, 0, 3), None, (0, 0, 1)]
    assert order(save_series(tmp_path, [1, 2, 3], position=places, instance=[1, 2, 3])) == [1, 2, 3]


def test_positions_that_are_all_equal_leave_the_numbers(tmp_path: Path) -> None:
    assert order(save_series(tmp_path, [1, 2, 3], instance=[3, 1, 2])) == [2, 3, 1]


@pytest.mark.parametrize("instance", [None, 1])
def test_without_instance_numbers_by_the_number_in_the_name(
    tmp_path: Path, instance: int | None
) -> None:
    folder = save_series(
        tmp_path,
        [10, 9, 100],
        position=[None] * 3,
        instance=[instance] * 3,
        name=["Image-10.dcm", "Image-9.dcm", "Image-100.dcm"],
    )
    assert order(folder) == [9, 10, 100]


def test_malformed_position_counts_as_none(tmp_path: Path) -> None:
    for number, value in ((1, 5), (2, 6)):
        dataset = made(np.full((2, 2), value, np.uint16), instance=number, position=(0, 0, -number))
        path = save(tmp_path / f"{number}.dcm", dataset)
        # Of the length of what pydicom writes.
        data = path.read_bytes()
        wrong = data.replace(f"0.0\\0.0\\-{number}.0".encode(), b"0.0\\x.0\\-1.0")
        assert wrong != data
        path.write_bytes(wrong)
    assert order(tmp_path) == [5, 6]


def test_repeated_slice_is_taken_once(tmp_path: Path) -> None:
    places = [(0, 0, 1), (0, 0, 2), (0, 0, 1)]
    assert order(save_series(tmp_path, [5, 6, 5], position=places)) == [5, 6]


def test_two_pictures_at_one_position_are_refused(tmp_path: Path) -> None:
    places = [(0, 0, 1), (0, 0, 2), (0, 0, 1)]
    text = message_of(save_series(tmp_path, [5, 6, 7], position=places))
    assert "Image-1.dcm and Image-3.dcm" in text


def test_planes_that_cross_are_refused(tmp_path: Path) -> None:
    turns = [AXIAL, (0, 1, 0, 0, 0, -1)]
    text = message_of(save_series(tmp_path, [5, 6], position=[(0, 0, 1)] * 2, orientation=turns))
    assert "not parallel" in text


def test_frames_of_an_enhanced_file_are_slices(tmp_path: Path) -> None:
    dataset = made(
        np.arange(3, dtype=np.uint16).reshape(3, 1, 1) + np.zeros((3, 4, 5), np.uint16),
        position=None,
        orientation=None,
        SOPClassUID=EnhancedMRImageStorage,
    )
    del dataset.PixelSpacing, dataset.SliceThickness
    groups = []
    for height, slope in ((6.0, 1.0), (2.0, 10.0), (4.0, 100.0)):
        plane, value, group = Dataset(), Dataset(), Dataset()
        plane.ImagePositionPatient = [0.0, 0.0, height]
        value.RescaleSlope, value.RescaleIntercept = slope, 1.0
        group.PlanePositionSequence = Sequence([plane])
        group.PixelValueTransformationSequence = Sequence([value])
        groups.append(group)
    dataset.PerFrameFunctionalGroupsSequence = Sequence(groups)
    turn, measures, shared = Dataset(), Dataset(), Dataset()
    turn.ImageOrientationPatient = list(map(float, AXIAL))
    measures.PixelSpacing = [0.25, 0.5]
    shared.PlaneOrientationSequence = Sequence([turn])
    shared.PixelMeasuresSequence = Sequence([measures])
    dataset.SharedFunctionalGroupsSequence = Sequence([shared])
    path = save(tmp_path / "1.dcm", dataset)
    series = read_series(path)
    assert series.volume[:, 0, 0].tolist() == [11, 201, 1]
    assert series.volume.shape == (3, 4, 5)
    assert series.spacing_mm == (2.0, 0.25, 0.5)
    assert count_slices(tmp_path, enough=2) == 2
    assert count_slices(path, enough=9) == 3


def test_frames_without_places_keep_their_order(tmp_path: Path) -> None:
    frames = np.arange(3, dtype=np.uint8)[::-1].reshape(3, 1, 1) + np.zeros((3, 2, 2), np.uint8)
    dataset = made(frames)
    dataset.compress(RLELossless, generate_instance_uid=False)
    save(tmp_path / "1.dcm", dataset)
    assert order(tmp_path) == [2, 1, 0]


def test_sizes_that_differ_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "1.dcm", made(np.zeros((4, 4), np.uint16)))
    save(tmp_path / "2.dcm", made(np.zeros((4, 6), np.uint16), position=(0, 0, 1)))
    with pytest.raises(
        InputError, match=r"2\.dcm: expected slices of 4 x 4 as 1\.dcm, found 4 x 6"
    ):
        read_series(tmp_path)


def test_colour_is_refused(tmp_path: Path) -> None:
    dataset = made(np.zeros((4, 12), np.uint8), SamplesPerPixel=3, PlanarConfiguration=0)
    dataset.Columns, dataset.PhotometricInterpretation = 4, "RGB"
    assert "found photometric interpretation RGB" in message_of(save(tmp_path / "1.dcm", dataset))


def test_missing_pixels_are_told(tmp_path: Path) -> None:
    dataset = made(np.zeros((4, 4), np.uint16))
    del dataset.PixelData
    assert "no pixel data (MR)" in message_of(save(tmp_path / "1.dcm", dataset))


@pytest.mark.parametrize(("slope", "intercept"), [("0", "0"), ("nan", "0"), ("1", "inf")])
def test_scale_that_cannot_be_used_is_refused(tmp_path: Path, slope: str, intercept: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = made(np.zeros((4, 4), np.uint16), RescaleSlope=slope, RescaleIntercept=intercept)
        path = save(tmp_path / "1.dcm", dataset)
    assert "rescale slope" in message_of(path)


def test_what_is_not_dicom_is_refused(tmp_path: Path) -> None:
    text = tmp_path / "1.dcm"
    text.write_text("BraTS21ID,MGMT_value\n" * 20)
    assert "not a DICOM file" in message_of(text)
    text.write_bytes(b"")
    assert "empty" in message_of(text)
    text.unlink()
    assert "no such file" in message_of(text)
    assert "found nothing" in message_of(tmp_path)
    (tmp_path / "notes.txt").write_text("no scan")
    assert "found notes.txt" in message_of(tmp_path)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless])
def test_files_cut_short_are_refused(tmp_path: Path, picture: np.ndarray, syntax: Any) -> None:
    dataset = made(picture)
    if syntax == RLELossless:
        dataset.compress(RLELossless, generate_instance_uid=False)
    path = save(tmp_path / "1.dcm", dataset)
    whole = path.read_bytes()
    end = len(whole) - (16 if syntax == RLELossless else 1)
    for size in (*range(1, end, 37), end):
        path.write_bytes(whole[:size])
        message_of(path)


def test_damaged_headers_give_an_input_error_or_a_picture(
    tmp_path: Path, picture: np.ndarray, rng: np.random.Generator
) -> None:
    path = save(tmp_path / "1.dcm", made(picture))
    whole = np.frombuffer(path.read_bytes(), np.uint8)
    for _ in range(150):
        broken = whole.copy()
        broken[rng.integers(132, len(whole) - picture.nbytes, 3)] = rng.integers(0, 256, 3)
        path.write_bytes(broken.tobytes())
        with contextlib.suppress(InputError):
            read_series(path)


def test_declared_size_is_checked_before_decoding(tmp_path: Path) -> None:
    dataset = made(np.zeros((4, 4), np.uint16), NumberOfFrames=2**30)
    assert "declares 1073741824 x 4 x 4" in message_of(save(tmp_path / "1.dcm", dataset))


def test_series_of_too_many_voxels_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dicom, "MAX_VOXELS", 40)
    monkeypatch.setattr(dicom_header, "MAX_VOXELS", 40)
    places = [(0, 0, n) for n in range(3)]
    assert "more than 40" in message_of(save_series(tmp_path, [1, 2, 3], position=places))


@pytest.mark.parametrize("syntax", NATIVE[:3], ids=lambda uid: uid.keyword)
@pytest.mark.parametrize("name", ["1.dcm", "1"])
def test_files_without_preamble_and_file_header(
    tmp_path: Path, picture: np.ndarray, syntax: Any, name: str
) -> None:
    dataset = made(picture, syntax=syntax)
    dataset.file_meta = FileMetaDataset()
    implicit, little = syntax.is_implicit_VR, syntax.is_little_endian
    pydicom.dcmwrite(tmp_path / name, dataset, implicit_vr=implicit, little_endian=little)
    assert (tmp_path / name).read_bytes()[128:132] != b"DICM"
    np.testing.assert_array_equal(read_series(tmp_path).volume[0], picture)


def test_compressed_file_without_transfer_syntax_is_refused(tmp_path: Path) -> None:
    dataset = made(np.zeros((4, 4), np.uint8))
    dataset.compress(RLELossless, generate_instance_uid=False)
    dataset.file_meta = FileMetaDataset()
    pydicom.dcmwrite(tmp_path / "1.dcm", dataset, implicit_vr=False, little_endian=True)
    assert "no transfer syntax" in message_of(tmp_path / "1.dcm")


def test_neighbours_that_are_no_dicom_are_passed_over(tmp_path: Path, picture: np.ndarray) -> None:
    for name in ("IM1", "1.2.840.7", "a.IMA"):
        save(tmp_path / name, made(picture))
    for name in ("._IM1", "DICOMDIR", ".hidden.dcm"):
        (tmp_path / name).write_bytes(b"\0" * 128 + b"DICM")
    (tmp_path / "sidecar.json").write_text("{}")
    (tmp_path / "folder.dcm").mkdir()
    assert [path.name for path in dicom_files(tmp_path)] == ["1.2.840.7", "IM1", "a.IMA"]
    assert is_dicom(tmp_path / "IM1")
    assert not is_dicom(tmp_path / "sidecar.json")
    assert not is_dicom(tmp_path / "missing")
    assert not is_dicom(tmp_path / "folder.dcm")


def test_warnings_and_log_lines_of_pydicom_stay_inside(
    tmp_path: Path, picture: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = made(picture, Manufacturer="x" * 80, PatientAge="forty")
        dataset.PixelData += b"\0\0\0\0"  # more than expected: pydicom warns
        path = save(tmp_path / "1.dcm", dataset)
        caplog.clear()
        with pytest.warns(UserWarning, match="excess padding"):
            assert pydicom.dcmread(path).pixel_array.any()
    caplog.clear()
    filters = list(warnings.filters)
    with caplog.at_level(logging.DEBUG):
        read_series(path)
    assert not caplog.records
    assert warnings.filters == filters


def test_threads_read_the_same(tmp_path: Path, rng: np.random.Generator) -> None:
    for index in range(6):
        dataset = made(rng.integers(0, 99, (8, 8)).astype(np.uint16), position=(0, 0, index))
        save(tmp_path / f"{index}.dcm", dataset)
    first = read_series(tmp_path).volume
    with ThreadPoolExecutor(4) as pool:
        for series in pool.map(read_series, [tmp_path] * 12):
            np.testing.assert_array_equal(series.volume, first)


def test_written_slices_come_back_and_are_equal_bytes(tmp_path: Path, picture: np.ndarray) -> None:
    for name in ("a.dcm", "b.dcm"):
        write_slice(
            tmp_path / name,
            picture,
            position_mm=(-1.5, 2.0, 1 / 3),
            spacing_mm=(2.0, 0.5, 0.25),
            instance=7,
            patient_id="00003",
            series="FLAIR",
        )
    assert (tmp_path / "a.dcm").read_bytes() == (tmp_path / "b.dcm").read_bytes()
    series = read_series(tmp_path / "a.dcm")
    np.testing.assert_array_equal(series.volume[0], picture)
    assert series.spacing_mm == (2.0, 0.5, 0.25)
    assert series.description == "FLAIR"


def test_real_series(real_data: Path) -> None:
    series = read_series(real_data / "dicom" / "T1w")
    assert series.volume.shape == (24, 384, 274)
    assert series.description == "anat-T1w"
    np.testing.assert_allclose(series.spacing_mm, (0.66667, 0.66667, 0.69999), atol=1e-4)
    assert [path.stem for path in series.files] == [f"N2D_0{n}" for n in range(181, 205)]
    # De-faced: the front, where the first rows are, is empty, the head is in the middle.
    bright = series.volume > 40
    assert bright[:, :60].mean() < 0.001
    assert bright[:, 150:300, 80:200].mean() > 0.3
