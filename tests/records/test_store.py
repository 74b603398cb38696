"""Random crops of the voxel store against slices of the padded whole volume."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brainjax.records import CaseRecord, Records, voxels
from brainjax.records.schema import Example
from brainjax.records.voxels import sample_foreground, write_voxels

FULL = (12, 9, 7)
OFFSET = (2, 3, 0)
BOX = (6, 5, 7)
MARGIN = 40


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Records:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, BOX).astype(np.uint8)
    record = CaseRecord(
        case_id="a",
        patient_id="a",
        grade="",
        box_offset=OFFSET,
        box_shape=BOX,
        full_shape=FULL,
        affine=((1.0, 0.0, 0.0, 0.0),) * 4,
        spacing_mm=(1.0, 1.0, 1.0),
        label_counts=tuple(np.bincount(labels.ravel(), minlength=5).tolist()),
    )
    image = rng.normal(size=(*BOX, 2)).astype(np.float16)
    folder = tmp_path_factory.mktemp("store")
    write_voxels(folder, 0, Example(record=record, image=image, labels=labels))
    return Records(
        directory=folder,
        folder=folder,
        cases=(record,),
        modalities=("t1", "t2"),
        label_convention="brats2020",
    )


@given(
    start=st.tuples(*[st.integers(-20, 20)] * 3),
    shape=st.tuples(*[st.integers(1, 19)] * 3),
)
@settings(deadline=None, max_examples=200)
def test_a_crop_is_a_slice_of_the_padded_volume(
    records: Records, start: tuple[int, int, int], shape: tuple[int, int, int]
) -> None:
    whole = records.read_case(0)
    margin = [(MARGIN, MARGIN)] * 3
    side = tuple(slice(MARGIN + a, MARGIN + a + n) for a, n in zip(start, shape, strict=True))
    image, labels = records.read_crop(0, start, shape)
    np.testing.assert_array_equal(image, np.pad(whole.full_image(), [*margin, (0, 0)])[side])
    np.testing.assert_array_equal(labels, np.pad(whole.full_labels(), margin)[side])
    assert image.dtype == np.float16
    assert labels.dtype == np.uint8


def test_a_crop_is_written_over_what_was_there(records: Records) -> None:
    image = np.full((5, 5, 5, 2), 7, np.float16)
    labels = np.full((5, 5, 5), 7, np.uint8)
    given = records.read_crop(0, (-1, 1, 4), (5, 5, 5), image=image, labels=labels)
    assert given[0] is image
    assert given[1] is labels
    fresh = records.read_crop(0, (-1, 1, 4), (5, 5, 5))
    np.testing.assert_array_equal(image, fresh[0])
    np.testing.assert_array_equal(labels, fresh[1])


def test_crops_can_be_changed_in_place(records: Records) -> None:
    image, labels = records.read_crop(0, OFFSET, BOX)
    image += 1
    labels += 1
    case = records.read_case(0)
    case.image[...] = 0


@pytest.mark.parametrize("class_index", [1, 2, 3])
def test_foreground_lies_in_its_class(records: Records, class_index: int) -> None:
    labels = records.read_case(0).full_labels()
    positions = records.foreground(0, class_index)
    assert {tuple(p) for p in positions} == {tuple(p) for p in np.argwhere(labels == class_index)}


def test_foreground_of_an_absent_class_is_empty(records: Records) -> None:
    assert records.foreground(0, 4).shape == (0, 3)


def test_foreground_samples_are_limited_and_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voxels, "FOREGROUND_SAMPLES", 10)
    labels = np.ones((10, 10, 10), np.uint8)
    rows = sample_foreground(labels, classes=2)
    assert len({tuple(row) for row in rows}) == 10
    assert rows[0].tolist() == [1, 0, 0, 0]
    assert rows[-1].tolist() == [1, 9, 9, 9]


def test_few_maps_stay_open(
    records: Records, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(voxels, "OPEN_MAPS", 2)
    maps = voxels.OpenMaps()
    paths = [tmp_path / f"{number}.npy" for number in range(5)]
    for path in paths:
        np.save(path, np.zeros((2, 2), np.uint8))
        maps.get(path, (2, 2), np.uint8)
    for path in paths:
        path.unlink()
    assert maps.get(paths[-1], (2, 2), np.uint8).shape == (2, 2)
    with pytest.raises(ValueError, match=r"0\.npy"):
        maps.get(paths[0], (2, 2), np.uint8)
