"""Image folders: the layouts, their classes, and what is left out or refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from brainjax.errors import InputError
from brainjax.scans.image_file import image_format, read_image_file, write_image_file
from brainjax.scans.image_folder import find_image_folder


def fill(folder: Path, *paths: str) -> Path:
    for number, path in enumerate(paths):
        write_image_file(folder / path, np.full((9, 9, 1), number, np.uint8))
    return folder


@pytest.mark.parametrize(
    ("names", "parts"),
    [
        (("Training", "Testing"), ("train", "test")),
        (("TRAIN", "VAL", "TEST"), ("train", "val", "test")),
        (("train", "valid", "test"), ("train", "val", "test")),
        (("train", "Validation"), ("train", "val")),
        (("Training",), ("train",)),
    ],
)
def test_parts_in_any_spelling(tmp_path, names, parts):
    root = fill(tmp_path, *(f"{name}/{kind}/1.jpg" for name in names for kind in ("b", "a")))
    found = find_image_folder(root)
    assert found.class_names == ("a", "b")
    assert found.source == "image_folder"
    assert {file.slice_id.split("/")[0]: file.part for file in found.slices} == dict(
        zip(names, parts, strict=True)
    )
    for file in found.slices:
        assert found.class_names[file.label] == file.slice_id.split("/")[1]
        assert (file.patient_id, file.fold, file.position) == ("", 0, 0.0)
        assert file.files == (root / file.slice_id,)
    ids = [file.slice_id for file in found.slices]
    assert ids == sorted(ids)
    assert found.notes == ()


def test_class_folders_alone_with_folders_in_them(tmp_path):
    found = find_image_folder(fill(tmp_path, "yes/1.jpg", "yes/deep/er/2.jpg", "no/1.jpg"))
    assert found.class_names == ("no", "yes")
    assert [(file.slice_id, file.label, file.part) for file in found.slices] == [
        ("no/1.jpg", 0, ""), ("yes/1.jpg", 1, ""), ("yes/deep/er/2.jpg", 1, ""),
    ]  # fmt: skip


def test_folder_of_an_unpacked_archive_is_looked_into(tmp_path):
    fill(tmp_path, "archive/set/Training/a/1.jpg", "archive/set/Training/b/1.jpg")
    found = find_image_folder(tmp_path)
    assert [file.part for file in found.slices] == ["train", "train"]
    assert found.slices[0].slice_id == "archive/set/Training/a/1.jpg"


def test_files_that_are_no_images_are_left_out_and_told(tmp_path):
    root = fill(tmp_path, "Training/a/1.jpg", "Training/b/1.png", "Training/a/._1.jpg",
                "extra/c/1.jpg", "Training/loose.jpg", ".hidden/d/1.jpg")  # fmt: skip
    (root / "Training/a/Thumbs.db").write_bytes(b"x")
    (root / "Training/b/text.jpg").write_text("not an image")
    (root / "Training/__MACOSX").mkdir()
    found = find_image_folder(root)
    assert [file.slice_id for file in found.slices] == ["Training/a/1.jpg", "Training/b/1.png"]
    told = "\n".join(found.notes)
    assert "3 files that are no images left out" in told
    for name in ("Training/a/._1.jpg", "Training/a/Thumbs.db", "Training/b/text.jpg",
                 "Training/loose.jpg", "extra"):  # fmt: skip
        assert name in told


def test_part_without_class_folders_is_left_out(tmp_path):
    found = find_image_folder(fill(tmp_path, "train/a/1.jpg", "train/b/1.jpg", "test/1.jpg"))
    assert len(found.slices) == 2
    assert any("test: has no class folders" in note for note in found.notes)


def test_parts_with_other_classes(tmp_path):
    fill(tmp_path, "Training/a/1.jpg", "Training/b/1.jpg", "Testing/a/1.jpg", "Testing/B/1.jpg")
    with pytest.raises(InputError, match=r"classes of Training \(a, b\), found B, a"):
        find_image_folder(tmp_path)


def test_class_without_images(tmp_path):
    fill(tmp_path, "Training/a/1.jpg", "Testing/a/1.jpg", "Testing/b/1.jpg")
    (tmp_path / "Training/b").mkdir()
    with pytest.raises(InputError, match="images of class b, found none"):
        find_image_folder(tmp_path)
    (tmp_path / "Training/b/notes.txt").write_text("x")
    with pytest.raises(InputError, match=r"1 file that are no images: Training/b/notes\.txt"):
        find_image_folder(tmp_path)
    fill(tmp_path, "Training/b/1.jpg")
    (tmp_path / "Testing/b/1.jpg").unlink()
    assert any("class b" in note for note in find_image_folder(tmp_path).notes)


def test_other_layouts_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        find_image_folder(tmp_path / "missing")
    with pytest.raises(InputError, match="an empty folder"):
        find_image_folder(tmp_path)
    fill(tmp_path, "1.jpg")
    with pytest.raises(InputError, match=r"no layout recognised.*1\.jpg"):
        find_image_folder(tmp_path)
    with pytest.raises(InputError, match="found a file"):
        find_image_folder(tmp_path / "1.jpg")
    fill(tmp_path, "only/1.jpg")
    with pytest.raises(InputError, match="found only alone"):
        find_image_folder(tmp_path)
    fill(tmp_path / "both", "train/a/1.jpg", "Training/a/1.jpg")
    with pytest.raises(InputError, match="one folder for the part train"):
        find_image_folder(tmp_path / "both")


def test_links(tmp_path):
    fill(tmp_path, "set/a/1.jpg", "elsewhere/1.jpg")
    (tmp_path / "set/b").symlink_to(tmp_path / "elsewhere")
    assert len(find_image_folder(tmp_path / "set").slices) == 2
    (tmp_path / "set/a/2.jpg").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match="leads nowhere"):
        find_image_folder(tmp_path / "set")


def test_names_that_are_no_text(tmp_path):
    fill(tmp_path, "a/1.jpg", "b/1.jpg")
    (tmp_path / "b/1.jpg").rename(tmp_path / "b" / "1\udcff.jpg")
    with pytest.raises(InputError, match="rename"):
        find_image_folder(tmp_path)


def test_real_kaggle_set(real_data):
    found = find_image_folder(real_data / "nickparvar")
    assert found.class_names == ("glioma", "meningioma", "notumor", "pituitary")
    assert len(found.slices) == 5712
    counts = np.bincount([file.label for file in found.slices])
    assert counts.tolist() == [1321, 1339, 1595, 1457]
    assert {file.part for file in found.slices} == {"train"}
    odd = [file for file in found.slices if image_format(file.files[0]) != "JPEG"]
    assert len(odd) == 5
    for file in (*odd, *found.slices[::230]):
        image = read_image_file(file.files[0])
        assert image.dtype == np.uint8
        assert image.shape[2] in (1, 3)
        assert min(image.shape[:2]) > 100
        assert image.std() > 10
