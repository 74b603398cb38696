"""Finding slices in any layout, finding some to predict, reading one."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from brainjax.errors import InputError
from brainjax.scans.figshare_mat import write_mat_slice
from brainjax.scans.image_file import write_image_file
from brainjax.scans.phantom_series import write_phantom_series
from brainjax.scans.slice import SliceFile
from brainjax.scans.slices import SOURCES, find_slices, find_slices_to_predict, read_slice


def image(path: Path, value: int = 7) -> Path:
    write_image_file(path, np.full((9, 11, 1), value, np.uint8))
    return path


def mat(path: Path, label: int = 0) -> Path:
    ramp = np.arange(90).reshape(9, 10)
    write_mat_slice(path, ramp, mask=ramp > 80, label=label, patient="P1")
    return path


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    root = tmp_path_factory.mktemp("made") / "rsna"
    return write_phantom_series(root, patients=2, slices=4, seed=0)


def test_sources_are_told_by_their_files(tmp_path, series):
    image(tmp_path / "images" / "a" / "1.jpg")
    image(tmp_path / "images" / "b" / "1.jpg")
    mat(tmp_path / "mats" / "1.mat")
    shutil.copytree(tmp_path / "images", tmp_path / "listed")
    shutil.move(tmp_path / "listed" / "a", tmp_path / "listed" / "glioma")
    (tmp_path / "listed" / "folds.csv").write_text("file,label,fold\nglioma/1.jpg,2,1\n")
    roots = {"image_folder": tmp_path / "images", "figshare": tmp_path / "mats", "rsna": series}
    assert set(SOURCES) == set(roots)
    for source, root in roots.items():
        found = find_slices(root)
        assert found.source == source
        assert find_slices(root, source).slices == found.slices
        assert found.root == root
        ids = [file.slice_id for file in found.slices]
        assert ids == sorted(set(ids))
    assert find_slices(tmp_path / "listed").source == "figshare"
    assert len(find_slices(tmp_path / "listed", "image_folder").slices) == 2


def test_other_folders_are_refused(tmp_path):
    with pytest.raises(InputError, match="expected one of auto, rsna, figshare, image_folder"):
        find_slices(tmp_path, "kaggle")
    with pytest.raises(InputError, match="no such folder"):
        find_slices(tmp_path / "missing")
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(InputError, match=r"expected one of: RSNA.*figshare.*found notes\.txt"):
        find_slices(tmp_path)
    with pytest.raises(InputError, match="found a file"):
        find_slices(tmp_path / "notes.txt")


def test_images_to_predict(tmp_path):
    first, second = image(tmp_path / "x.jpg"), image(tmp_path / "deep/er/y.png")
    (tmp_path / "deep" / "notes.txt").write_text("x")
    found = find_slices_to_predict([first])
    assert [(f.slice_id, f.label, f.files) for f in found.slices] == [("x.jpg", None, (first,))]
    assert found.class_names == ()
    found = find_slices_to_predict([tmp_path])
    assert [file.slice_id for file in found.slices] == ["deep/er/y.png", "x.jpg"]
    assert any("1 file(s)" in note for note in found.notes)
    found = find_slices_to_predict([second, first])
    assert [file.slice_id for file in found.slices] == ["deep/er/y.png", "x.jpg"]
    assert found.root == tmp_path


def test_mat_files_to_predict(tmp_path):
    mat(tmp_path / "a" / "1.mat")
    mat(tmp_path / "b" / "1.mat", label=2)
    found = find_slices_to_predict([tmp_path / "a" / "1.mat", tmp_path / "b"])
    assert found.source == "figshare"
    assert [(f.slice_id, f.label) for f in found.slices] == [("a/1.mat", None), ("b/1.mat", None)]


def test_series_to_predict(series):
    case = sorted((series / "train").iterdir())[0]
    found = find_slices_to_predict([case])
    assert found.source == "rsna"
    assert {file.label for file in found.slices} == {None}
    assert read_slice(found.slices[0]).image.shape == (64, 64, 3)
    found = find_slices_to_predict([case / "T1w"])
    assert read_slice(found.slices[0]).image.shape == (64, 64, 1)
    dicom = next((case / "T1w").glob("Image-2.dcm"))
    assert read_slice(find_slices_to_predict([dicom]).slices[0]).image.shape == (64, 64, 1)


def test_paths_that_cannot_be_predicted(tmp_path, series):
    picture = image(tmp_path / "x.jpg")
    with pytest.raises(InputError, match="no path given"):
        find_slices_to_predict([])
    with pytest.raises(InputError, match="no such file"):
        find_slices_to_predict([tmp_path / "missing.jpg"])
    with pytest.raises(InputError, match="twice"):
        find_slices_to_predict([picture, picture])
    with pytest.raises(InputError, match="one kind at a time"):
        find_slices_to_predict([picture, mat(tmp_path / "m" / "1.mat")])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="nothing to classify"):
        find_slices_to_predict([tmp_path / "empty"])
    (tmp_path / "text.jpg").write_text("text")
    with pytest.raises(InputError, match="another kind of file"):
        find_slices_to_predict([tmp_path / "text.jpg"])
    mixed = tmp_path / "mixed"
    image(mixed / "x.jpg")
    shutil.copy(next(series.rglob("Image-2.dcm")), mixed)
    with pytest.raises(InputError, match="one kind of file"):
        find_slices_to_predict([mixed])


def test_reading_each_kind(tmp_path):
    picture = read_slice(SliceFile(slice_id="p", files=(image(tmp_path / "x.dcm.png"),)))
    assert (picture.image == 7).all()
    assert picture.mask is None
    assert picture.slice_id == "p"
    matlab = read_slice(SliceFile(slice_id="m", files=(mat(tmp_path / "1.mat"),)))
    assert matlab.mask.sum() == 9
    assert (matlab.image.min(), matlab.image.max()) == (0, 255)
    with pytest.raises(InputError, match="no such file"):
        read_slice(SliceFile(slice_id="gone", files=(tmp_path / "gone.jpg",)))


def test_threads_read_the_same(tmp_path, series):
    mat(tmp_path / "1.mat")
    image(tmp_path / "x" / "1.jpg")
    files = [
        *find_slices(series).slices[:4],
        *find_slices(tmp_path, "figshare").slices,
        *find_slices_to_predict([tmp_path / "x"]).slices,
    ] * 4
    once = [read_slice(file).image for file in files]
    with ThreadPoolExecutor(4) as pool:
        for one, other in zip(once, pool.map(read_slice, files), strict=True):
            np.testing.assert_array_equal(one, other.image)


def test_real_folders(real_data):
    assert find_slices(real_data / "cheng").source == "figshare"
    assert find_slices(real_data / "nickparvar").source == "image_folder"
    found = find_slices_to_predict([real_data / "dicom" / "T1w"])
    assert found.slices
    assert read_slice(found.slices[0]).image.shape[2] == 1
