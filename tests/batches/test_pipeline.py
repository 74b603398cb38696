"""Batches: content, determinism, resume, shards, workers."""

from __future__ import annotations

import dataclasses
import shutil
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from brainjax.batches import (
    PipelineOptions,
    TrainingBatches,
    batches_per_epoch,
    evaluation_cases,
    training_batches,
)
from brainjax.errors import InputError
from brainjax.records import Records

OPTIONS = PipelineOptions(patch_shape=(6, 5, 4), batch_size=4, seed=7, threads=2)
ALL = range(5)
Batch = dict[str, np.ndarray]


def take(
    records: Records,
    options: PipelineOptions,
    number: int,
    *,
    start_step: int = 0,
    shard: tuple[int, int] = (0, 1),
) -> list[Batch]:
    with training_batches(records, ALL, options, start_step=start_step, shard=shard) as batches:
        return list(islice(batches, number))


def assert_same(first: list[Batch], second: list[Batch]) -> None:
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            assert one[name].dtype == other[name].dtype
            np.testing.assert_array_equal(one[name], other[name])


def test_shapes_and_types(records: Records) -> None:
    (batch,) = take(records, OPTIONS, 1)
    assert {name: (array.shape, array.dtype.name) for name, array in batch.items()} == {
        "image": ((4, 6, 5, 4, 2), "float16"),
        "labels": ((4, 6, 5, 4), "uint8"),
        "case_index": ((4,), "int32"),
    }


def test_patches_are_cut_from_the_case_they_name(records: Records) -> None:
    offset = records.cases[0].box_offset
    for batch in take(records, OPTIONS, 6):
        for image, labels, case in zip(*batch.values(), strict=True):
            inside = np.argwhere(image[..., 0] > 0)
            if not inside.size:
                continue
            assert set(np.unique(image[..., 0])) <= {0, case + 1}
            number = int(image[tuple(inside[0])][1])
            in_box = np.unravel_index(number, records.cases[case].box_shape)
            start = tuple(int(a + o - i) for a, o, i in zip(in_box, offset, inside[0], strict=True))
            wanted = records.read_crop(int(case), start, OPTIONS.patch_shape)
            np.testing.assert_array_equal(image, wanted[0])
            np.testing.assert_array_equal(labels, wanted[1])


def test_each_epoch_visits_each_case_once_in_another_order(records: Records) -> None:
    options = dataclasses.replace(OPTIONS, batch_size=5)
    orders = [tuple(batch["case_index"].tolist()) for batch in take(records, options, 8)]
    assert all(sorted(order) == [0, 1, 2, 3, 4] for order in orders)
    assert len(set(orders)) > 4


def test_only_the_given_cases_are_drawn(records: Records) -> None:
    with training_batches(records, (1, 3), OPTIONS) as batches:
        drawn = {int(case) for batch in islice(batches, 4) for case in batch["case_index"]}
    assert drawn == {1, 3}


def test_crops_differ_between_epochs_and_seeds(records: Records) -> None:
    options = dataclasses.replace(OPTIONS, batch_size=1)
    with training_batches(records, [0], options) as batches:
        crops = {next(batches)["image"].tobytes() for _ in range(10)}
    assert len(crops) > 5
    other = dataclasses.replace(OPTIONS, seed=8)
    assert not np.array_equal(
        take(records, OPTIONS, 1)[0]["image"], take(records, other, 1)[0]["image"]
    )


def test_batches_do_not_depend_on_threads(records: Records) -> None:
    wanted = take(records, dataclasses.replace(OPTIONS, threads=1, prefetch_batches=1), 12)
    assert_same(take(records, dataclasses.replace(OPTIONS, threads=7), 12), wanted)


def test_resume_gives_the_batches_of_an_unbroken_run(records: Records) -> None:
    whole = take(records, OPTIONS, 9)
    with training_batches(records, ALL, OPTIONS) as batches:
        assert batches.position == {"batch": 0}
        first = list(islice(batches, 4))
        position = batches.position
        assert position == {"batch": 4}
        assert batches.waited_seconds > 0
    assert_same(first, whole[:4])
    assert_same(take(records, OPTIONS, 5, start_step=position["batch"]), whole[4:])


def test_any_step_can_be_the_first(records: Records) -> None:
    assert len(take(records, OPTIONS, 2, start_step=10**9)) == 2


def test_workers_give_the_same_batches_and_resume(records: Records) -> None:
    wanted = take(records, OPTIONS, 7)
    options = dataclasses.replace(OPTIONS, workers=2)
    assert_same(take(records, options, 5, start_step=2), wanted[2:])


@pytest.mark.parametrize("count", [2, 4])
def test_the_shards_together_are_the_batches_of_one_process(records: Records, count: int) -> None:
    whole = take(records, OPTIONS, 5, start_step=3)
    shards = [
        take(records, OPTIONS, 5, start_step=3, shard=(index, count)) for index in range(count)
    ]
    together = [
        {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        for parts in zip(*shards, strict=True)
    ]
    assert_same(together, whole)


def test_foreground_patches_hold_foreground(records: Records) -> None:
    options = dataclasses.replace(OPTIONS, foreground_fraction=1.0)
    seen = set()
    for batch in take(records, options, 20):
        for labels, case in zip(batch["labels"], batch["case_index"], strict=True):
            assert labels.any() == (case % 2 == 0)
            seen |= set(np.unique(labels))
    assert seen == {0, 1, 3}


def test_foreground_fraction_is_a_share(records: Records) -> None:
    options = dataclasses.replace(
        OPTIONS, foreground_fraction=0.5, patch_shape=(2, 2, 2), batch_size=50
    )
    with training_batches(records, [0], options) as batches:
        share = np.mean([labels.any() for b in islice(batches, 8) for labels in b["labels"]])
    assert 0.42 < share < 0.62  # a uniform 2 x 2 x 2 patch holds tumour in about 2 % of cases


def test_padding_to_a_multiple_reaches_beyond_the_volume(records: Records) -> None:
    options = dataclasses.replace(OPTIONS, patch_shape=(16, 14, 12), pad_multiple=8, batch_size=40)
    (batch,) = take(records, options, 1)
    empty_ends = {int((image[..., 0].any(axis=(0, 1))).sum()) for image in batch["image"]}
    assert empty_ends == {8, 9, 10, 11, 12}


def test_a_patch_larger_than_the_volume_holds_all_of_it(records: Records) -> None:
    options = dataclasses.replace(OPTIONS, patch_shape=(24, 16, 13), batch_size=1)
    (batch,) = take(records, options, 1)
    case = records.read_case(int(batch["case_index"][0]))
    np.testing.assert_array_equal(batch["image"][0, 4:20, 1:15, 0:12], case.full_image())
    np.testing.assert_array_equal(batch["labels"][0, 4:20, 1:15, 0:12], case.full_labels())
    assert not batch["image"][0, :4].any()


def test_a_missing_voxel_file_is_the_users_error(records: Records, tmp_path: Path) -> None:
    shutil.copytree(records.folder, tmp_path / "copy")
    broken = dataclasses.replace(records, folder=tmp_path / "copy")
    for path in (tmp_path / "copy" / "voxels").glob("*.labels.npy"):
        path.unlink()
    with pytest.raises(InputError, match=r"labels\.npy"):
        take(broken, OPTIONS, 1)


def test_evaluation_cases_are_whole_and_in_order(records: Records) -> None:
    cases = list(evaluation_cases(records, (3, 1)))
    assert [index for index, _ in cases] == [3, 1]
    assert cases[0][1].record.case_id == "case-3"
    assert cases[0][1].full_image().shape == (16, 14, 12, 2)


def test_refuses_batches_that_cannot_be(records: Records) -> None:
    with pytest.raises(InputError, match="batch_size 4 does not divide by the 3 processes; try 6"):
        training_batches(records, ALL, OPTIONS, shard=(0, 3))
    with pytest.raises(InputError, match="at least one case"):
        training_batches(records, (), OPTIONS)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("patch_shape", (4, 4)),
        ("patch_shape", (4, 4, 0)),
        ("batch_size", 0),
        ("foreground_fraction", 1.5),
        ("pad_multiple", 0),
        ("workers", -1),
        ("threads", 0),
        ("prefetch_batches", 0),
        ("seed", -1),
    ],
)
def test_refuses_options_by_name(name: str, value: object) -> None:
    with pytest.raises(InputError, match=f"{name}: expected"):
        dataclasses.replace(OPTIONS, **{name: value})  # type: ignore[arg-type]


def test_batches_per_epoch() -> None:
    assert [batches_per_epoch(n, batch_size=4) for n in (1, 4, 5)] == [1, 1, 2]


def test_after_closing_there_are_no_batches(records: Records) -> None:
    batches = training_batches(records, ALL, OPTIONS)
    assert isinstance(batches, TrainingBatches)
    next(batches)
    batches.close()
    batches.close()
    assert list(batches) == []
    assert batches.position == {"batch": 1}
