"""One case in memory: channels in the asked order, on one grid, in LPS."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from brainjax.errors import InputError
from brainjax.scans import MODALITIES, find_cases_to_predict, find_cohort, read_volume

NEW = {"flair": "-t2f", "t1ce": "-t1c", "t1": "-t1n", "t2": "-t2w", "seg": "-seg"}
INTENSITY = {"flair": 100, "t1ce": 200, "t1": 300, "t2": 400}
RAS = np.eye(4)
Save = Callable[..., Path]


def refuse(function: Callable[[], object], *words: str) -> None:
    with pytest.raises(InputError) as caught:
        function()
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value), str(caught.value)


@pytest.mark.parametrize("order", [MODALITIES, ("t2", "t1", "t1ce", "flair"), ("t1ce",)])
@pytest.mark.parametrize("layout", ["brats2020", "brats2023", "msd"])
def test_channels_are_in_the_asked_order(
    tmp_path: Path, save_case: Save, save_task: Save, layout: str, order: tuple[str, ...]
) -> None:
    if layout == "msd":
        save_task(tmp_path / "task", order=("T2w", "t1gd", "FLAIR", "T1w"), cases=("a",))
    elif layout == "brats2023":
        save_case(tmp_path / "BraTS-GLI-00001-000", suffixes=NEW, values=(0, 1, 2, 3))
    else:
        save_case(tmp_path / "a")
    volume = read_volume(find_cohort(tmp_path).cases[0], modalities=order)
    assert volume.modalities == order
    assert volume.image.shape == (6, 5, 4, len(order))
    assert volume.image.dtype == np.float32
    assert volume.image.flags.c_contiguous
    np.testing.assert_array_equal(
        volume.image.min(axis=(0, 1, 2)), [INTENSITY[name] for name in order]
    )


def test_labels_are_classes_on_the_voxels_of_the_image(
    tmp_path: Path, save_case: Save, save_task: Save
) -> None:
    save_case(tmp_path / "a" / "a", affine=RAS)
    save_task(tmp_path / "b", cases=("b",))
    old = read_volume(find_cohort(tmp_path / "a").cases[0])
    msd = read_volume(find_cohort(tmp_path / "b").cases[0])
    stored = np.arange(120).reshape(6, 5, 4) % 4  # classes, as the fixtures write them
    np.testing.assert_array_equal(old.labels, stored[::-1, ::-1])
    np.testing.assert_array_equal(msd.labels, np.array([0, 2, 1, 3])[stored])
    assert old.labels.dtype == np.uint8
    np.testing.assert_array_equal(
        old.image[..., 0], (100 + np.arange(120).reshape(6, 5, 4) % 50)[::-1, ::-1]
    )


def test_geometry(tmp_path: Path, save_case: Save) -> None:
    affine = np.array([[0, 0, 1.5, 3], [0.9, 0, 0, 4], [0, -2, 0, 5], [0, 0, 0, 1.0]])  # AIR
    save_case(tmp_path / "a", affine=affine)
    volume = read_volume(find_cohort(tmp_path).cases[0])
    assert volume.image.shape == (4, 6, 5, 4)
    np.testing.assert_allclose(volume.spacing_mm, (1.5, 0.9, 2.0), rtol=1e-6)
    assert "".join(nib.aff2axcodes(volume.affine)) == "LPS"
    assert volume.grid.shape == (6, 5, 4)
    np.testing.assert_allclose(volume.grid.affine, affine, rtol=1e-6)


def test_who_and_from_where(tmp_path: Path, save_case: Save) -> None:
    folder = save_case(tmp_path / "BraTS-GLI-00007-001", suffixes=NEW, values=(0, 1, 2, 3))
    case = find_cohort(tmp_path).cases[0]
    volume = read_volume(case, modalities=("t2", "flair"))
    assert (volume.patient_id, volume.case_id) == ("BraTS-GLI-00007", "BraTS-GLI-00007-001")
    assert volume.label_convention == "brats2023"
    assert [path.name[len(folder.name) :] for path in volume.source] == [
        "-t2w.nii.gz",
        "-t2f.nii.gz",
        "-seg.nii.gz",
    ]
    volume = read_volume(case, with_labels=False)
    assert volume.labels is None
    assert len(volume.source) == 4


def test_codes_of_the_forms_may_differ(tmp_path: Path, save_case: Save) -> None:
    folder = save_case(tmp_path / "a")
    path = folder / "a_t1.nii.gz"
    image = nib.load(path)
    image = nib.Nifti1Image(np.asarray(image.dataobj), image.affine)
    image.set_sform(image.affine, code=4)
    image.set_qform(image.affine, code=1)
    nib.save(image, path)
    read_volume(find_cohort(tmp_path).cases[0])


@pytest.mark.parametrize("kind", ["t1", "seg"])
def test_a_file_on_another_grid_is_refused(
    tmp_path: Path, save_case: Save, save_nifti: Save, kind: str
) -> None:
    folder = save_case(tmp_path / "a")
    path = folder / f"a_{kind}.nii.gz"
    image = nib.load(path)
    data, affine = np.asarray(image.dataobj), image.affine
    case = find_cohort(tmp_path).cases[0]

    moved = affine.copy()
    moved[1, 3] += 5e-4
    save_nifti(path, data, moved)
    read_volume(case)
    moved[1, 3] += 0.01
    save_nifti(path, data, moved)
    refuse(lambda: read_volume(case), path.name, "affine", "a_flair.nii.gz", "0.0105")
    save_nifti(path, data, np.diag([1.0, -1, 1, 1]))
    refuse(lambda: read_volume(case), path.name, "orientation LPS", "found RPS")
    save_nifti(path, data, np.diag([-1.2, -1, 1, 1]))
    refuse(lambda: read_volume(case), path.name, "affine")
    save_nifti(path, data[:, :, :3], affine)
    refuse(lambda: read_volume(case), path.name, "(6, 5, 4)", "(6, 5, 3)")


def test_label_values_of_another_year_are_refused(tmp_path: Path, save_case: Save) -> None:
    save_case(tmp_path / "a")
    case = find_cohort(tmp_path).cases[0]
    refuse(
        lambda: read_volume(case, label_convention="brats2023"),
        "a_seg.nii.gz",
        "{0, 1, 2, 3}",
        "{0, 1, 2, 4}",
    )
    read_volume(case, label_convention="brats2023", with_labels=False)


def test_what_is_missing(tmp_path: Path, save_case: Save) -> None:
    save_case(tmp_path / "a", without=("t2", "seg"))
    some = ("flair", "t1ce", "t1")
    (case,) = find_cases_to_predict([tmp_path], modalities=some)
    read_volume(case, modalities=some, with_labels=False)
    refuse(lambda: read_volume(case, with_labels=False), "t2 is missing", "found flair, t1ce, t1")
    refuse(lambda: read_volume(case, modalities=some), "case a has no labels")
    refuse(lambda: read_volume(case, modalities=("t1gd",)), "t1gd")


def test_an_empty_modality_is_named(tmp_path: Path, save_case: Save, save_nifti: Save) -> None:
    save_case(tmp_path / "a")
    save_nifti(tmp_path / "a" / "a_t1ce.nii.gz", np.zeros((6, 5, 4), np.int16))
    case = find_cohort(tmp_path).cases[0]
    refuse(lambda: read_volume(case), "a_t1ce.nii.gz", "modality t1ce is 0 everywhere")


def test_a_file_with_channels_where_one_volume_is_expected(
    tmp_path: Path, save_case: Save, save_task: Save, save_nifti: Save
) -> None:
    folder = save_case(tmp_path / "old" / "a")
    save_nifti(folder / "a_t2.nii.gz", np.ones((6, 5, 4, 2), np.int16))
    refuse(lambda: read_volume(find_cohort(tmp_path / "old").cases[0]), "a_t2.nii.gz", "3 axes")
    task = save_task(tmp_path / "msd", cases=("b",))
    case = find_cohort(task).cases[0]
    save_nifti(task / "imagesTr" / "b.nii.gz", np.ones((6, 5, 4, 3), np.int16))
    refuse(lambda: read_volume(case), "expected 4 channels", "found 3")
    save_nifti(task / "imagesTr" / "b.nii.gz", np.ones((6, 5, 4), np.int16))
    refuse(lambda: read_volume(case), "4 axes")


def test_a_broken_modality_is_named(tmp_path: Path, save_case: Save) -> None:
    folder = save_case(tmp_path / "a")
    path = folder / "a_t1.nii.gz"
    path.write_bytes(path.read_bytes()[:100])
    refuse(lambda: read_volume(find_cohort(tmp_path).cases[0]), "a_t1.nii.gz", "truncated")


def test_real_cases(real_data: Path) -> None:
    volume = read_volume(find_cohort(real_data / "msd" / "Task01_BrainTumour").cases[0])
    assert volume.image.shape == (230, 239, 55, 4)
    assert volume.labels is not None
    # The file holds 122,275 voxels of 1 (oedema) and 32,168 of 2 (non-enhancing).
    np.testing.assert_array_equal(
        np.bincount(volume.labels.ravel()), [2826541, 32168, 122275, 42366]
    )
    source = nib.load(volume.source[0])
    t1gd = np.asarray(source.dataobj)[..., 2]  # RAS on disk
    np.testing.assert_array_equal(volume.image[..., 1], t1gd[::-1, ::-1])
    (case,) = find_cases_to_predict([real_data / "tcga" / "TCGA-FG-6692"])
    volume = read_volume(case, with_labels=False)
    assert volume.image.shape == (240, 240, 155, 4)
    np.testing.assert_array_equal(volume.affine, volume.grid.affine)


def test_scans_do_not_import_jax() -> None:
    code = "import brainjax.scans, sys; assert 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
