"""NIfTI files come back on their own grid, whatever their orientation."""

from __future__ import annotations

import gzip
import itertools
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from brainjax.errors import InputError
from brainjax.scans.nifti import (
    from_lps,
    lps_affine,
    new_grid,
    orientation,
    read_image,
    spacing_mm,
    to_lps,
    write_array,
)

SHAPE = (4, 5, 6)
ORIENTATIONS = [
    "".join(pair[sign] for pair, sign in zip(order, signs, strict=True))
    for order in itertools.permutations(("LR", "PA", "IS"))
    for signs in itertools.product((0, 1), repeat=3)
]


def affine_of(codes: str, *, zooms: tuple[float, ...] = (0.9, 1.1, 2.5), tilt: float = 0.0):
    """An affine whose axes grow towards ``codes``, turned by ``tilt`` radians about two axes."""
    matrix = np.zeros((3, 3))
    for column, code in enumerate(codes):
        row = next(n for n, pair in enumerate(("LR", "PA", "IS")) if code in pair)
        matrix[row, column] = zooms[column] * (1 if code in "RAS" else -1)
    c, s = np.cos(tilt), np.sin(tilt)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.array(
        [[1, 0, 0], [0, c, -s], [0, s, c]]
    )
    affine = np.eye(4)
    affine[:3, :3] = turn @ matrix
    affine[:3, 3] = (-12.5, 33.25, 7.0)
    return affine


def world(affine: np.ndarray, index: tuple[int, ...]) -> np.ndarray:
    return (affine @ (*index, 1))[:3]


@pytest.mark.parametrize("tilt", [0.0, 0.3])
@pytest.mark.parametrize("codes", ORIENTATIONS)
def test_round_trip_in_every_orientation(tmp_path: Path, codes: str, tilt: float) -> None:
    affine = affine_of(codes, tilt=tilt)
    stored = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)
    nib.save(nib.Nifti1Image(stored, affine), tmp_path / "in.nii.gz")
    source = nib.load(tmp_path / "in.nii.gz")

    array, grid = read_image(tmp_path / "in.nii.gz")
    assert grid.shape == SHAPE
    assert orientation(grid.affine) == codes
    assert orientation(lps_affine(grid)) == "LPS"
    # The same voxel lies at the same place in the world.
    marked = tuple(int(n) for n in np.argwhere(array == stored[1, 2, 4])[0])
    np.testing.assert_allclose(
        world(lps_affine(grid), marked), world(source.affine, (1, 2, 4)), atol=1e-4
    )
    expected = np.sort(np.array([0.9, 1.1, 2.5]))
    np.testing.assert_allclose(np.sort(spacing_mm(lps_affine(grid))), expected, atol=1e-5)

    write_array(tmp_path / "out.nii.gz", array, grid, dtype=np.uint8)
    written = nib.load(tmp_path / "out.nii.gz")
    np.testing.assert_array_equal(np.asarray(written.dataobj), stored)
    np.testing.assert_array_equal(written.affine, source.affine)
    assert written.get_data_dtype() == np.uint8
    for field in ("qform_code", "sform_code", "xyzt_units", "dim", "quatern_b", "srow_x"):
        np.testing.assert_array_equal(written.header[field], source.header[field], err_msg=field)
    np.testing.assert_array_equal(written.header["pixdim"][:4], source.header["pixdim"][:4])


def test_there_are_48_orientations() -> None:
    assert len(set(ORIENTATIONS)) == 48


def test_views_are_inverse(rng: np.random.Generator) -> None:
    for codes in ORIENTATIONS:
        grid = new_grid(SHAPE, affine_of(codes))
        array = rng.integers(0, 9, (*SHAPE, 2))
        np.testing.assert_array_equal(from_lps(to_lps(array, grid), grid), array)


def test_lps_means_right_to_left_front_to_back_bottom_to_top(tmp_path: Path) -> None:
    stored = np.zeros((2, 2, 2), np.uint8)
    stored[0, 1, 1] = 9  # RAS: left, anterior, superior
    nib.save(nib.Nifti1Image(stored, np.eye(4)), tmp_path / "a.nii")
    array, _ = read_image(tmp_path / "a.nii")
    assert array[1, 0, 1] == 9


@pytest.mark.parametrize(("qform", "sform"), [(0, 0), (1, 0), (0, 2), (2, 1), (3, 4)])
def test_codes_of_the_forms_survive(tmp_path: Path, qform: int, sform: int) -> None:
    image = nib.Nifti1Image(np.ones(SHAPE, np.int16), None)
    image.header.set_zooms((1, 1, 3))
    image.header.set_qform(affine_of("RPS") if qform else None, code=qform)
    image.header.set_sform(affine_of("RPS") if sform else None, code=sform)
    image = nib.Nifti1Image(np.ones(SHAPE, np.int16), None, image.header)
    nib.save(image, tmp_path / "in.nii.gz")
    source = nib.load(tmp_path / "in.nii.gz")
    array, grid = read_image(tmp_path / "in.nii.gz")
    write_array(tmp_path / "out.nii", array, grid)
    written = nib.load(tmp_path / "out.nii")
    assert (int(written.header["qform_code"]), int(written.header["sform_code"])) == (qform, sform)
    np.testing.assert_array_equal(written.affine, source.affine)


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("order", ["<", ">"])
def test_versions_and_byte_orders(tmp_path: Path, kind: type, order: str) -> None:
    stored = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)
    header = kind.header_class(endianness=order)
    header.set_data_dtype(np.int16)
    nib.save(kind(stored, affine_of("LPS"), header), tmp_path / "in.nii.gz")
    array, grid = read_image(tmp_path / "in.nii.gz")
    np.testing.assert_array_equal(array, stored)
    write_array(tmp_path / "out.nii.gz", array, grid)
    written = nib.load(tmp_path / "out.nii.gz")
    assert isinstance(written, kind)
    np.testing.assert_array_equal(np.asarray(written.dataobj), stored)
    np.testing.assert_array_equal(written.affine, nib.load(tmp_path / "in.nii.gz").affine)


def test_scale_in_the_header_is_honoured(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.arange(8, dtype=np.int16).reshape(2, 2, 2), np.eye(4))
    image.header.set_slope_inter(0.5, -3)
    nib.save(image, tmp_path / "a.nii.gz")
    array, grid = read_image(tmp_path / "a.nii.gz")
    assert array.dtype == np.float32
    np.testing.assert_array_equal(
        from_lps(array, grid), nib.load(tmp_path / "a.nii.gz").get_fdata()
    )
    write_array(tmp_path / "b.nii", np.ones((2, 2, 2), np.uint8), grid)
    raw = nib.Nifti1Header((tmp_path / "b.nii").read_bytes()[:348])
    assert (float(raw["scl_slope"]), float(raw["scl_inter"])) == (1, 0)


def test_probabilities_are_four_dimensional(tmp_path: Path, rng: np.random.Generator) -> None:
    grid = new_grid(SHAPE, affine_of("ASR"))
    probabilities = rng.random((*to_lps(np.empty(SHAPE), grid).shape, 4)).astype(np.float32)
    write_array(tmp_path / "p.nii.gz", probabilities, grid, dtype=np.float32)
    written = nib.load(tmp_path / "p.nii.gz")
    assert written.shape == (*SHAPE, 4)
    np.testing.assert_array_equal(written.affine, grid.affine.astype(np.float32))
    array, _ = read_image(tmp_path / "p.nii.gz", ndim=4)
    np.testing.assert_array_equal(array, probabilities)


def test_trailing_axes_of_length_one(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(np.ones((*SHAPE, 1), np.int16), np.eye(4)), tmp_path / "a.nii")
    array, grid = read_image(tmp_path / "a.nii")
    assert grid.shape == SHAPE
    write_array(tmp_path / "b.nii", array, grid)
    assert nib.load(tmp_path / "b.nii").shape == SHAPE
    assert read_image(tmp_path / "a.nii", ndim=4)[0].shape == (*SHAPE, 1)


def test_the_written_bytes_depend_on_the_arguments_only(tmp_path: Path) -> None:
    grid = new_grid(SHAPE, affine_of("LPS"))
    for name in ("one.nii.gz", "two.nii.gz"):
        write_array(tmp_path / name, np.ones(SHAPE, np.uint8), grid)
    assert (tmp_path / "one.nii.gz").read_bytes() == (tmp_path / "two.nii.gz").read_bytes()


def test_display_range_of_the_scan_is_not_given_to_labels(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.ones(SHAPE, np.int16), np.eye(4))
    image.header["cal_max"] = 900
    image.header["descrip"] = b"name of somebody"
    nib.save(image, tmp_path / "a.nii")
    array, grid = read_image(tmp_path / "a.nii")
    write_array(tmp_path / "b.nii", array, grid)
    written = nib.load(tmp_path / "b.nii").header
    assert float(written["cal_max"]) == 0
    assert written["descrip"].item() == b"brainjax"


def test_extensions_are_skipped_and_not_copied(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.arange(8, dtype=np.int16).reshape(2, 2, 2), np.eye(4))
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"patient" * 9))
    nib.save(image, tmp_path / "a.nii.gz")
    array, grid = read_image(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(from_lps(array, grid).ravel(), range(8))
    write_array(tmp_path / "b.nii.gz", array, grid)
    assert b"patient" not in gzip.decompress((tmp_path / "b.nii.gz").read_bytes())
    np.testing.assert_array_equal(
        np.asarray(nib.load(tmp_path / "b.nii.gz").dataobj).ravel(), range(8)
    )


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    grid = new_grid(SHAPE, np.eye(4))
    target = tmp_path / "a.nii.gz"
    write_array(target, np.ones(SHAPE, np.uint8), grid)
    before = target.read_bytes()
    with pytest.raises(ValueError, match=r"shape \(2, 2, 2\)"):
        write_array(target, np.ones((2, 2, 2), np.uint8), grid)
    with pytest.raises(InputError, match=r"ends in \.nii"):
        write_array(tmp_path / "a.mha", np.ones(SHAPE, np.uint8), grid)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        write_array(tmp_path / "file" / "a.nii", np.ones(SHAPE, np.uint8), grid)
    assert target.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.nii.gz", "file"]


def test_real_scans_keep_their_grid(real_data: Path, tmp_path: Path) -> None:
    scans = sorted((real_data / "tcga").rglob("*_t1*.nii.gz"))
    labels = sorted((real_data / "msd" / "Task01_BrainTumour" / "labelsTr").glob("[!.]*.nii.gz"))
    assert scans
    assert labels
    for path in (*scans, *labels):
        source = nib.load(path)
        array, grid = read_image(path)
        write_array(tmp_path / "out.nii.gz", array, grid, dtype=np.int16)
        written = nib.load(tmp_path / "out.nii.gz")
        assert written.shape == source.shape
        np.testing.assert_array_equal(written.affine, source.affine)
        np.testing.assert_array_equal(np.asarray(written.dataobj), np.asarray(source.dataobj))
        for field in ("qform_code", "sform_code", "xyzt_units", "pixdim", "quatern_d", "qoffset_y"):
            np.testing.assert_array_equal(
                written.header[field], source.header[field], err_msg=field
            )
