"""From a scan to a file: normalisation, checks, geometry, label values, safety."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import nibabel as nib
import numpy as np
import pytest

from brainjax.errors import InputError
from brainjax.inference import (
    PostprocessOptions,
    SlidingWindowOptions,
    WholeVolumeOptions,
    segment_volume,
    segmentation_path,
    write_segmentation,
)
from brainjax.scans.nifti import lps_affine, read_image, spacing_mm
from brainjax.scans.normalize import zscore
from brainjax.scans.scan import MODALITIES, Volume

WINDOW = SlidingWindowOptions(patch_shape=(8, 8, 8))


def by_threshold(thresholds, patches):
    """Class k where the first channel exceeds the k-th threshold, in z-scores."""
    above = (patches[..., :1] > thresholds.reshape(1, 1, 1, 1, -1)).sum(-1)  # [N, d, h, w]
    return jax.nn.one_hot(above, 4)


THRESHOLDS = np.array([0.3, 0.8, 1.3], np.float32)


def volume_from(paths, *, label_convention="brats2020"):
    pieces = [read_image(path) for path in paths]
    grid = pieces[0][1]
    affine = lps_affine(grid)
    return Volume(
        image=np.stack([data.astype(np.float32) for data, _ in pieces], axis=-1),
        modalities=MODALITIES[: len(pieces)],
        labels=None,
        label_convention=label_convention,
        affine=affine,
        spacing_mm=spacing_mm(affine),
        patient_id="p",
        case_id="case-01",
        source=tuple(paths),
        grid=grid,
    )


AFFINES = {
    "LPS": [[-1, 0, 0, 90], [0, -1, 0, 120], [0, 0, 2, -70], [0, 0, 0, 1]],
    "RAS": [[1, 0, 0, -90], [0, 1, 0, -120], [0, 0, 2, -70], [0, 0, 0, 1]],
    "PIR": [[0, 0, 1.5, -80], [-1, 0, 0, 110], [0, -0.5, 0, 60], [0, 0, 0, 1]],
    "oblique": [[0.1, -0.99, 0, 40], [0.99, 0.1, 0, -30], [0, 0, -1, 20], [0, 0, 0, 1]],
}


def write_scan(folder, rng, *, affine=AFFINES["PIR"], shape=(11, 13, 9), modalities=2):
    """Two modalities with a brain of positive values off the middle and zero around it."""
    paths = []
    for name in MODALITIES[:modalities]:
        data = np.zeros(shape, np.int16)
        data[2:10, 1:11, 2:8] = rng.integers(1, 1000, size=(8, 10, 6))
        image = nib.Nifti1Image(data, np.array(affine, float))
        image.set_qform(np.array(affine, float), code=1)
        image.set_sform(np.array(affine, float), code=2)
        image.header.set_xyzt_units("mm")
        paths.append(folder / f"case-01_{name}.nii.gz")
        nib.save(image, paths[-1])
    return paths


def expected_classes(paths):
    """The same rule on the arrays as nibabel gives them, without brainjax' orientation."""
    raw = np.stack([np.asanyarray(nib.load(each).dataobj) for each in paths], axis=-1)
    brain = raw.sum(-1) > 0
    first = raw[..., 0].astype(np.float64)
    z = np.where(brain, (first - first[brain].mean()) / first[brain].std(), 0)
    return (z[..., None] > THRESHOLDS).sum(-1)


@pytest.mark.parametrize("orientation", sorted(AFFINES))
@pytest.mark.parametrize("options", [WINDOW, WholeVolumeOptions()])
def test_segmentation_overlays_the_scan_in_any_orientation(tmp_path, rng, orientation, options):
    paths = write_scan(tmp_path, rng, affine=AFFINES[orientation])
    volume = volume_from(paths)
    labels, probabilities = segment_volume(
        volume, by_threshold, [THRESHOLDS], options, modalities=volume.modalities
    )
    assert probabilities is None
    assert labels.dtype == np.uint8
    path = write_segmentation(tmp_path / "out", volume, labels)
    assert path == tmp_path / "out" / "case-01.nii.gz"

    written, scan = nib.load(path), nib.load(paths[0])
    assert written.shape == scan.shape
    assert written.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(written.affine, scan.affine)
    for key in ("qform_code", "sform_code"):
        assert written.header[key] == scan.header[key]
    np.testing.assert_array_equal(written.header["pixdim"], scan.header["pixdim"])
    np.testing.assert_array_equal(written.get_qform(), scan.get_qform())
    expected = np.array([0, 1, 2, 4])[expected_classes(paths)]
    np.testing.assert_array_equal(np.asanyarray(written.dataobj), expected)
    assert set(np.unique(expected)) == {0, 1, 2, 4}


@pytest.mark.parametrize(
    ("scan_convention", "output_convention", "values"),
    [
        ("brats2020", None, [0, 1, 2, 4]),
        ("brats2023", None, [0, 1, 2, 3]),
        ("msd-task01", None, [0, 2, 1, 3]),
        ("msd-task01", "brats2021", [0, 1, 2, 4]),
        ("brats2020", "msd-task01", [0, 2, 1, 3]),
    ],
)
def test_label_values_follow_the_convention(
    tmp_path, rng, scan_convention, output_convention, values
):
    volume = volume_from(write_scan(tmp_path, rng), label_convention=scan_convention)
    labels = rng.integers(0, 4, volume.image.shape[:3]).astype(np.uint8)
    path = write_segmentation(tmp_path / "out", volume, labels, output_convention=output_convention)
    back, _ = read_image(path)
    np.testing.assert_array_equal(back, np.array(values)[labels])


def test_a_class_that_the_convention_lacks_is_refused(tmp_path, rng):
    volume = volume_from(write_scan(tmp_path, rng))
    labels = np.full(volume.image.shape[:3], 4, np.uint8)
    with pytest.raises(InputError, match="brats2020"):
        write_segmentation(tmp_path / "out", volume, labels)
    with pytest.raises(InputError, match="brats1999"):
        write_segmentation(tmp_path / "out", volume, labels, output_convention="brats1999")
    assert not (tmp_path / "out").exists()
    path = write_segmentation(tmp_path / "out", volume, labels, output_convention="brats2024-gli")
    assert np.all(np.asanyarray(nib.load(path).dataobj) == 4)


def test_probabilities_are_written_on_the_same_grid(tmp_path, rng):
    paths = write_scan(tmp_path, rng)
    volume = volume_from(paths)
    labels, probabilities = segment_volume(
        volume,
        by_threshold,
        [THRESHOLDS, THRESHOLDS + 0.1],
        WINDOW,
        modalities=volume.modalities,
        with_probabilities=True,
    )
    write_segmentation(tmp_path / "out", volume, labels, probabilities=probabilities)
    written = nib.load(tmp_path / "out" / "case-01_probabilities.nii.gz")
    assert written.shape == (11, 13, 9, 4)
    assert written.get_data_dtype() == np.float32
    np.testing.assert_array_equal(written.affine, nib.load(paths[0]).affine)
    back, _ = read_image(tmp_path / "out" / "case-01_probabilities.nii.gz", ndim=4)
    np.testing.assert_array_equal(back, probabilities)
    np.testing.assert_array_equal(back.argmax(-1), labels)
    assert 0.5 in np.unique(back.round(3))
    np.testing.assert_allclose(back.sum(-1), 1, atol=1e-5)


def test_network_sees_the_normalised_image(tmp_path, rng):
    volume = volume_from(write_scan(tmp_path, rng))
    options = WholeVolumeOptions(multiple=1)

    def identity(_, patches):
        return patches

    _, seen = segment_volume(
        volume, identity, [0.0], options, modalities=volume.modalities, with_probabilities=True
    )
    np.testing.assert_array_equal(seen, zscore(volume.image))


def test_postprocessing_is_applied_to_labels_only(tmp_path, rng):
    volume = volume_from(write_scan(tmp_path, rng))
    labels, probabilities = segment_volume(
        volume,
        by_threshold,
        [THRESHOLDS],
        WINDOW,
        modalities=volume.modalities,
        postprocessing=PostprocessOptions(small_enhancing_voxels=10_000),
        with_probabilities=True,
    )
    raw = probabilities.argmax(-1)
    assert np.any(raw == 3)
    np.testing.assert_array_equal(labels, np.where(raw == 3, 1, raw))


@pytest.mark.parametrize("modalities", [("t1ce", "flair"), ("flair",), MODALITIES])
def test_another_order_of_modalities_is_refused(tmp_path, rng, modalities):
    volume = volume_from(write_scan(tmp_path, rng))
    with pytest.raises(InputError, match=r"case-01.*modalities") as error:
        segment_volume(volume, by_threshold, [THRESHOLDS], WINDOW, modalities=modalities)
    assert "\n" not in str(error.value)


def test_probabilities_that_are_not_finite_are_refused(tmp_path, rng):
    volume = volume_from(write_scan(tmp_path, rng))

    def diverged(_, patches):
        return patches * jnp.nan

    with pytest.raises(InputError, match=r"case-01.*not finite"):
        segment_volume(volume, diverged, [0.0], WINDOW, modalities=volume.modalities)


def test_files_of_the_scan_and_of_others_are_never_replaced(tmp_path, rng):
    paths = write_scan(tmp_path, rng)
    volume = volume_from(paths)
    labels = np.ones(volume.image.shape[:3], np.uint8)
    before = paths[0].read_bytes()
    with pytest.raises(InputError, match="file of the scan"):
        write_segmentation(tmp_path, volume, labels, name="case-01_flair")
    assert paths[0].read_bytes() == before

    by_hand = tmp_path / "case-01.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros((11, 13, 9), np.uint8), np.eye(4)), by_hand)
    before = by_hand.read_bytes()
    with pytest.raises(InputError, match="not written by brainjax"):
        write_segmentation(tmp_path, volume, labels)
    assert by_hand.read_bytes() == before
    by_hand.write_bytes(b"no NIfTI")
    with pytest.raises(InputError, match="not written by brainjax"):
        segmentation_path(tmp_path, volume)


def test_own_files_are_replaced(tmp_path, rng):
    volume = volume_from(write_scan(tmp_path, rng))
    probabilities = rng.random((*volume.image.shape[:3], 4)).astype(np.float32)
    for value in (1, 2):
        labels = np.full(volume.image.shape[:3], value, np.uint8)
        path = write_segmentation(tmp_path, volume, labels, probabilities=probabilities)
        assert np.all(read_image(path)[0] == value)
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        "case-01.nii.gz",
        "case-01_flair.nii.gz",
        "case-01_probabilities.nii.gz",
        "case-01_t1ce.nii.gz",
    ]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("mine", "mine.nii.gz"), ("mine.nii", "mine.nii"), ("a.b.nii.gz", "a.b.nii.gz")],
)
def test_names_keep_or_get_their_suffix(tmp_path, rng, name, expected):
    volume = volume_from(write_scan(tmp_path, rng))
    assert segmentation_path(tmp_path, volume, name=name).name == expected
    stem, dot, suffix = expected.partition(".nii")
    beside = segmentation_path(tmp_path, volume, name=name, probabilities=True)
    assert beside.name == f"{stem}_probabilities{dot}{suffix}"


@pytest.mark.parametrize("name", ["", "../case", "folder/case"])
def test_names_with_folders_are_refused(tmp_path, rng, name):
    volume = volume_from(write_scan(tmp_path, rng))
    with pytest.raises(InputError, match="name: expected a file name"):
        segmentation_path(tmp_path, volume, name=name)


def test_real_brats_space_case(real_data, tmp_path):
    folder = real_data / "tcga" / "TCGA-FG-6692"
    paths = [folder / f"TCGA-FG-6692_{name}.nii.gz" for name in MODALITIES]
    volume = dataclasses.replace(volume_from(paths), case_id="TCGA-FG-6692")
    options = SlidingWindowOptions(patch_shape=(128, 128, 128), overlap=0.25)
    labels, _ = segment_volume(volume, by_threshold, [THRESHOLDS], options, modalities=MODALITIES)
    path = write_segmentation(tmp_path, volume, labels)
    assert path.name == "TCGA-FG-6692.nii.gz"
    written, scan = nib.load(path), nib.load(paths[0])
    assert written.shape == scan.shape == (240, 240, 155)
    np.testing.assert_array_equal(written.affine, scan.affine)
    for key in ("qform_code", "sform_code", "pixdim", "xyzt_units", "dim"):
        np.testing.assert_array_equal(written.header[key], scan.header[key])
    expected = np.array([0, 1, 2, 4])[expected_classes(paths)]
    # Single precision may decide a voxel on the threshold otherwise.
    assert np.mean(np.asanyarray(written.dataobj) != expected) < 1e-6


def test_real_decathlon_case(real_data, tmp_path):
    path = real_data / "msd" / "Task01_BrainTumour" / "imagesTr" / "BRATS_009.nii.gz"
    data, grid = read_image(path, ndim=4)
    volume = Volume(
        image=np.asarray(data, np.float32)[..., [0, 2, 1, 3]],
        modalities=MODALITIES,
        labels=None,
        label_convention="msd-task01",
        affine=lps_affine(grid),
        spacing_mm=spacing_mm(grid.affine),
        patient_id="BRATS_009",
        case_id="BRATS_009",
        source=(path,),
        grid=grid,
    )
    reference = read_image(path.parents[1] / "labelsTr" / path.name)[0]  # 1 oedema, 2 core
    classes = np.array([0, 2, 1, 3], np.uint8)[reference]
    written = nib.load(write_segmentation(tmp_path, volume, classes))
    original = nib.load(path.parents[1] / "labelsTr" / path.name)
    assert written.get_filename().endswith("BRATS_009.nii.gz")
    np.testing.assert_array_equal(np.asanyarray(written.dataobj), np.asanyarray(original.dataobj))
    np.testing.assert_array_equal(written.affine, original.affine)
    np.testing.assert_array_equal(written.header["pixdim"][:4], original.header["pixdim"][:4])
    with pytest.raises(InputError, match="file of the scan"):
        segmentation_path(path.parent, volume)
    with pytest.raises(InputError, match="not written by brainjax"):
        segmentation_path(path.parents[1] / "labelsTr", volume)
