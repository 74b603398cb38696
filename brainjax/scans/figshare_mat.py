"""The ``.mat`` files of the figshare set, read and written; the only place that imports h5py.

They are MATLAB v7.3, which is HDF5. Each holds a group ``cjdata`` with ``image``, ``label``
(1 meningioma, 2 glioma, 3 pituitary), ``PID`` (the patient as character codes),
``tumorBorder`` and ``tumorMask``. MATLAB stores columns first, so that h5py sees every
matrix transposed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from brainjax.errors import InputError
from brainjax.files import atomic_path
from brainjax.scans.image_file import LARGEST_AREA, SMALLEST_SIDE
from brainjax.scans.slice import Slice, scale_to_uint8

FIGSHARE_CLASSES = ("meningioma", "glioma", "pituitary")
"""What the labels 1, 2 and 3 mean."""

_LONGEST_ID = 64
_MATLAB_BLOCK = 512  # bytes of text that MATLAB writes before the HDF5 file


def read_mat_slice(path: str | os.PathLike[str], *, slice_id: str = "") -> Slice:
    """Reads image and tumour mask of one ``.mat`` file, the right way round.

    The image is scaled from its least to its greatest value to 0..255.

    Args:
      path: the file.
      slice_id: of the result; by default the file's name.

    Returns:
      uint8 `[H, W, 1]` and bool `[H, W]`, or None where the file has no mask.

    Raises:
      InputError: the file is missing, damaged, of another kind, or a matrix does not fit.
    """
    with _open_cjdata(path) as cjdata:
        image = _matrix(path, cjdata, "image")
        mask = _matrix(path, cjdata, "tumorMask") > 0 if "tumorMask" in cjdata else None
    low, high = float(image.min()), float(image.max())
    if not np.isfinite([low, high]).all():
        raise InputError(f"{path}: cjdata/image: expected finite numbers, found others")
    if mask is not None and mask.shape != image.shape:
        raise InputError(
            f"{path}: cjdata/tumorMask: expected the image's shape {image.shape}, "
            f"found {mask.shape}"
        )
    return Slice(
        image=scale_to_uint8(image, low, high)[..., None],
        mask=mask,
        slice_id=slice_id or Path(path).name,
    )


def read_mat_label(path: str | os.PathLike[str]) -> tuple[int, str]:
    """Reads the class index, 0 to 2, and the patient's id, ``""`` where there is none.

    Raises:
      InputError: the file is missing, damaged or of another kind, or its label or patient
        cannot be understood.
    """
    with _open_cjdata(path) as cjdata:
        label = _vector(path, cjdata, "label")
        patient = _vector(path, cjdata, "PID") if "PID" in cjdata else np.zeros(0, np.uint16)
        kind = _matlab_class(cjdata["PID"]) if "PID" in cjdata else ""
    if label.size != 1 or label.dtype.kind not in "biuf" or label[0] not in (1, 2, 3):
        raise InputError(
            f"{path}: cjdata/label: expected 1 (meningioma), 2 (glioma) or 3 (pituitary), "
            f"found {', '.join(f'{value}' for value in label[:4]) or 'nothing'}"
        )
    return int(label[0]) - 1, _patient_id(path, patient, kind)


def read_mat_folds(path: str | os.PathLike[str]) -> np.ndarray:
    """Reads ``cvind.mat``: the fold, from 1 on, of file n.mat as the n-th entry, int `[N]`.

    Raises:
      InputError: the file is missing, damaged, or holds something else.
    """
    with _open_cjdata(path, "cvind") as stored:
        if not isinstance(stored, h5py.Dataset) or not 0 < stored.size < 2**20:
            raise InputError(f"{path}: cvind: expected a fold for each file, found something else")
        folds = np.asarray(stored[()]).ravel()
    if folds.dtype.kind not in "iuf" or not np.isin(folds, np.arange(1, 1001)).all():
        raise InputError(f"{path}: cvind: expected whole numbers from 1 on, found others")
    return folds.astype(int)


def write_mat_slice(
    path: str | os.PathLike[str], image: np.ndarray, *, mask: np.ndarray, label: int, patient: str
) -> None:
    """Writes one slice as the set's own files are.

    Args:
      path: the file.
      image: integers `[H, W]`, stored as int16.
      mask: bool `[H, W]`; the border written is that of its pixels with a neighbour outside.
      label: class index, 0 to 2.
      patient: the patient's id, ASCII.
    """
    inner = np.pad(mask, 1)
    inner = inner[:-2, 1:-1] & inner[2:, 1:-1] & inner[1:-1, :-2] & inner[1:-1, 2:]
    border = np.argwhere(mask & ~inner).astype(np.float64)
    codes = np.frombuffer(patient.encode("ascii"), np.uint8).astype(np.uint16)
    arrays = {
        "cjdata/PID": (codes[:, None], "char"),
        "cjdata/image": (image.T.astype(np.int16), "int16"),
        "cjdata/label": (np.array([[label + 1.0]]), "double"),
        "cjdata/tumorBorder": (border.reshape(1, -1), "double"),
        "cjdata/tumorMask": (mask.T.astype(np.uint8), "logical"),
    }
    _write_matlab(path, arrays)


def write_mat_folds(path: str | os.PathLike[str], folds: Sequence[int]) -> None:
    """Writes ``cvind.mat``: the fold, from 1 on, of file n.mat as the n-th of ``folds``."""
    _write_matlab(path, {"cvind": (np.asarray(folds, np.float64)[None], "double")})


@contextmanager
def _open_cjdata(path: str | os.PathLike[str], name: str = "cjdata") -> Iterator[h5py.Group]:
    """Opens a MATLAB v7.3 file at one variable and tells in a line what is wrong with it."""
    try:
        with Path(path).open("rb") as stream:
            start = stream.read(19)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    if start.startswith((b"MATLAB 5.0", b"MATLAB 7.0")):
        raise InputError(
            f"{path}: expected a MATLAB v7.3 file (HDF5), found an older one; "
            f"save it with the option -v7.3"
        )
    try:
        # Locks fail on some network drives, and nobody writes to a data set.
        with h5py.File(path, "r", locking=False) as file:
            if name not in file:
                found = ", ".join(list(file)[:5]) or "nothing"
                raise InputError(f"{path}: expected the variable {name}, found {found}")
            yield file[name]
    except InputError:
        raise
    except Exception as error:  # HDF5 raises whatever a damaged file leads it to
        reason = " ".join(str(error).split())[:160]
        raise InputError(
            f"{path}: expected a MATLAB v7.3 file (HDF5) with {name}, found a damaged or other "
            f"file ({reason}); replace it or leave it out"
        ) from error


def _matrix(path: str | os.PathLike[str], cjdata: h5py.Group, name: str) -> np.ndarray:
    """Reads a matrix `[H, W]`, which HDF5 holds as `[W, H]`."""
    stored = cjdata.get(name)
    if not isinstance(stored, h5py.Dataset) or stored.ndim != 2 or stored.dtype.kind not in "biuf":
        found = getattr(stored, "shape", None) if stored is not None else "nothing"
        raise InputError(f"{path}: cjdata/{name}: expected a matrix of numbers, found {found}")
    width, height = stored.shape
    if min(width, height) < SMALLEST_SIDE or width * height > LARGEST_AREA:
        raise InputError(
            f"{path}: cjdata/{name}: expected sides from {SMALLEST_SIDE} and at most "
            f"{LARGEST_AREA} pixels, found {width} x {height}"
        )
    return np.ascontiguousarray(stored[()].T)


def _vector(path: str | os.PathLike[str], cjdata: h5py.Group, name: str) -> np.ndarray:
    """Reads a small array as a vector, out of a cell too; of no elements where it is empty."""
    stored = cjdata.get(name)
    if isinstance(stored, h5py.Dataset) and stored.dtype == h5py.ref_dtype and stored.size == 1:
        stored = cjdata.file[stored[()].ravel()[0]]
    if not isinstance(stored, h5py.Dataset) or (stored.size or 0) > _LONGEST_ID:
        found = "nothing" if stored is None else "something else"
        raise InputError(f"{path}: cjdata/{name}: expected a small array, found {found}")
    if stored.attrs.get("MATLAB_empty", 0) or not stored.size:
        return np.zeros(0, np.uint16)
    return np.asarray(stored[()]).ravel()


def _matlab_class(stored: h5py.Dataset) -> str:
    kind = stored.attrs.get("MATLAB_class", b"")
    return kind.decode("ascii", "replace") if isinstance(kind, bytes) else str(kind)


def _patient_id(path: str | os.PathLike[str], values: np.ndarray, matlab_class: str) -> str:
    """The id in character codes, as text, or as a single number."""
    text = _as_text(values, matlab_class).strip(" \0")
    if not text.isprintable():
        raise InputError(
            f"{path}: cjdata/PID: expected the patient's id as character codes, "
            f"found {', '.join(str(value) for value in values[:8])}"
        )
    return text


def _as_text(values: np.ndarray, matlab_class: str) -> str:
    if values.dtype.kind in "SO":
        return "".join(v.decode("latin-1") if isinstance(v, bytes) else str(v) for v in values)
    if values.dtype.kind not in "iuf" or not (values == np.rint(values)).all():
        return "\x7f"
    if values.size == 1 and matlab_class != "char" and values.dtype != np.uint16:
        return f"{values[0]:.0f}"
    return "".join(chr(int(value)) if 0 <= value < 0x300 else "\x7f" for value in values)


def _write_matlab(path: str | os.PathLike[str], arrays: dict[str, tuple[np.ndarray, str]]) -> None:
    with atomic_path(path) as temporary:
        with h5py.File(temporary, "w", userblock_size=_MATLAB_BLOCK) as file:
            for name, (array, matlab_class) in arrays.items():
                file.create_dataset(name, data=array).attrs["MATLAB_class"] = np.bytes_(
                    matlab_class
                )
        text = b"MATLAB 7.3 MAT-file, made up by brainjax".ljust(124) + b"\x00\x02IM"
        with temporary.open("r+b") as stream:
            stream.write(text)
