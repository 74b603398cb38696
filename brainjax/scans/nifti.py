"""Reads and writes NIfTI files; the only place that imports nibabel.

A file is not trusted: its header is read first and checked, and no more is
allocated or decompressed than the header declares and the limits here allow.
"""

from __future__ import annotations

import gzip
import logging
import math
import os
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import nibabel as nib
import numpy as np
from nibabel import orientations
from nibabel.spatialimages import HeaderDataError

from brainjax.errors import InputError
from brainjax.files import atomic_path
from brainjax.scans.scan import Grid

MAX_VOXELS = 2**28
"""Largest number of voxels in one file: 7 times a four-channel BraTS case."""

_MAX_HEADER_BYTES = 2**24
_MAX_TRAILING_BYTES = 4096
_MAX_DEFLATE_RATIO = 1040  # deflate cannot pack tighter than 1032 to 1
_CHUNK_BYTES = 2**20
_VOXEL_MM = (0.01, 100.0)
_LPS = orientations.axcodes2ornt(("L", "P", "S"))
_QUIET = logging.Logger("brainjax.scans.nifti", level=logging.CRITICAL)


def read_image(path: str | os.PathLike[str], *, ndim: int = 3) -> tuple[np.ndarray, Grid]:
    """Reads a NIfTI file into LPS order.

    Args:
      path: a ``.nii`` or ``.nii.gz`` file.
      ndim: 3 for a volume, 4 for a volume with channels.

    Returns:
      The array, `[D, H, W]` or `[D, H, W, C]`, a view; float32 where the file holds
      real numbers or scales its integers, otherwise the file's own integer type. And
      the geometry of the file.

    Raises:
      InputError: the file is missing, cannot be read, is not NIfTI, is truncated or
        corrupt, declares more than ``MAX_VOXELS`` or more than it holds, has another
        number of axes, a dtype that is no real number, values that are not finite, or
        a geometry that cannot be inverted.
    """
    path = Path(path)
    try:
        size = _file_size(path)
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            stream = gzip.GzipFile(fileobj=file, mode="rb") if packed else file
            header = _read_header(stream, path)
            shape, dtype = _declared(header, path, ndim=ndim)
            grid = Grid(
                shape=(shape[0], shape[1], shape[2]), affine=_affine(header, path), header=header
            )
            limit = size * _MAX_DEFLATE_RATIO if packed else size
            raw = _read_voxels(stream, path, shape=shape, dtype=dtype, limit=limit)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(
            f"{path}: the gzip data are truncated or corrupt ({error}); copy the file again"
        ) from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    values = _scaled(raw.view(dtype).reshape(shape, order="F"), header, path)
    if np.issubdtype(values.dtype, np.floating):
        bad = values.size - int(np.count_nonzero(np.isfinite(values)))
        if bad:
            raise InputError(
                f"{path}: {bad} of {values.size} voxels are NaN or infinite; "
                f"expected finite intensities: repair or leave out this file"
            )
    return to_lps(values, grid), grid


def to_lps(array: np.ndarray, grid: Grid) -> np.ndarray:
    """Views an array in file order `[X, Y, Z, ...]` in LPS order `[D, H, W, ...]`."""
    transform = orientations.ornt_transform(orientations.io_orientation(grid.affine), _LPS)
    return orientations.apply_orientation(array, transform)


def from_lps(array: np.ndarray, grid: Grid) -> np.ndarray:
    """Views an array in LPS order `[D, H, W, ...]` in the file's order `[X, Y, Z, ...]`."""
    transform = orientations.ornt_transform(_LPS, orientations.io_orientation(grid.affine))
    return orientations.apply_orientation(array, transform)


def lps_affine(grid: Grid) -> np.ndarray:
    """The affine `[4, 4]` from indices in LPS order to RAS+ millimetres."""
    transform = orientations.ornt_transform(orientations.io_orientation(grid.affine), _LPS)
    return grid.affine @ orientations.inv_ornt_aff(transform, grid.shape)


def spacing_mm(affine: np.ndarray) -> tuple[float, float, float]:
    """The distance of neighbouring voxels along the three axes of an affine, in mm.

    >>> spacing_mm(np.diag([-1.0, -1.0, 2.5, 1.0]))
    (1.0, 1.0, 2.5)
    """
    first, second, third = np.sqrt(np.square(affine[:3, :3]).sum(axis=0)).tolist()
    return first, second, third


def orientation(affine: np.ndarray) -> str:
    """The directions in which the three indices grow, such as ``"LPS"``.

    >>> orientation(np.diag([-1.0, -1.0, 1.0, 1.0]))
    'LPS'
    """
    return "".join(nib.aff2axcodes(affine))


def new_grid(shape: tuple[int, int, int], affine: np.ndarray) -> Grid:
    """Makes the geometry of a file that does not come from another file.

    Args:
      shape: voxels along the file's axes.
      affine: `[4, 4]`, from indices to RAS+ millimetres.
    """
    header = nib.Nifti1Header()
    header.set_data_shape(shape)
    header.set_zooms(spacing_mm(np.asarray(affine)))
    header.set_xyzt_units("mm", "sec")
    header.set_qform(affine, code="aligned")
    header.set_sform(affine, code="aligned")
    return Grid(shape=shape, affine=np.array(header.get_best_affine(), np.float64), header=header)


def write_array(
    path: str | os.PathLike[str], array: np.ndarray, grid: Grid, *, dtype: Any = np.uint8
) -> None:
    """Writes an array in LPS order onto the grid of the file that it came from, atomically.

    The file has the grid's shape, affine, zooms, qform, sform, their codes and the
    units, no scaling, and bytes that depend on the arguments only.

    Args:
      path: where to write, ``.nii`` or ``.nii.gz``.
      array: `[D, H, W]` or `[D, H, W, K]`; its values must fit ``dtype``.
      grid: geometry of the input.
      dtype: voxel type in the file.

    Raises:
      InputError: the name has another suffix or the place cannot be written.
      ValueError: the array's shape is not the grid's.
    """
    path = Path(path)
    if not path.name.lower().endswith((".nii", ".nii.gz")):
        raise InputError(f"{path}: expected a name that ends in .nii or .nii.gz")
    values = from_lps(array, grid)
    if values.shape[:3] != grid.shape or values.ndim not in (3, 4):
        raise ValueError(
            f"array of shape {array.shape} in LPS order is {values.shape} in the order of the "
            f"file, which has {grid.shape}"
        )
    header = grid.header.copy().as_byteswapped("<")
    header.set_data_dtype(dtype)
    header["vox_offset"] = 0
    header["cal_min"] = header["cal_max"] = 0
    header["descrip"] = b"brainjax"
    header.set_intent("none")
    kind = nib.Nifti2Image if isinstance(header, nib.Nifti2Header) else nib.Nifti1Image
    image = kind(np.asarray(values, dtype=dtype), None, header)
    try:
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            if path.name.lower().endswith(".gz"):
                with gzip.GzipFile("", "wb", 1, file, mtime=0) as packed:
                    image.to_stream(packed)
            else:
                image.to_stream(file)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error})") from error


def packed_array(array: np.ndarray, affine: np.ndarray) -> bytes:
    """The bytes of a ``.nii.gz`` of ``array`` [D, H, W]; ``affine`` takes its indices to RAS+."""
    header = new_grid((array.shape[0], array.shape[1], array.shape[2]), affine).header
    header.set_data_dtype(array.dtype)
    return gzip.compress(nib.Nifti1Image(array, None, header).to_bytes(), mtime=0)


def _file_size(path: Path) -> int:
    if not path.exists():
        raise InputError(f"{path}: no such file")
    if not path.is_file():
        kind = "folder" if path.is_dir() else "special file"
        raise InputError(f"{path}: expected a NIfTI file, found a {kind}")
    size = path.stat().st_size
    if not size:
        raise InputError(f"{path}: the file is empty; copy it again")
    return size


def _read_header(stream: BinaryIO | gzip.GzipFile, path: Path) -> Any:
    start = stream.read(348)
    sizes = {int.from_bytes(start[:4], "little"), int.from_bytes(start[:4], "big")}
    kind = nib.Nifti1Header
    if 540 in sizes:
        kind, start = nib.Nifti2Header, start + stream.read(540 - 348)
    if not sizes & {348, 540} or len(start) not in sizes:
        raise InputError(f"{path}: not a NIfTI file: it does not start with a NIfTI header")
    header = kind(start, check=False)
    magic = bytes(header["magic"])
    if not magic.startswith(b"n+"):
        raise InputError(
            f"{path}: expected NIfTI in a single file (magic n+1 or n+2), found magic {magic!r}; "
            f"convert an .hdr/.img pair to .nii.gz"
        )
    zooms = np.array(header["pixdim"][1:4], float)
    if header["sform_code"] <= 0 and not (np.isfinite(zooms).all() and zooms.all()):
        raise InputError(
            f"{path}: the header has no sform and voxel sizes {zooms.tolist()}; "
            f"expected positive millimetres"
        )
    try:
        header.check_fix(logger=_QUIET, error_level=40)
    except (HeaderDataError, ValueError) as error:
        raise InputError(f"{path}: the NIfTI header is not valid ({_line(error)})") from error
    offset = float(header["vox_offset"]) or float(header.single_vox_offset)
    if not len(start) <= offset <= _MAX_HEADER_BYTES:
        raise InputError(
            f"{path}: the header puts the voxels at byte {offset:g}, "
            f"expected {len(start)} to {_MAX_HEADER_BYTES}"
        )
    gap = int(offset) - len(start)
    if len(stream.read(gap)) < gap:
        raise InputError(f"{path}: the file ends within its header; copy it again")
    return header


def _declared(header: Any, path: Path, *, ndim: int) -> tuple[tuple[int, ...], np.dtype]:
    count = int(header["dim"][0])
    sizes = [int(size) for size in header["dim"][1 : max(count, 0) + 1]]
    if not 1 <= count <= 7 or min(sizes) < 1:
        raise InputError(
            f"{path}: expected 1 to 7 axes of positive size, found {count} axes of sizes {sizes}"
        )
    while len(sizes) > ndim and sizes[-1] == 1:
        sizes.pop()
    if ndim == 4 and len(sizes) == 3 and count >= 4:
        sizes.append(1)
    if len(sizes) != ndim:
        raise InputError(
            f"{path}: expected an image with {ndim} axes, found {len(sizes)} (sizes {sizes})"
        )
    voxels = math.prod(sizes)
    if voxels > MAX_VOXELS:
        raise InputError(
            f"{path}: the header declares {voxels:,} voxels (sizes {sizes}); "
            f"more than {MAX_VOXELS:,} are not read"
        )
    dtype = header.get_data_dtype()
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise InputError(
            f"{path}: expected voxels that are integers or real numbers of up to 64 bits, "
            f"found {header.get_value_label('datatype')}"
        )
    return tuple(sizes), dtype


def _affine(header: Any, path: Path) -> np.ndarray:
    try:
        affine = np.array(header.get_best_affine(), np.float64)
    except (HeaderDataError, ValueError) as error:
        raise InputError(f"{path}: the orientation is not valid ({_line(error)})") from error
    lengths = np.sqrt(np.square(affine[:3, :3]).sum(axis=0))
    plausible = bool(np.isfinite(affine).all() and lengths.all())
    # Axes of length 1: the determinant is their angle's sine, 0 when they lie in a plane.
    if not plausible or abs(np.linalg.det(affine[:3, :3] / lengths)) < 1e-3:
        raise InputError(
            f"{path}: the affine {affine[:3].tolist()} cannot be inverted; "
            f"expected three independent axes: repair the header"
        )
    if lengths.min() < _VOXEL_MM[0] or lengths.max() > _VOXEL_MM[1]:
        units = header.get_xyzt_units()[0]
        raise InputError(
            f"{path}: voxels of {lengths.tolist()} mm are not plausible (the header's unit is "
            f"{units}); expected {_VOXEL_MM[0]:g} to {_VOXEL_MM[1]:g} mm"
        )
    return affine


def _read_voxels(
    stream: BinaryIO | gzip.GzipFile,
    path: Path,
    *,
    shape: tuple[int, ...],
    dtype: np.dtype,
    limit: int,
) -> np.ndarray:
    expected = math.prod(shape) * dtype.itemsize
    if expected > limit:
        raise InputError(
            f"{path}: the header declares {expected:,} bytes of voxels (sizes {list(shape)}), "
            f"more than the file can hold: it is truncated or its header is wrong"
        )
    raw = np.empty(expected, np.uint8)
    found = 0
    while found < expected:
        count = stream.readinto(raw.data[found : found + _CHUNK_BYTES])  # type: ignore[union-attr]
        if not count:
            raise InputError(
                f"{path}: truncated: the header declares {expected:,} bytes of voxels, "
                f"found {found:,}; copy the file again"
            )
        found += count
    # Reading on to the end makes gzip compare its checksum. Padding is let pass, a slice is not.
    allowed = min(_MAX_TRAILING_BYTES, shape[0] * shape[1] * dtype.itemsize - 1)
    if len(stream.read(allowed + 1)) > allowed:
        raise InputError(
            f"{path}: the file holds more than the {expected:,} bytes of voxels that its header "
            f"declares (sizes {list(shape)}): one of them is wrong"
        )
    return raw


def _scaled(stored: np.ndarray, header: Any, path: Path) -> np.ndarray:
    slope, inter = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or math.isnan(slope):
        slope, inter = 1.0, 0.0
    if not (math.isfinite(slope) and math.isfinite(inter)):
        raise InputError(
            f"{path}: expected a finite scale, found scl_slope {slope:g} and scl_inter {inter:g}"
        )
    if stored.dtype.kind != "f" and (slope, inter) == (1, 0):
        return stored
    # What overflows here becomes infinite, and read_image refuses it.
    with np.errstate(over="ignore", invalid="ignore"):
        if (slope, inter) == (1, 0):
            return stored.astype(np.float32)
        return (stored * np.float64(slope) + np.float64(inter)).astype(np.float32)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
