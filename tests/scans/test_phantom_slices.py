"""Made-up slices: in the sets' own layouts, deterministic, with a visible finding."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from brainjax.errors import InputError
from brainjax.scans.image_file import image_format
from brainjax.scans.phantom_slices import (
    PHANTOM_CLASSES,
    make_phantom_slices,
    write_phantom_slices,
)
from brainjax.scans.slices import find_slices, read_slice


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    root = tmp_path_factory.mktemp("made") / "images"
    return write_phantom_slices(root, layout="image_folder", seed=0, slices_per_class=5)


@pytest.fixture(scope="module")
def mats(tmp_path_factory):
    root = tmp_path_factory.mktemp("made") / "mats"
    return write_phantom_slices(root, layout="figshare", seed=0, slices_per_class=7)


def files_below(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("finding", PHANTOM_CLASSES)
def test_finding_stands_out(finding):
    pictures, masks = make_phantom_slices(
        np.random.default_rng(1), finding=finding, slices=2, size=96
    )
    again, _ = make_phantom_slices(np.random.default_rng(1), finding=finding, slices=2, size=96)
    np.testing.assert_array_equal(pictures, again)
    assert pictures.shape == masks.shape == (2, 96, 96)
    assert pictures.dtype == np.uint8
    assert (pictures.max(axis=(1, 2)) > 120).all()
    assert np.median(pictures[:, :6]) < 12  # air around the head
    if finding == "notumor":
        assert not masks.any()
        return
    assert masks.any(axis=(1, 2)).all()
    brain = (pictures > 40) & ~masks
    assert np.quantile(pictures[masks], 0.9) > 1.2 * np.median(pictures[brain])


@pytest.mark.parametrize(("finding", "slices"), [("oedema", 3), ("glioma", 1)])
def test_impossible_pictures(finding, slices):
    with pytest.raises(ValueError, match="expected"):
        make_phantom_slices(np.random.default_rng(0), finding=finding, slices=slices, size=32)


def test_image_folder(images):
    found = find_slices(images)
    assert found.source == "image_folder"
    assert found.class_names == PHANTOM_CLASSES
    parts = [(file.part, file.label) for file in found.slices]
    for label in range(4):
        assert parts.count(("train", label)) == 5
        assert parts.count(("test", label)) == 2
    kinds = [image_format(file.files[0]) for file in found.slices]
    assert kinds.count("PNG") == 8
    assert {file.files[0].suffix for file in found.slices} == {".jpg"}
    pictures = [read_slice(file).image for file in found.slices]
    assert {picture.shape[2] for picture in pictures} == {1}
    assert len({picture.shape for picture in pictures}) > 1


def test_duplicates_within_and_across_the_parts(images):
    for name in PHANTOM_CLASSES:
        first, *others = [
            (images / part / name / f"{part[:2]}-{name[:2]}_{index:04d}.jpg").read_bytes()
            for part, index in (("Training", 0), ("Training", 4), ("Testing", 1))
        ]
        assert others == [first, first]


def test_figshare(mats):
    found = find_slices(mats)
    assert found.source == "figshare"
    assert [file.slice_id for file in found.slices[:2]] == ["1.mat", "10.mat"]
    patients: dict[str, set[tuple[int, int]]] = {}
    for file in found.slices:
        patients.setdefault(file.patient_id, set()).add((file.fold, file.label))
    assert len(patients) == 9
    assert all(len(pairs) == 1 for pairs in patients.values())
    assert {fold for pairs in patients.values() for fold, _ in pairs} == {1, 2, 3}
    for file in found.slices[::5]:
        slice_ = read_slice(file)
        assert slice_.image.shape == (128, 128, 1)
        assert slice_.mask.shape == (128, 128)
        assert slice_.mask.any()


def test_rsna(tmp_path):
    root = write_phantom_slices(
        tmp_path / "made", layout="rsna", seed=0, patients=1, slices_per_series=4
    )
    assert find_slices(root).source == "rsna"


def test_second_call_reuses_and_damage_is_mended(mats, tmp_path):
    root = tmp_path / "made"
    shutil.copytree(mats, root)
    whole = files_below(root)
    arguments = {"layout": "figshare", "seed": 0, "slices_per_class": 7}
    stamps = {path: path.stat().st_mtime_ns for path in root.rglob("*.mat")}
    write_phantom_slices(root, **arguments)
    assert stamps == {path: path.stat().st_mtime_ns for path in root.rglob("*.mat")}
    (root / "1.mat").write_bytes(b"cut")
    (root / "cvind.mat").unlink()
    told = []
    write_phantom_slices(root, **arguments, progress=lambda done, total: told.append((done, total)))
    assert told == [(n + 1, 21) for n in range(21)]
    assert files_below(root) == whole
    write_phantom_slices(root, layout="figshare", seed=1, slices_per_class=4)
    assert len(find_slices(root).slices) == 12


def test_foreign_files_and_interruptions(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"notes\.txt"):
        write_phantom_slices(tmp_path / "mine", layout="image_folder", seed=0)

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_phantom_slices(tmp_path / "new", layout="figshare", seed=0, progress=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize(
    "change", [{"layout": "kaggle"}, {"seed": -1}, {"slices_per_class": 3}], ids=str
)
def test_impossible_arguments(tmp_path, change):
    arguments = {"layout": "image_folder", "seed": 0} | change
    with pytest.raises(InputError, match=next(iter(change))):
        write_phantom_slices(tmp_path / "made", **arguments)
