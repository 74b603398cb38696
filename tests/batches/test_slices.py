"""Batches of slices: content, determinism, resume, shards."""

from __future__ import annotations

import dataclasses
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from brainjax.batches import TrainingBatches
from brainjax.batches.slices import SlicePipelineOptions, evaluation_batches, slice_batches
from brainjax.errors import InputError

OPTIONS = SlicePipelineOptions(batch_size=4, seed=7)
COUNT = 11
IMAGES = np.arange(COUNT, dtype=np.uint8)[:, None, None, None] * np.ones((1, 5, 6, 1), np.uint8)
LABELS = (np.arange(COUNT) % 3).astype(np.int32)
TEXTURE = np.stack([np.arange(COUNT), -np.arange(COUNT)], axis=1).astype(np.float32)
Batch = dict[str, np.ndarray]


def take(
    options: SlicePipelineOptions,
    number: int,
    *,
    start_step: int = 0,
    shard: tuple[int, int] = (0, 1),
    indices: tuple[int, ...] = tuple(range(COUNT)),
) -> list[Batch]:
    with slice_batches(
        IMAGES, LABELS, indices, options, texture=TEXTURE, start_step=start_step, shard=shard
    ) as batches:
        return list(islice(batches, number))


def drawn(batches: list[Batch]) -> list[int]:
    return [int(image[0, 0, 0]) for batch in batches for image in batch["image"]]


def assert_same(first: list[Batch], second: list[Batch]) -> None:
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            assert one[name].dtype == other[name].dtype
            np.testing.assert_array_equal(one[name], other[name])


def test_shapes_types_and_rows_that_belong_together() -> None:
    for batch in take(OPTIONS, 9):
        assert {name: (array.shape, array.dtype.name) for name, array in batch.items()} == {
            "image": ((4, 5, 6, 1), "uint8"),
            "labels": ((4,), "int32"),
            "texture": ((4, 2), "float32"),
        }
        number = batch["image"][:, 0, 0, 0].astype(int)
        np.testing.assert_array_equal(batch["labels"], number % 3)
        np.testing.assert_array_equal(batch["texture"][:, 1], -number)


def test_without_texture_there_is_none() -> None:
    with slice_batches(IMAGES, LABELS, range(COUNT), OPTIONS) as batches:
        assert isinstance(batches, TrainingBatches)
        assert next(batches).keys() == {"image", "labels"}


def test_each_epoch_visits_each_slice_once_in_another_order() -> None:
    numbers = drawn(take(OPTIONS, 55))
    epochs = [tuple(numbers[start : start + COUNT]) for start in range(0, 220, COUNT)]
    assert all(sorted(epoch) == list(range(COUNT)) for epoch in epochs)
    assert len(set(epochs)) == 20


def test_only_the_given_slices_are_drawn_however_few() -> None:
    assert set(drawn(take(OPTIONS, 5, indices=(1, 8, 3)))) == {1, 3, 8}
    assert drawn(take(OPTIONS, 2, indices=(6,))) == [6] * 8


def test_another_seed_is_another_order() -> None:
    assert drawn(take(OPTIONS, 3)) != drawn(take(dataclasses.replace(OPTIONS, seed=8), 3))


def test_batches_do_not_depend_on_threads() -> None:
    wanted = take(dataclasses.replace(OPTIONS, prefetch_batches=1), 40)
    assert_same(take(dataclasses.replace(OPTIONS, threads=6), 40), wanted)


def test_resume_gives_the_batches_of_an_unbroken_run() -> None:
    whole = take(OPTIONS, 9)
    with slice_batches(IMAGES, LABELS, range(COUNT), OPTIONS, texture=TEXTURE) as batches:
        first = list(islice(batches, 4))
        position = batches.position
    assert position == {"batch": 4}
    assert_same(first, whole[:4])
    assert_same(take(OPTIONS, 5, start_step=position["batch"]), whole[4:])


def test_any_step_can_be_the_first() -> None:
    assert len(take(OPTIONS, 2, start_step=10**9)) == 2


@pytest.mark.parametrize("count", [2, 4])
def test_the_shards_together_are_the_batches_of_one_process(count: int) -> None:
    whole = take(OPTIONS, 6, start_step=3)
    shards = [take(OPTIONS, 6, start_step=3, shard=(index, count)) for index in range(count)]
    together = [
        {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        for parts in zip(*shards, strict=True)
    ]
    assert_same(together, whole)


def test_a_memory_map_serves_as_well(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", IMAGES)
    images = np.load(tmp_path / "images.npy", mmap_mode="r")
    with slice_batches(images, LABELS, range(COUNT), OPTIONS) as batches:
        batch = next(batches)
    np.testing.assert_array_equal(batch["image"], take(OPTIONS, 1)[0]["image"])
    assert type(batch["image"]) is np.ndarray
    assert batch["image"].flags.writeable


def test_after_closing_there_are_no_batches() -> None:
    batches = slice_batches(IMAGES, LABELS, range(COUNT), OPTIONS)
    next(batches)
    batches.close()
    assert list(batches) == []


def test_evaluation_covers_all_in_order_and_fills_up() -> None:
    batches = list(evaluation_batches(IMAGES, LABELS, (3, 1, 4, 9, 2), 2, TEXTURE))
    assert drawn(batches) == [3, 1, 4, 9, 2, 2]
    assert [int(batch["valid"]) for batch in batches] == [2, 2, 1]
    assert batches[0]["valid"].shape == ()
    assert {name: array.dtype.name for name, array in batches[2].items()} == {
        "image": "uint8", "labels": "int32", "texture": "float32", "valid": "int32",
    }  # fmt: skip
    assert list(evaluation_batches(IMAGES, LABELS, (), 2)) == []


def test_refuses_batches_that_cannot_be() -> None:
    with pytest.raises(InputError, match="batch_size 4 does not divide by the 3 processes; try 6"):
        slice_batches(IMAGES, LABELS, range(COUNT), OPTIONS, shard=(0, 3))
    with pytest.raises(InputError, match="at least one image"):
        slice_batches(IMAGES, LABELS, (), OPTIONS)


@pytest.mark.parametrize("name", ["batch_size", "threads", "prefetch_batches"])
def test_refuses_options_by_name(name: str) -> None:
    with pytest.raises(InputError, match=f"{name}: expected"):
        dataclasses.replace(OPTIONS, **{name: 0})
    with pytest.raises(InputError, match="seed: expected"):
        dataclasses.replace(OPTIONS, seed=-1)
