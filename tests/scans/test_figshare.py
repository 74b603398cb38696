"""The figshare set as .mat files and as images with a table of folds."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy import io

from brainjax.errors import InputError
from brainjax.scans.figshare import find_figshare, is_figshare
from brainjax.scans.figshare_mat import (
    read_mat_folds,
    read_mat_label,
    read_mat_slice,
    write_mat_folds,
    write_mat_slice,
)
from brainjax.scans.image_file import read_image_file, write_image_file

IMAGE = np.arange(9 * 12).reshape(9, 12) * 20 - 100
MASK = np.zeros((9, 12), bool)
MASK[2:4, 5:9] = True


def save(path: Path, *, pid: object = "100360", label: object = 1, **arrays: object) -> Path:
    """Writes a file as MATLAB does, with h5py alone; None leaves an array away."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(pid, str):
        pid = np.array([[ord(letter)] for letter in pid], np.uint16)
    arrays = {"image": IMAGE.T.astype(np.int16), "tumorMask": MASK.T.astype(np.uint8),
              "PID": pid, "label": None if label is None else np.array([[label]], float),
              "tumorBorder": np.zeros((1, 8))} | arrays  # fmt: skip
    with h5py.File(path, "w", userblock_size=512) as file:
        file.create_group("cjdata")
        for name, array in arrays.items():
            if array is not None:
                file["cjdata"].create_dataset(name, data=array)
    return path


def test_image_and_mask_are_the_right_way_round(tmp_path):
    slice_ = read_mat_slice(save(tmp_path / "7.mat"), slice_id="set/7.mat")
    assert slice_.slice_id == "set/7.mat"
    assert slice_.image.shape == (9, 12, 1)
    expected = (IMAGE - IMAGE.min()) / np.ptp(IMAGE) * 255
    np.testing.assert_allclose(slice_.image[..., 0], expected, atol=0.51)
    np.testing.assert_array_equal(slice_.mask, MASK)


def test_mask_may_be_missing(tmp_path):
    assert read_mat_slice(save(tmp_path / "7.mat", tumorMask=None)).mask is None


@pytest.mark.parametrize(("label", "index"), [(1, 0), (2, 1), (3, 2)])
def test_labels_count_from_zero(tmp_path, label, index):
    assert read_mat_label(save(tmp_path / "1.mat", label=label)) == (index, "100360")


@pytest.mark.parametrize(
    ("pid", "text"),
    [
        ("MR033344D", "MR033344D"),
        (np.array([[49, 50, 51]], np.uint16), "123"),  # lying
        (np.array([48, 49], np.uint8), "01"),
        (np.array([[49.0, 48.0]]), "10"),
        (np.array([[100360.0]]), "100360"),
        (np.array([[100360]], np.int32), "100360"),
        (np.array([[55]], np.uint16), "7"),  # one letter, not a number
        (np.array([[49], [32], [0]], np.uint16), "1"),
        (np.bytes_(b"abc"), "abc"),
        (np.zeros((0, 0), np.uint16), ""),
        (None, ""),
    ],
)
def test_patients_in_every_form(tmp_path, pid, text):
    assert read_mat_label(save(tmp_path / "1.mat", pid=pid))[1] == text


def test_empty_and_nested_patients_of_matlab(tmp_path):
    path = save(tmp_path / "1.mat", pid=np.array([0, 0], np.uint64))
    with h5py.File(path, "r+") as file:
        file["cjdata/PID"].attrs["MATLAB_empty"] = np.uint8(1)
    assert read_mat_label(path)[1] == ""
    path = save(tmp_path / "2.mat", pid=None)
    with h5py.File(path, "r+") as file:
        file["#refs#/a"] = np.array([[65], [66]], np.uint16)
        cell = file["cjdata"].create_dataset("PID", (1, 1), h5py.ref_dtype)
        cell[0, 0] = file["#refs#/a"].ref
    assert read_mat_label(path)[1] == "AB"


def test_patients_that_are_no_text(tmp_path):
    for pid in (np.array([[3], [4]], np.uint16), np.array([[np.nan]]), np.array([[0.5, 1.5]])):
        with pytest.raises(InputError, match="PID"):
            read_mat_label(save(tmp_path / "1.mat", pid=pid))


@pytest.mark.parametrize("label", [0, 4, 1.5, -1, np.nan])
def test_wrong_labels(tmp_path, label):
    with pytest.raises(InputError, match=r"1 \(meningioma\), 2 \(glioma\) or 3"):
        read_mat_label(save(tmp_path / "1.mat", label=label))


def test_missing_label(tmp_path):
    with pytest.raises(InputError, match="cjdata/label"):
        read_mat_label(save(tmp_path / "1.mat", label=None))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"image": None}, "cjdata/image: expected a matrix"),
        ({"image": np.zeros((9, 9, 3))}, r"found \(9, 9, 3\)"),
        ({"image": np.zeros((2, 9))}, "sides from 8"),
        ({"image": np.full((9, 9), np.nan)}, "finite"),
        ({"tumorMask": np.zeros((9, 9))}, r"image's shape \(9, 12\), found \(9, 9\)"),
    ],
)
def test_matrices_that_do_not_fit(tmp_path, arrays, message):
    with pytest.raises(InputError, match=message):
        read_mat_slice(save(tmp_path / "1.mat", **arrays))


def test_huge_declared_matrix_is_not_read(tmp_path):
    path = save(tmp_path / "1.mat", image=None)
    with h5py.File(path, "r+") as file:
        file["cjdata"].create_dataset("image", (10**6, 10**6), "i2", chunks=(100, 100))
    with pytest.raises(InputError, match="1000000 x 1000000"):
        read_mat_slice(path)


def test_other_files(tmp_path):
    old, text, cut, other = (tmp_path / f"{n}.mat" for n in range(1, 5))
    io.savemat(old, {"cjdata": {"image": IMAGE}})
    text.write_text("not MATLAB")
    save(cut).write_bytes(save(cut).read_bytes()[:1500])
    with h5py.File(other, "w") as file:
        file["something"] = 1
    for path, message in ((old, "-v7.3"), (text, "damaged or other"), (cut, "damaged or other"),
                          (other, "variable cjdata, found something"),
                          (tmp_path / "no.mat", "No such file")):  # fmt: skip
        for read in (read_mat_label, read_mat_slice):
            with pytest.raises(InputError, match=message) as caught:
                read(path)
            assert "\n" not in str(caught.value)
    with h5py.File(other, "w") as file:
        file["cjdata"] = 1
    with pytest.raises(InputError):
        read_mat_label(other)


def test_written_files_are_read_back(tmp_path):
    path = tmp_path / "deep" / "1.mat"
    write_mat_slice(path, IMAGE, mask=MASK, label=2, patient="MR01")
    np.testing.assert_array_equal(read_mat_slice(path).mask, MASK)
    np.testing.assert_array_equal(read_mat_slice(path).image,
                                  read_mat_slice(save(tmp_path / "2.mat")).image)  # fmt: skip
    assert read_mat_label(path) == (2, "MR01")
    assert path.read_bytes()[:19] == b"MATLAB 7.3 MAT-file"
    write_mat_folds(tmp_path / "cvind.mat", [1, 5, 2])
    assert read_mat_folds(tmp_path / "cvind.mat").tolist() == [1, 5, 2]


def make_set(root: Path, *, folds: tuple[float, ...] | None = (2, 1, 5)) -> Path:
    for number in (1, 2, 3):
        save(root / "brainTumorDataPublic_1-766" / f"{number}.mat", label=number, pid=f"P{number}")
    (root / "README.txt").write_text("read me")
    if folds is not None:
        with h5py.File(root / "cvind.mat", "w") as file:
            file["cvind"] = np.array([folds])
    return root


def test_set_with_folds(tmp_path):
    found = find_figshare(make_set(tmp_path))
    assert is_figshare(tmp_path)
    assert found.class_names == ("meningioma", "glioma", "pituitary")
    assert [(f.slice_id[-5:], f.label, f.patient_id, f.fold) for f in found.slices] == [
        ("1.mat", 0, "P1", 2), ("2.mat", 1, "P2", 1), ("3.mat", 2, "P3", 5),
    ]  # fmt: skip
    assert "3 patients" in found.layout
    assert "cvind.mat" in found.layout


def test_set_without_folds_or_patients(tmp_path):
    root = make_set(tmp_path, folds=None)
    assert {file.fold for file in find_figshare(root).slices} == {0}
    save(root / "4.mat", pid=None)
    with pytest.raises(InputError, match=r"4\.mat.*none \(1 such\)"):
        find_figshare(root)
    for path in root.rglob("[123].mat"):
        path.unlink()
    assert any("no file names its patient" in note for note in find_figshare(root).notes)


@pytest.mark.parametrize("folds", [(1.0,), (0.0, 1.0, 2.0), (1.5, 1.0, 2.0)])
def test_folds_that_do_not_fit(tmp_path, folds):
    with pytest.raises(InputError, match="cvind"):
        find_figshare(make_set(tmp_path, folds=folds))


def test_nothing_there(tmp_path):
    assert not is_figshare(tmp_path)
    with pytest.raises(InputError, match=r"no \.mat file"):
        find_figshare(tmp_path)


def make_images(root: Path, *lines: str) -> Path:
    for name in ("glioma/2.jpg", "meningioma/1.jpg"):
        write_image_file(root / name, np.full((9, 9, 1), 5, np.uint8))
    text = "\n".join(lines or ("file,label,fold", "meningioma/1.jpg,1,3", "glioma/2.jpg,2,4"))
    (root / "folds.csv").write_text("\ufeff" + text + "\n")
    return root


def test_images_with_folds(tmp_path):
    found = find_figshare(make_images(tmp_path))
    assert [(f.slice_id, f.label, f.patient_id, f.fold) for f in found.slices] == [
        ("glioma/2.jpg", 1, "", 4), ("meningioma/1.jpg", 0, "", 3),
    ]  # fmt: skip
    assert found.class_names == ("meningioma", "glioma", "pituitary")
    write_image_file(tmp_path / "glioma/9.jpg", np.zeros((9, 9, 1), np.uint8))
    assert "1 image(s) not in folds.csv left out: glioma/9.jpg" in find_figshare(tmp_path).notes


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (("file,label", "glioma/2.jpg,2"), "expected columns file, label, fold"),
        (("file,label,fold",), "no rows"),
        (("file,label,fold", "glioma/2.jpg,4,1"), "line 2: expected label 1 to 3, found '4'"),
        (("file,label,fold", "glioma/2.jpg,2"), "line 2: expected fold"),
        (("file,label,fold", "glioma/2.jpg,x,1"), "label"),
        (("file,label,fold", "glioma/2.jpg,1,1"), "label 1 is meningioma"),
        (("file,label,fold", "../2.jpg,1,1"), "a file below"),
        (("file,label,fold", "/etc/passwd,1,1"), "a file below"),
        (("file,label,fold", "glioma/2.jpg,2,1", "glioma/2.jpg,2,1"), "twice"),
        (("file,label,fold", "glioma/8.jpg,2,1"), r"1 of 1 files are missing.*glioma/8\.jpg"),
    ],
)
def test_tables_that_do_not_fit(tmp_path, lines, message):
    with pytest.raises(InputError, match=message):
        find_figshare(make_images(tmp_path, *lines))


def test_real_images(real_data):
    found = find_figshare(real_data / "cheng")
    assert len(found.slices) == 2400
    assert {file.fold for file in found.slices} == {1, 2, 3, 4}
    for file in found.slices:
        assert found.class_names[file.label] == file.slice_id.split("/")[0]
    for file in found.slices[::300]:
        assert read_image_file(file.files[0]).shape == (256, 256, 1)
