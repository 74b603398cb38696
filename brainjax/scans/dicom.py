"""Reads and writes DICOM series; the only place that imports pydicom.

A file is not trusted: its header is checked before its pixels are decoded, and
whatever pydicom or a decoder raises becomes an `InputError` that names the file.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import threading
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import FileMetaDataset
from pydicom.pixels import apply_modality_lut, get_decoder
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MRImageStorage,
    generate_uid,
)

from brainjax.errors import InputError
from brainjax.scans.dicom_header import MAX_VOXELS, check_header, describe_frames
from brainjax.scans.dicom_order import Frame, in_order, slice_distance_mm

_SUFFIXES = (".dcm", ".dicom", ".ima")
_ITEM = b"\xfe\xff\x00\xe0"
_PYDICOM = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class Series:
    """One series of parallel slices.

    ``volume`` is float32 `[slices, H, W]` in the scanner's units (after rescale slope
    and intercept), dark where the picture is dark, and as the files store its rows and
    columns. ``spacing_mm`` is the distance between slices, rows and columns, 0 where
    the files do not tell it. ``files`` has the file of each slice.
    """

    volume: np.ndarray
    spacing_mm: tuple[float, float, float]
    description: str
    files: tuple[Path, ...]


def read_series(folder: str | os.PathLike[str]) -> Series:
    """Reads the slices of one series in anatomical order.

    They are sorted by ImagePositionPatient along the normal of the slices, which is
    taken to point to the left, the back or the top of the patient, so that series with
    equal planes run the same way; where positions are missing or all equal, by
    InstanceNumber; where that is missing or not unique, by the numbers in the file
    names. A slice that is there twice is taken once. MONOCHROME1 is inverted as the
    largest value of the series minus the value. Frames of multi-frame files are slices.

    Args:
      folder: a folder with the files of one series, or one (multi-frame) file.

    Raises:
      InputError: there is no DICOM file; a file cannot be read, is truncated, holds no
        picture or one in colour, or is compressed in a way for which no decoder is
        installed; slices differ in size or direction, or two at one position differ.
    """
    folder = Path(folder)
    frames: list[Frame] = []
    description = ""
    voxels = 0
    for path in (folder,) if folder.is_file() else dicom_files(folder):
        found, text = _read_file(path)
        description = description or text
        frames += found
        voxels += sum(frame.stored.size for frame in found)
        if voxels > MAX_VOXELS:
            raise InputError(
                f"{folder}: the series has more than {MAX_VOXELS:,} voxels, which are not read"
            )
        first, shape = frames[0], found[0].stored.shape
        if shape != first.stored.shape:
            raise InputError(
                f"{path}: expected slices of {_size(first.stored)} as {first.path.name}, found "
                f"{_size(found[0].stored)}; a folder must hold one series"
            )
    frames = in_order(frames, folder)
    volume = np.empty((len(frames), *frames[0].stored.shape), np.float32)
    for index, frame in enumerate(frames):
        volume[index] = frame.stored * frame.slope + frame.intercept
    if not np.isfinite(volume).all():
        raise InputError(f"{folder}: voxels are NaN or infinite; expected finite intensities")
    inverted = np.array([frame.inverted for frame in frames])
    if inverted.any():
        volume[inverted] = volume[inverted].max() - volume[inverted]
    rows, columns = frames[0].pixel_mm
    return Series(
        volume=volume,
        spacing_mm=(slice_distance_mm(frames), rows, columns),
        description=description,
        files=tuple(frame.path for frame in frames),
    )


def dicom_files(folder: str | os.PathLike[str]) -> tuple[Path, ...]:
    """The DICOM files directly in a folder, by name: ``*.dcm`` and others with their mark.

    Raises:
      InputError: the folder cannot be listed or has no DICOM file.
    """
    folder = Path(folder)
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        paths = [folder / entry.name for entry in entries if not entry.is_dir()]
        files = tuple(path for path in paths if _is_named(path) or is_dicom(path))
    except FileNotFoundError as error:
        raise InputError(f"{folder}: no such file or folder") from error
    except OSError as error:
        raise InputError(f"{folder}: cannot be listed ({error.strerror or error})") from error
    if not files:
        found = ", ".join(entry.name for entry in entries[:4]) or "nothing"
        raise InputError(f"{folder}: expected the DICOM files of one series, found {found}")
    return files


def is_dicom(path: Path) -> bool:
    """Whether a file is called ``*.dcm``, ``*.dicom`` or ``*.ima`` or starts as DICOM does."""
    if path.name.startswith(".") or path.name.upper() == "DICOMDIR":
        return False
    if _is_named(path):
        return path.is_file()
    try:
        with path.open("rb") as file:
            return _starts_as_dicom(file.read(132))
    except OSError:
        return False


def count_slices(folder: str | os.PathLike[str], *, enough: int) -> int:
    """The number of slices of a series, or ``enough`` if it has no fewer; reads no pixels.

    Headers are read only where there are fewer files than ``enough``: they may have frames.
    """
    folder = Path(folder)
    files = (folder,) if folder.is_file() else dicom_files(folder)
    if len(files) >= enough:
        return enough
    count = 0
    for path in files:
        with _quiet(), contextlib.suppress(Exception):  # reading the pixels tells what is wrong
            header = pydicom.dcmread(path, force=True, stop_before_pixels=True)
            count += max(int(header.get("NumberOfFrames") or 1), 1) - 1
        count += 1
    return min(count, enough)


def write_slice(
    path: str | os.PathLike[str],
    picture: np.ndarray,
    *,
    position_mm: Sequence[float],
    spacing_mm: Sequence[float],
    instance: int,
    patient_id: str,
    series: str,
) -> None:
    """Writes one axial slice as an MR image, uncompressed, with bytes by the arguments only.

    Not atomic: for many small files in a folder that is put in place as a whole.

    Args:
      path: where to write.
      picture: uint16 `[H, W]`, the first row in front, the first column on the right.
      position_mm: of the first pixel: left, back, up.
      spacing_mm: between slices, rows, columns.
      instance: its number in the series.
      patient_id: of the patient.
      series: description of the series.
    """
    identity = [patient_id, series, str(instance)]
    dataset = pydicom.Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = MRImageStorage
    dataset.SOPInstanceUID = generate_uid(entropy_srcs=identity)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.StudyInstanceUID = generate_uid(entropy_srcs=identity[:1])
    dataset.SeriesInstanceUID = generate_uid(entropy_srcs=identity[:2])
    dataset.Modality = "MR"
    dataset.PatientID = patient_id
    dataset.SeriesDescription = series
    dataset.InstanceNumber = instance
    dataset.ImagePositionPatient = [float(f"{value:.6g}") for value in position_mm]
    dataset.ImageOrientationPatient = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    dataset.SliceThickness = dataset.SpacingBetweenSlices = float(f"{spacing_mm[0]:.6g}")
    dataset.PixelSpacing = [float(f"{value:.6g}") for value in spacing_mm[1:]]
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = picture.shape
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelRepresentation = 0
    dataset.PixelData = np.ascontiguousarray(picture, "<u2").tobytes()
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps pydicom's warnings and log lines in; one thread at a time, as filters are shared."""
    logger = logging.getLogger("pydicom")
    with _PYDICOM, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        level = logger.level
        logger.setLevel(logging.CRITICAL + 1)
        try:
            yield
        finally:
            logger.setLevel(level)


def _is_named(path: Path) -> bool:
    return path.suffix.lower() in _SUFFIXES and not path.name.startswith(".")


def _read_file(path: Path) -> tuple[list[Frame], str]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    if not _starts_as_dicom(data):
        what = "the file is empty" if not data else "not a DICOM file (no DICM at byte 128)"
        raise InputError(f"{path}: {what}; copy it again or leave it out")
    with _quiet():
        try:
            dataset = pydicom.dcmread(io.BytesIO(data), force=True)
            count = check_header(dataset, path)
            stored = _decode(dataset, path).reshape(count, dataset.Rows, dataset.Columns)
            description = str(dataset.get("SeriesDescription") or "").strip()
            return describe_frames(dataset, stored, path), description
        except InputError:
            raise
        except Exception as error:  # parsers of damaged files raise whatever comes
            raise InputError(
                f"{path}: the DICOM data are truncated or corrupt ({_line(error)}); "
                f"copy the file again"
            ) from error


def _starts_as_dicom(data: bytes) -> bool:
    """Whether bytes have the mark DICM or, without a preamble, begin with group 2 or 8."""
    return data[128:132] == b"DICM" or data[:2] in (b"\x02\x00", b"\x08\x00", b"\x00\x08")


def _decode(dataset: Any, path: Path) -> np.ndarray:
    """The stored values, before rescaling."""
    if "TransferSyntaxUID" not in dataset.file_meta:
        if bytes(dataset.get("PixelData", b"")[:4]) == _ITEM:
            raise InputError(
                f"{path}: the pixel data are compressed and the header does not tell how "
                f"(no transfer syntax); export the file again"
            )
        implicit, little = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
    syntax = dataset.file_meta.TransferSyntaxUID
    install = "pip install 'brainjax[dicom]'"
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError as error:
        raise InputError(
            f"{path}: transfer syntax {syntax.name} cannot be decoded; export the series "
            f"uncompressed"
        ) from error
    if not decoder.is_available:
        raise InputError(
            f"{path}: the pixel data are compressed as {syntax.name}, for which no decoder is "
            f"installed: {install}"
        )
    # Some old scanners put the bits at the top of the word, not at the bottom.
    top = int(dataset.get("HighBit") or 0) + 1
    native = "BitsStored" in dataset and not syntax.is_encapsulated
    shift = max(0, top - int(dataset.BitsStored)) if native else 0
    if shift:
        dataset.BitsStored = top
    try:
        stored = dataset.pixel_array >> shift if shift else dataset.pixel_array
    except Exception as error:  # every decoder has its own
        lacking = any("pylibjpeg" in text for text in decoder.missing_dependencies)
        hint = f", or if it is sound: {install}" if lacking and syntax.is_encapsulated else ""
        raise InputError(
            f"{path}: the pixel data ({syntax.name}) cannot be decoded ({_line(error)}); "
            f"copy the file again{hint}"
        ) from error
    if "ModalityLUTSequence" in dataset:
        stored = apply_modality_lut(stored, dataset)
    return stored


def _size(picture: np.ndarray) -> str:
    return " x ".join(map(str, picture.shape))


def _line(error: Exception) -> str:
    return re.sub(r"\s+", " ", str(error) or type(error).__name__)[:300]
