"""Preparation: what is stored, when it is reused, what happens when something breaks."""

from __future__ import annotations

import dataclasses
import errno
import pickle
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import tensorflow_datasets as tfds

from brainjax.errors import InputError
from brainjax.records import (
    RecordOptions,
    Records,
    array_records,
    builders,
    open_records,
    prepare,
    prepare_records,
)
from brainjax.records.builders import read_array_records, to_example
from brainjax.scans import Cohort, find_cohort, read_volume, zscore

MODALITIES = ("flair", "t1ce", "t1", "t2")


def read_raw(cohort: Cohort, index: int) -> tuple[np.ndarray, np.ndarray]:
    """The whole z-scored image and the classes, straight from the scans."""
    volume = read_volume(
        cohort.cases[index], modalities=MODALITIES, label_convention=cohort.label_convention
    )
    assert volume.labels is not None
    return zscore(volume.image).astype(np.float16), volume.labels


def entries(directory: Path) -> list[str]:
    return sorted(path.name.split("-")[0] for path in directory.iterdir())


@pytest.fixture
def records(cohort: Cohort, tmp_path: Path) -> Records:
    return prepare_records(cohort, tmp_path / "records")


def test_stores_every_case_without_loss(cohort: Cohort, records: Records) -> None:
    assert [case.case_id for case in records.cases] == [case.case_id for case in cohort.cases]
    for index, case in enumerate(records.cases):
        image, labels = read_raw(cohort, index)
        stored = records.read_case(index)
        np.testing.assert_array_equal(stored.full_image(), image)
        np.testing.assert_array_equal(stored.full_labels(), labels)
        assert stored.image.dtype == np.float16
        assert stored.labels.dtype == np.uint8
        assert case.full_shape == (20, 22, 18)
        assert case.box_offset == (3, 2, 1)
        assert case.box_shape == (13, 15, 15)
        assert case.spacing_mm == (1.0, 1.0, 1.0)
        assert case.label_counts == tuple(np.bincount(labels.ravel(), minlength=4))
        np.testing.assert_array_equal(case.affine, np.diag([-1.0, -1.0, 1.0, 1.0]))
    assert records.modalities == MODALITIES
    assert records.label_convention == "brats2020"
    assert records.reason == "they do not exist yet"


def test_array_record_holds_the_same_as_the_voxel_store(records: Records) -> None:
    for index, example in enumerate(read_array_records(records.folder, range(3))):
        assert example.record == records.cases[index]
        np.testing.assert_array_equal(example.image, records.read_case(index).image)
        np.testing.assert_array_equal(example.labels, records.read_case(index).labels)


def test_tensorflow_datasets_reads_it_without_our_builder(records: Records) -> None:
    folder = records.folder / "brain_volumes" / "1.0.0"
    source = tfds.builder_from_directory(str(folder)).as_data_source("all")
    assert [case["case_id"].decode() for case in source] == [c.case_id for c in records.cases]
    assert source[0]["image"].dtype == np.float16
    assert "tensorflow" not in sys.modules


def test_a_large_cohort_is_spread_over_parts_in_order(
    cohort: Cohort,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    case_writer: Callable[..., Path],
) -> None:
    for number in range(4, 14):
        case_writer(cohort.root, number)
    larger = find_cohort(cohort.root, label_convention="brats2020")
    monkeypatch.setattr(array_records, "PART_BYTES", 1)
    records = prepare_records(larger, tmp_path / "records")
    assert len(list(records.folder.rglob("*.array_record*"))) == 13
    read = [example.record for example in read_array_records(records.folder, range(13))]
    assert tuple(read) == records.cases


def test_a_volume_beyond_the_memory_of_tfds_is_named(
    cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builders, "_TFDS_MEMORY_BYTES", 40_000)
    with pytest.raises(InputError, match=r"BraTS20_Training_002: a volume of 20x22x18"):
        prepare_records(cohort, tmp_path / "records")


def test_progress_counts_cases_and_nothing_is_printed(
    cohort: Cohort, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    seen: list[tuple[int, int, float]] = []
    prepare_records(cohort, tmp_path / "records", progress=lambda *now: seen.append(now))
    assert [(done, total) for done, total, _ in seen] == [(1, 3), (2, 3), (3, 3)]
    assert seen[0][2] <= seen[1][2] <= seen[2][2]
    assert capfd.readouterr() == ("", "")


def test_is_reused_while_nothing_changes(cohort: Cohort, records: Records) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("prepared again")

    again = prepare_records(cohort, records.directory, progress=refuse)
    assert again.reason == ""
    assert again.folder == records.folder
    assert open_records(records.directory).cases == records.cases


def test_a_moved_cohort_with_new_times_is_reused(cohort: Cohort, records: Records) -> None:
    moved = cohort.root.with_name("moved")
    shutil.copytree(cohort.root, moved, copy_function=shutil.copyfile)
    again = prepare_records(find_cohort(moved, label_convention="brats2020"), records.directory)
    assert again.reason == ""


def test_is_rebuilt_when_a_raw_file_changes(cohort: Cohort, records: Records) -> None:
    path = cohort.cases[1].images["t1"][0]
    image = nib.load(path)
    voxels = np.asarray(image.dataobj).copy()
    voxels[8, 8, 8] += 50
    nib.save(nib.Nifti1Image(voxels, image.affine), path)
    again = prepare_records(cohort, records.directory)
    assert path.name in again.reason
    assert again.folder != records.folder
    assert not records.folder.exists()
    np.testing.assert_array_equal(again.read_case(1).full_image(), read_raw(cohort, 1)[0])


def test_is_rebuilt_when_cases_or_options_change(
    cohort: Cohort, records: Records, case_writer: Callable[..., Path]
) -> None:
    case_writer(cohort.root, 7)
    more = find_cohort(cohort.root, label_convention="brats2020")
    again = prepare_records(more, records.directory)
    assert "1 added (such as BraTS20_Training_007)" in again.reason
    assert len(again) == 4
    fewer = prepare_records(more, records.directory, options=RecordOptions(modalities=("t1", "t2")))
    assert "the modalities changed" in fewer.reason
    assert fewer.read_case(0).image.shape[-1] == 2


def test_is_rebuilt_when_the_label_convention_changes(cohort: Cohort, records: Records) -> None:
    other = dataclasses.replace(cohort, label_convention="brats2018")
    again = prepare_records(other, records.directory)
    assert again.reason == "the label convention changed from brats2020 to brats2018"
    assert again.label_convention == "brats2018"


def test_options_of_speed_do_not_rebuild(cohort: Cohort, records: Records) -> None:
    options = RecordOptions(read_threads=1)
    assert prepare_records(cohort, records.directory, options=options).reason == ""


@pytest.mark.parametrize("damage", ["truncate", "delete", "grow", "delete all"])
def test_broken_voxel_files_are_written_again_from_the_array_record(
    cohort: Cohort, records: Records, damage: str
) -> None:
    shutil.rmtree(cohort.root)
    wanted = [records.read_case(index) for index in range(3)]
    path = records.folder / "voxels" / "00001.image.npy"
    if damage == "truncate":
        path.write_bytes(path.read_bytes()[:-1])
    elif damage == "delete":
        path.unlink()
    elif damage == "grow":
        path.write_bytes(path.read_bytes() + b"x")
    else:
        shutil.rmtree(path.parent)
    again = open_records(records.directory)
    for index, case in enumerate(wanted):
        np.testing.assert_array_equal(again.read_case(index).image, case.image)
        np.testing.assert_array_equal(again.read_case(index).labels, case.labels)
        for k in (1, 2, 3):
            assert len(again.foreground(index, k)) == case.record.label_counts[k]


def test_a_voxel_file_that_goes_while_running_is_named(records: Records) -> None:
    path = records.folder / "voxels" / "00001.labels.npy"
    path.unlink()
    with pytest.raises(InputError, match=r"00001\.labels\.npy.*open the records again"):
        records.read_crop(1, (0, 0, 0), (4, 4, 4))
    np.save(path, np.zeros((2, 2, 2), np.uint8))
    with pytest.raises(InputError, match=r"expected uint8 voxels \(13, 15, 15\).*\(2, 2, 2\)"):
        records.read_crop(1, (0, 0, 0), (4, 4, 4))


def array_record_file(records: Records) -> Path:
    (path,) = records.folder.rglob("*.array_record*")
    return path


@pytest.mark.parametrize("damage", ["truncate", "delete"])
def test_broken_array_record_is_named_and_prepared_again(
    cohort: Cohort, records: Records, damage: str
) -> None:
    path = array_record_file(records)
    if damage == "truncate":
        path.write_bytes(path.read_bytes()[:-100])
    else:
        path.unlink()
    with pytest.raises(InputError, match=rf"{path.name}.*delete .* and prepare it again") as caught:
        open_records(records.directory)
    assert "\n" not in str(caught.value)
    again = prepare_records(cohort, records.directory)
    assert path.name in again.reason
    assert again.cases == records.cases


def test_array_record_with_flipped_bytes_is_refused_not_read(records: Records) -> None:
    path = array_record_file(records)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = bytes(64)
    path.write_bytes(content)
    shutil.rmtree(records.folder / "voxels")
    with pytest.raises(InputError, match=r"readable ArrayRecord.*prepare it again") as caught:
        open_records(records.directory)
    assert "\n" not in str(caught.value)


def test_refuses_a_folder_of_something_else(cohort: Cohort, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "thesis.tex").write_text("precious")
    with pytest.raises(InputError, match=r"mine: expected an empty folder.*thesis\.tex"):
        prepare_records(cohort, folder)
    (folder / "thesis.tex").rename(folder / "records.json")
    with pytest.raises(InputError, match=r"records\.json"):
        prepare_records(cohort, folder)
    (folder / "records.json").write_text('{"other": 1}')
    with pytest.raises(InputError, match="not a file of brainjax"):
        prepare_records(cohort, folder)
    with pytest.raises(InputError, match="expected a folder, found a file"):
        prepare_records(cohort, folder / "records.json")
    with pytest.raises(InputError, match="prepare them first"):
        open_records(tmp_path / "absent")


def test_a_failure_leaves_nothing_half(
    cohort: Cohort, tmp_path: Path, case_writer: Callable[..., Path]
) -> None:
    path = cohort.cases[2].images["t2"][0]
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(InputError, match=path.name):
        prepare_records(cohort, tmp_path / "records")
    assert entries(tmp_path / "records") == [".lock"]
    case_writer(cohort.root, 3)
    assert len(prepare_records(cohort, tmp_path / "records")) == 3


def test_a_failed_rebuild_keeps_the_old_generation(
    cohort: Cohort, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill_disk(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    (cohort.root / "BraTS20_Training_002" / "BraTS20_Training_002_t1.nii.gz").touch()
    smaller = dataclasses.replace(cohort, cases=cohort.cases[:2])
    monkeypatch.setattr(prepare, "write_voxels", fill_disk)
    with pytest.raises(InputError, match="the disk is full after 0 of 2 cases"):
        prepare_records(smaller, records.directory)
    assert entries(records.directory) == [".lock", "records", "records.json"]
    assert len(open_records(records.directory)) == 3


def test_refuses_what_will_not_fit_on_the_disk(
    cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(InputError, match="GB of free disk space for 3 cases"):
        prepare_records(cohort, tmp_path / "records")


KILLED = """
import sys, time
from brainjax.records import prepare_records
from brainjax.scans import find_cohort

def stop(done, total, seconds):
    print(done, flush=True)
    if done == 2:
        time.sleep(600)

prepare_records(find_cohort(sys.argv[1], label_convention="brats2020"), sys.argv[2], progress=stop)
"""


def test_a_killed_run_is_started_over(cohort: Cohort, tmp_path: Path) -> None:
    directory = tmp_path / "records"
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(cohort.root), str(directory)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with process:
        assert process.stdout.readline() == "1\n"
        assert process.stdout.readline() == "2\n"
        process.send_signal(signal.SIGKILL)
    assert entries(directory) == [".lock", ".preparing"]
    with pytest.raises(InputError, match="found none; prepare them first"):
        open_records(directory)
    records = prepare_records(cohort, directory)
    assert records.reason == "an earlier preparation was interrupted"
    assert entries(directory) == [".lock", "records", "records.json"]
    assert len(records) == 3


PREPARE = """
import sys, time
from pathlib import Path
from brainjax.records import prepare_records
from brainjax.scans import find_cohort

root, directory, mine, others = map(Path, sys.argv[1:])
mine.touch()
while not others.exists():
    time.sleep(0.01)
print(bool(prepare_records(find_cohort(root, label_convention="brats2020"), directory).reason))
"""


def test_two_processes_at_once_prepare_once(cohort: Cohort, tmp_path: Path) -> None:
    flags = [tmp_path / "first", tmp_path / "second"]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PREPARE, cohort.root, tmp_path / "records", *order],
            stdout=subprocess.PIPE,
            text=True,
        )
        for order in (flags, flags[::-1])
    ]
    answers = sorted(process.communicate()[0].strip() for process in processes)
    assert answers == ["False", "True"]
    assert len(open_records(tmp_path / "records")) == 3
    assert entries(tmp_path / "records") == [".lock", "records", "records.json"]


def test_reuse_writes_nothing(cohort: Cohort, records: Records) -> None:
    (records.directory / ".lock").unlink()
    prepare_records(cohort, records.directory)
    assert entries(records.directory) == ["records", "records.json"]


def test_unlabelled_cases_are_refused(cohort: Cohort, tmp_path: Path) -> None:
    cases = (dataclasses.replace(cohort.cases[0], labels=None), *cohort.cases[1:])
    with pytest.raises(InputError, match="BraTS20_Training_001: expected a segmentation"):
        prepare_records(dataclasses.replace(cohort, cases=cases), tmp_path / "records")
    with pytest.raises(InputError, match="expected labelled cases, found none"):
        prepare_records(dataclasses.replace(cohort, cases=()), tmp_path / "records")
    twice = dataclasses.replace(cohort, cases=cohort.cases[:1] * 2)
    with pytest.raises(InputError, match="BraTS20_Training_001 twice"):
        prepare_records(twice, tmp_path / "records")


def test_labels_outside_the_brain_are_kept(cohort: Cohort) -> None:
    volume = read_volume(
        cohort.cases[0], modalities=MODALITIES, label_convention=cohort.label_convention
    )
    assert volume.labels is not None
    volume.labels[0, 21, 9] = 2
    example = to_example(volume, grade="")
    assert example.record.box_offset == (0, 2, 1)
    assert example.record.box_shape == (16, 20, 15)
    assert example.labels[0, 19, 8] == 2
    assert not example.image[0, 19].any()


def test_nan_never_enters(cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def spoil(image: np.ndarray, **_: object) -> np.ndarray:
        image = image.copy()
        image[9, 9, 9, 2] = np.nan
        return image

    monkeypatch.setattr(builders, "zscore", spoil)
    with pytest.raises(InputError, match=r"BraTS20_Training_001: z-scores are not finite"):
        prepare_records(cohort, tmp_path / "records")


def test_records_can_be_pickled(records: Records) -> None:
    records.read_crop(0, (0, 0, 0), (4, 4, 4))
    copy = pickle.loads(pickle.dumps(records))
    assert copy == records
    np.testing.assert_array_equal(
        copy.read_crop(2, (3, 3, 3), (5, 5, 5))[0], records.read_crop(2, (3, 3, 3), (5, 5, 5))[0]
    )


def test_patients_and_their_cases(records: Records) -> None:
    assert records.case_indices(records.patients[1:]) == (1, 2)
    assert set(records.grades) == set(records.patients)


@pytest.mark.parametrize("modalities", [(), ("t1", "t1")])
def test_refuses_meaningless_modalities(modalities: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match="modalities"):
        RecordOptions(modalities=modalities)


def test_real_case(real_data: Path, tmp_path: Path) -> None:
    cohort = find_cohort(real_data / "msd" / "Task01_BrainTumour")
    records = prepare_records(cohort, tmp_path / "records")
    (case,) = records.cases
    assert sorted(case.full_shape) == [55, 230, 239]
    image, labels = read_raw(cohort, 0)
    stored = records.read_case(0)
    np.testing.assert_array_equal(stored.full_image(), image)
    np.testing.assert_array_equal(stored.full_labels(), labels)
    crop, classes = records.read_crop(0, (40, 40, -4), (128, 128, 64))
    np.testing.assert_array_equal(crop[:, :, 4:59], image[40:168, 40:168])
    np.testing.assert_array_equal(classes[:, :, 4:59], labels[40:168, 40:168])
    assert not crop[:, :, :4].any()
