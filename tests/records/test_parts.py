"""Preparation in parts: by several processes, by Beam, going on after a kill."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import tensorflow_datasets as tfds

from brainjax.errors import InputError
from brainjax.records import (
    PartOptions,
    Records,
    builders,
    parts,
    prepare_records,
    slice_builder,
)
from brainjax.records.slice_prepare import prepare_slices
from brainjax.records.slice_records import SliceRecords
from brainjax.records.slice_schema import SliceRecordOptions
from brainjax.scans import Cohort, find_cohort
from tests.records.conftest import write_case
from tests.records.slice_writer import write_slices

IN_PARTS = """
import os, sys, time
from brainjax.records import PartOptions, builders, prepare_records
from brainjax.scans import find_cohort

root, directory, stop_at, workers = sys.argv[1:]
builders._MOST_CASES = 1

def stop(done, total, seconds):
    if done == int(stop_at):
        print("now", flush=True)
        time.sleep(600)

cohort = find_cohort(root, label_convention="brats2020")
prepare_records(cohort, directory, parts=PartOptions(workers=int(workers)), progress=stop)
"""


@pytest.fixture
def one_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cases in parts of one, slices in parts of two."""
    monkeypatch.setattr(builders, "_MOST_CASES", 1)
    monkeypatch.setattr(slice_builder, "_MOST_SLICES", 2)


def check_same(one: Records | SliceRecords, other: Records | SliceRecords) -> None:
    """Equal files; the fields of a record may come in another order from another process."""
    files = [
        {
            str(path.relative_to(records.folder)): path.stat().st_size
            if ".array_record" in path.name
            else hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(records.folder.rglob("*"))
            if path.is_file()
        }
        for records in (one, other)
    ]
    assert files[0] == files[1]
    (folder,) = one.folder.glob("brain_*/1.0.0")
    stored = [
        tfds.builder_from_directory(str(records.folder / folder.relative_to(one.folder)))
        for records in (one, other)
    ]
    assert len(stored[0].as_data_source("all")) == len(one)
    for mine, others in zip(*(made.as_data_source("all") for made in stored), strict=True):
        for name, value in mine.items():
            np.testing.assert_array_equal(value, others[name])


def start_and_kill(cohort: Cohort, directory: Path, *, stop_at: int, workers: int) -> int:
    """Prepares in another process until so many cases are done; returns its process group."""
    process = subprocess.Popen(
        [sys.executable, "-c", IN_PARTS, cohort.root, directory, str(stop_at), str(workers)],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout is not None
    with process:
        assert process.stdout.readline() == "now\n"
        process.send_signal(signal.SIGKILL)
    return process.pid


def prepare_and_count(cohort: Cohort, directory: Path) -> tuple[Records, list[tuple[int, int]]]:
    seen: list[tuple[int, int]] = []
    records = prepare_records(
        cohort, directory, progress=lambda done, total, _: seen.append((done, total))
    )
    return records, seen


@pytest.mark.usefixtures("one_a_part")
def test_two_processes_write_the_same_cases(
    cohort: Cohort, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    alone = prepare_records(cohort, tmp_path / "alone")
    seen: list[tuple[int, int]] = []
    together = prepare_records(
        cohort,
        tmp_path / "together",
        parts=PartOptions(workers=2),
        progress=lambda done, total, _: seen.append((done, total)),
    )
    check_same(together, alone)
    assert together.cases == alone.cases
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert capfd.readouterr() == ("", "")
    manifests = [(records.directory / "records.json").read_text() for records in (alone, together)]
    assert manifests[0].replace(alone.folder.name, together.folder.name) == manifests[1]


@pytest.mark.usefixtures("one_a_part")
def test_two_processes_write_the_same_slices(tmp_path: Path) -> None:
    slice_set = write_slices(tmp_path / "raw", 6)
    options = SliceRecordOptions(image_size=(12, 10))
    alone = prepare_slices(slice_set, tmp_path / "alone", options=options)
    together = prepare_slices(
        slice_set, tmp_path / "together", options=options, parts=PartOptions(workers=2)
    )
    check_same(together, alone)
    assert together.slices == alone.slices
    assert len(list(alone.folder.rglob("*.array_record*"))) == 3


@pytest.mark.usefixtures("one_a_part")
def test_a_killed_preparation_goes_on_after_its_finished_parts(
    cohort: Cohort, tmp_path: Path
) -> None:
    directory = tmp_path / "records"
    start_and_kill(cohort, directory, stop_at=2, workers=1)
    records, seen = prepare_and_count(cohort, directory)
    assert seen == [(1, 2), (2, 2)]
    assert records.reason == (
        "an earlier preparation was interrupted; 1 of 3 cases were there from an unfinished "
        "preparation"
    )
    whole = prepare_records(cohort, tmp_path / "whole")
    check_same(records, whole)
    assert records.cases == whole.cases
    assert not list(records.folder.rglob(".*"))
    assert not (records.folder / "parts").exists()


@pytest.mark.usefixtures("one_a_part")
def test_killed_workers_end_and_leave_finished_parts(cohort: Cohort, tmp_path: Path) -> None:
    group = start_and_kill(cohort, tmp_path / "records", stop_at=1, workers=2)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            break
        time.sleep(0.05)
    else:
        pytest.fail("workers outlived the process that started them")
    records, seen = prepare_and_count(cohort, tmp_path / "records")
    assert len(seen) < 3
    check_same(records, prepare_records(cohort, tmp_path / "whole"))


@pytest.mark.usefixtures("one_a_part")
def test_a_part_whose_files_changed_is_not_kept(cohort: Cohort, tmp_path: Path) -> None:
    directory = tmp_path / "records"
    start_and_kill(cohort, directory, stop_at=3, workers=1)
    path = cohort.cases[0].images["t1"][0]
    image = nib.load(path)
    voxels = np.asarray(image.dataobj).copy()
    voxels[8, 8, 8] += 50
    nib.save(nib.Nifti1Image(voxels, image.affine), path)
    records, seen = prepare_and_count(cohort, directory)
    assert seen == [(1, 2), (2, 2)]
    check_same(records, prepare_records(cohort, tmp_path / "whole"))


@pytest.mark.usefixtures("one_a_part")
@pytest.mark.parametrize("workers", [1, 2])
def test_after_a_broken_case_the_others_are_kept(
    cohort: Cohort, tmp_path: Path, workers: int
) -> None:
    path = cohort.cases[2].images["t2"][0]
    content = path.read_bytes()
    path.write_bytes(content[:50])
    with pytest.raises(InputError, match=path.name) as caught:
        prepare_records(cohort, tmp_path / "records", parts=PartOptions(workers=workers))
    assert "\n" not in str(caught.value)
    path.write_bytes(content)
    records, seen = prepare_and_count(cohort, tmp_path / "records")
    assert len(seen) < 3 or workers > 1  # the others may have been under way
    assert len(records) == 3


@pytest.mark.usefixtures("one_a_part")
def test_other_cases_or_options_do_not_go_on_with_parts(cohort: Cohort, tmp_path: Path) -> None:
    directory = tmp_path / "records"
    start_and_kill(cohort, directory, stop_at=2, workers=1)
    write_case(cohort.root, 0)
    more = find_cohort(cohort.root, label_convention="brats2020")
    records, seen = prepare_and_count(more, directory)
    assert seen[-1] == (4, 4)
    check_same(records, prepare_records(more, tmp_path / "whole"))
    assert len([path for path in directory.iterdir() if path.is_dir()]) == 1


@pytest.mark.usefixtures("one_a_part")
def test_an_ended_process_is_told_and_not_waited_for(
    cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "_write_in_worker", os._exit)
    with pytest.raises(InputError, match=r"lower data.prepare_workers \(2 were at work\)"):
        prepare_records(cohort, tmp_path / "records", parts=PartOptions(workers=2))


@pytest.mark.usefixtures("one_a_part")
@pytest.mark.parametrize(
    "options", ["", "--direct_num_workers=2 --direct_running_mode=multi_processing"]
)
def test_beam_writes_the_same(cohort: Cohort, tmp_path: Path, options: str) -> None:
    pytest.importorskip("apache_beam", reason="needs pip install 'brainjax[beam]'")
    alone = prepare_records(cohort, tmp_path / "alone")
    seen: list[int] = []
    beam = PartOptions(beam=f"--runner=DirectRunner {options}")
    together = prepare_records(
        cohort, tmp_path / "together", parts=beam, progress=lambda done, *_: seen.append(done)
    )
    check_same(together, alone)
    assert seen[-1] == 3
    slice_set = write_slices(tmp_path / "slices", 6)
    size = SliceRecordOptions(image_size=(12, 10))
    one = prepare_slices(slice_set, tmp_path / "one", options=size)
    other = prepare_slices(slice_set, tmp_path / "other", options=size, parts=beam)
    check_same(other, one)


@pytest.mark.usefixtures("one_a_part")
def test_beam_tells_a_mistake_in_one_line(cohort: Cohort, tmp_path: Path) -> None:
    pytest.importorskip("apache_beam", reason="needs pip install 'brainjax[beam]'")
    path = cohort.cases[2].images["t2"][0]
    content = path.read_bytes()
    path.write_bytes(content[:50])
    with pytest.raises(InputError, match=rf"^\S*{path.name}") as caught:
        prepare_records(
            cohort, tmp_path / "records", parts=PartOptions(beam="--runner=DirectRunner")
        )
    assert "\n" not in str(caught.value)
    path.write_bytes(content)
    _, seen = prepare_and_count(cohort, tmp_path / "records")
    assert seen == [(1, 1)]
    with pytest.raises(InputError, match=r"prepare_beam='--runner=Other': the pipeline") as no:
        prepare_records(cohort, tmp_path / "other", parts=PartOptions(beam="--runner=Other"))
    assert "\n" not in str(no.value)


def test_beam_that_is_not_installed_is_named(
    cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    with pytest.raises(InputError, match=r"prepare_beam needs.*pip install 'brainjax\[beam\]'"):
        prepare_records(cohort, tmp_path / "records", parts=PartOptions(beam="--runner=X"))
    with pytest.raises(InputError, match="prepare_workers: expected 1 or more, found 0"):
        PartOptions(workers=0)
    shutil.rmtree(tmp_path / "records")
