"""Prepared slices: what is stored, when it is reused, what happens when something breaks."""

from __future__ import annotations

import dataclasses
import errno
import os
import pickle
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from brainjax.errors import InputError
from brainjax.records import array_records, fingerprint, slice_prepare
from brainjax.records.fit_image import fit_image
from brainjax.records.picture_hashes import hash_pixels, make_thumbnail
from brainjax.records.slice_builder import read_slice_records
from brainjax.records.slice_prepare import prepare_slices
from brainjax.records.slice_records import SliceRecords, open_slices
from brainjax.records.slice_schema import SliceRecordOptions
from brainjax.scans.slice import SliceSet
from brainjax.scans.slices import find_slices, read_slice
from tests.records.slice_writer import CLASS_NAMES, write_slices

OPTIONS = SliceRecordOptions(image_size=(12, 10), fit="pad", crop_to_head=True)


def entries(directory: Path) -> list[str]:
    return sorted(path.name.split("-")[0] for path in directory.iterdir())


@pytest.fixture
def slice_set(tmp_path: Path) -> SliceSet:
    return write_slices(tmp_path / "raw", 6)


@pytest.fixture
def records(slice_set: SliceSet, tmp_path: Path) -> SliceRecords:
    return prepare_slices(slice_set, tmp_path / "records", options=OPTIONS)


def test_stores_every_slice_and_what_is_known_of_it(
    slice_set: SliceSet, records: SliceRecords
) -> None:
    assert len(records) == 6
    assert records.images.shape == (6, 12, 10, 1)
    assert records.images.dtype == np.uint8
    assert not records.images.flags.writeable
    for index, (file, record) in enumerate(zip(slice_set.slices, records.slices, strict=True)):
        image = read_slice(file).image
        np.testing.assert_array_equal(records.images[index], fit_image(image, OPTIONS))
        np.testing.assert_array_equal(records.thumbnails[index], make_thumbnail(image))
        for name in ("slice_id", "patient_id", "label", "part", "fold"):
            assert getattr(record, name) == getattr(file, name)
        assert record.original_shape == (40, 36, 1)
        assert record.digest == hash_pixels(image)
    assert records.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert records.labels.dtype == np.int32
    assert records.class_names == CLASS_NAMES
    assert records.options == OPTIONS
    assert records.notes == ("one file was left out",)
    assert records.reason == "they do not exist yet"


def test_array_record_holds_the_same_as_the_arrays(records: SliceRecords) -> None:
    for index, example in enumerate(read_slice_records(records.folder, range(6))):
        assert example.record == records.slices[index]
        np.testing.assert_array_equal(example.image, records.images[index])
        np.testing.assert_array_equal(example.thumbnail, records.thumbnails[index])


def test_tensorflow_datasets_reads_it_without_our_builder(records: SliceRecords) -> None:
    folder = records.folder / "brain_slices" / "1.0.0"
    source = tfds.builder_from_directory(str(folder)).as_data_source("all")
    assert [one["slice_id"].decode() for one in source] == [s.slice_id for s in records.slices]
    assert source[0]["image"].dtype == np.uint8
    assert "tensorflow" not in sys.modules


def test_many_slices_are_spread_over_parts_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(array_records, "PART_BYTES", 2 * (120 + 4096))
    slice_set = write_slices(tmp_path / "raw", 23)
    records = prepare_slices(slice_set, tmp_path / "records", options=OPTIONS)
    assert len(list(records.folder.rglob("*.array_record*"))) == 12
    read = tuple(example.record for example in read_slice_records(records.folder, range(23)))
    assert read == records.slices


def test_unlabelled_slices_can_be_stored(slice_set: SliceSet, tmp_path: Path) -> None:
    unlabelled = tuple(dataclasses.replace(one, label=None) for one in slice_set.slices)
    records = prepare_slices(
        dataclasses.replace(slice_set, slices=unlabelled), tmp_path / "records", options=OPTIONS
    )
    assert records.labels.tolist() == [-1] * 6
    assert next(iter(read_slice_records(records.folder, [0]))).record.label is None


def test_progress_counts_slices_and_nothing_is_printed(
    slice_set: SliceSet, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    seen: list[tuple[int, int, float]] = []
    prepare_slices(
        slice_set, tmp_path / "records", options=OPTIONS, progress=lambda *now: seen.append(now)
    )
    assert [(done, total) for done, total, _ in seen] == [(n + 1, 6) for n in range(6)]
    assert capfd.readouterr() == ("", "")


def test_is_reused_while_nothing_changes(slice_set: SliceSet, records: SliceRecords) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("prepared again")

    threads = dataclasses.replace(OPTIONS, read_threads=5)
    again = prepare_slices(slice_set, records.directory, options=threads, progress=refuse)
    assert again.reason == ""
    assert again.folder == records.folder
    assert open_slices(records.directory).slices == records.slices


def test_a_moved_set_with_new_times_is_reused(slice_set: SliceSet, records: SliceRecords) -> None:
    moved = slice_set.root.with_name("moved")
    shutil.copytree(slice_set.root, moved, copy_function=shutil.copyfile)
    files = tuple(
        dataclasses.replace(one, files=(moved / one.slice_id,)) for one in slice_set.slices
    )
    there = dataclasses.replace(slice_set, root=moved, slices=files)
    assert prepare_slices(there, records.directory, options=OPTIONS).reason == ""


def test_is_rebuilt_when_a_file_changes_but_not_in_size(
    slice_set: SliceSet, records: SliceRecords
) -> None:
    path = slice_set.slices[2].files[0]
    image = np.asarray(Image.open(path)).copy()
    before = path.stat().st_size
    for flipped in (image[::-1], image[:, ::-1], image + 1):
        Image.fromarray(flipped).save(path)
        if path.stat().st_size == before:
            break
    again = prepare_slices(slice_set, records.directory, options=OPTIONS)
    assert path.name in again.reason
    assert again.folder != records.folder
    assert not records.folder.exists()
    assert again.slices[2].digest != records.slices[2].digest


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("label", 1, "label, part or fold of slice Training/glioma/000.png changed"),
        ("patient_id", "other", "label, part or fold of slice Training/glioma/000.png changed"),
        ("slice_id", "A.png", "1 added (such as A.png), 1 removed (such as Training/glioma/000"),
    ],
)
def test_is_rebuilt_when_what_is_known_changes(
    slice_set: SliceSet, records: SliceRecords, name: str, value: object, reason: str
) -> None:
    first, *rest = slice_set.slices
    other = (dataclasses.replace(first, **{name: value}), *rest)  # type: ignore[arg-type]
    changed = dataclasses.replace(slice_set, slices=other)
    assert reason in prepare_slices(changed, records.directory, options=OPTIONS).reason


def test_is_rebuilt_when_options_or_class_names_change(
    slice_set: SliceSet, records: SliceRecords
) -> None:
    options = dataclasses.replace(OPTIONS, channels=3)
    again = prepare_slices(slice_set, records.directory, options=options)
    assert again.reason.startswith("the options changed from")
    assert again.images.shape == (6, 12, 10, 3)
    renamed = dataclasses.replace(slice_set, class_names=("a", "b"))
    reason = prepare_slices(renamed, records.directory, options=options).reason
    assert reason.startswith("the class names changed")


def test_a_series_folder_is_looked_into(slice_set: SliceSet, tmp_path: Path) -> None:
    folder = tmp_path / "raw" / "series"
    folder.mkdir()
    (folder / "Image-1.dcm").write_bytes(b"one")
    files = fingerprint.FileStatuses(slice_set.root)
    assert files.name(folder) == "series"
    before = {"files": fingerprint.with_digests(files.statuses, slice_set.root)}
    (folder / "Image-1.dcm").write_bytes(b"two")
    os.utime(folder / "Image-1.dcm", ns=(1, 1))
    after = fingerprint.FileStatuses(slice_set.root)
    after.name(folder)
    now = {"files": after.statuses}
    assert "series changed" in fingerprint.find_changed_file(before, now, slice_set.root)
    (folder / "Image-1.dcm").write_bytes(b"one")
    assert fingerprint.find_changed_file(before, now, slice_set.root) == ""


@pytest.mark.parametrize("damage", ["truncate", "delete", "grow"])
@pytest.mark.parametrize("name", ["images", "thumbnails"])
def test_broken_arrays_are_written_again_from_the_array_record(
    slice_set: SliceSet, records: SliceRecords, damage: str, name: str
) -> None:
    shutil.rmtree(slice_set.root)
    wanted = {kind: np.array(getattr(records, kind)) for kind in ("images", "thumbnails")}
    path = records.folder / f"{name}.npy"
    content = path.read_bytes()
    path.unlink()
    if damage != "delete":
        path.write_bytes(content[:-1] if damage == "truncate" else content + b"x")
    again = open_slices(records.directory)
    for kind, array in wanted.items():
        np.testing.assert_array_equal(getattr(again, kind), array)


def array_record_file(records: SliceRecords) -> Path:
    (path,) = records.folder.rglob("*.array_record*")
    return path


@pytest.mark.parametrize("damage", ["truncate", "delete"])
def test_broken_array_record_is_named_and_prepared_again(
    slice_set: SliceSet, records: SliceRecords, damage: str
) -> None:
    path = array_record_file(records)
    content = path.read_bytes()
    path.unlink()
    if damage == "truncate":
        path.write_bytes(content[:-100])
    with pytest.raises(InputError, match=rf"{path.name}.*delete .* and prepare it again") as caught:
        open_slices(records.directory)
    assert "\n" not in str(caught.value)
    again = prepare_slices(slice_set, records.directory, options=OPTIONS)
    assert path.name in again.reason
    assert again.slices == records.slices


def test_array_record_with_flipped_bytes_is_refused_not_read(records: SliceRecords) -> None:
    path = array_record_file(records)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = bytes(64)
    path.write_bytes(content)
    (records.folder / "images.npy").unlink()
    with pytest.raises(InputError, match=r"readable ArrayRecord.*prepare it again") as caught:
        open_slices(records.directory)
    assert "\n" not in str(caught.value)
    assert str(records.directory) in str(caught.value)
    assert not (records.folder / "images.npy").exists()


def test_other_folders_are_left_alone(slice_set: SliceSet, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "thesis.tex").write_text("precious")
    with pytest.raises(InputError, match=r"mine: expected an empty folder.*thesis\.tex"):
        prepare_slices(slice_set, folder, options=OPTIONS)
    (folder / "thesis.tex").unlink()
    (folder / "records.json").write_text('{"format": "brainjax-records"}')
    with pytest.raises(InputError, match="expected brainjax-slices, found brainjax-records"):
        prepare_slices(slice_set, folder, options=OPTIONS)
    with pytest.raises(InputError, match="prepare them first"):
        open_slices(tmp_path / "absent")


def test_a_broken_image_leaves_nothing_half(slice_set: SliceSet, tmp_path: Path) -> None:
    path = slice_set.slices[4].files[0]
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(InputError, match=path.name):
        prepare_slices(slice_set, tmp_path / "records", options=OPTIONS)
    assert entries(tmp_path / "records") == [".lock"]


def test_channels_that_cannot_be_made_are_named(slice_set: SliceSet, tmp_path: Path) -> None:
    options = dataclasses.replace(OPTIONS, channels=4)
    with pytest.raises(InputError, match=r"Training/glioma/000\.png: channels: expected") as caught:
        prepare_slices(slice_set, tmp_path / "records", options=options)
    assert "\n" not in str(caught.value)


def test_a_full_disk_keeps_the_old_generation(
    slice_set: SliceSet, records: SliceRecords, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill_disk(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    smaller = dataclasses.replace(slice_set, slices=slice_set.slices[:3])
    monkeypatch.setattr(slice_prepare, "append", fill_disk)
    with pytest.raises(InputError, match="the disk is full after 0 of 3 slices"):
        prepare_slices(smaller, records.directory, options=OPTIONS)
    assert entries(records.directory) == [".lock", "records", "records.json"]
    assert len(open_slices(records.directory)) == 6


def test_refuses_what_will_not_fit_on_the_disk(
    slice_set: SliceSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(InputError, match="GB of free disk space for 6 slices"):
        prepare_slices(slice_set, tmp_path / "records", options=OPTIONS)


def test_refuses_a_set_of_nothing_or_with_equal_names(slice_set: SliceSet, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected images, found none"):
        prepare_slices(
            dataclasses.replace(slice_set, slices=()), tmp_path / "records", options=OPTIONS
        )
    twice = dataclasses.replace(slice_set, slices=slice_set.slices[:1] * 2)
    with pytest.raises(InputError, match=r"found Training/glioma/000\.png 2 times"):
        prepare_slices(twice, tmp_path / "records", options=OPTIONS)
    assert not (tmp_path / "records").exists()


KILLED = """
import sys, time
from pathlib import Path
from brainjax.records.slice_prepare import prepare_slices
from brainjax.records.slice_schema import SliceRecordOptions
from tests.records.slice_writer import write_slices

def stop(done, total, seconds):
    if done == 4:
        print("now", flush=True)
        time.sleep(600)

options = SliceRecordOptions(image_size=(12, 10), fit="pad", crop_to_head=True)
prepare_slices(write_slices(Path(sys.argv[1]), 6), sys.argv[2], options=options, progress=stop)
"""


def test_a_killed_run_is_started_over(tmp_path: Path) -> None:
    directory = tmp_path / "records"
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path / "raw"), str(directory)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout is not None
    with process:
        assert process.stdout.readline() == "now\n"
        process.send_signal(signal.SIGKILL)
    assert entries(directory) == [".lock", ".preparing"]
    with pytest.raises(InputError, match="found none; prepare them first"):
        open_slices(directory)
    slice_set = write_slices(tmp_path / "raw", 6)
    records = prepare_slices(slice_set, directory, options=OPTIONS)
    assert records.reason == "an earlier preparation was interrupted"
    assert entries(directory) == [".lock", "records", "records.json"]
    whole = prepare_slices(slice_set, tmp_path / "other", options=OPTIONS)
    assert records.slices == whole.slices
    np.testing.assert_array_equal(records.images, whole.images)


def test_records_can_be_pickled(records: SliceRecords) -> None:
    first = records.images[0].copy()
    packed = pickle.dumps(records)
    assert len(packed) < 10_000
    copy = pickle.loads(packed)
    assert copy == records
    np.testing.assert_array_equal(copy.images[0], first)


def test_real_folder(real_data: Path, tmp_path: Path) -> None:
    """Every format that the four-class set has comes through, on a part of it."""
    found = find_slices(real_data / "nickparvar")
    some = dataclasses.replace(found, slices=found.slices[::57])
    records = prepare_slices(some, tmp_path / "records", options=OPTIONS)
    assert records.class_names == ("glioma", "meningioma", "notumor", "pituitary")
    assert len(records) == 101
    assert set(records.labels.tolist()) == {0, 1, 2, 3}
    assert (records.images.max(axis=(1, 2, 3)) > 20).all()
