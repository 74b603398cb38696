"""Copies of pictures, and pictures that only look alike."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from brainjax.errors import InputError
from brainjax.records.duplicates import (
    Duplicates,
    count_across,
    count_near_across,
    find_duplicates,
)
from brainjax.records.picture_hashes import difference_hash, hash_pixels, make_thumbnail
from brainjax.records.slice_prepare import prepare_slices
from brainjax.records.slice_schema import SliceRecordOptions
from brainjax.scans.slices import find_slices
from tests.records.slice_writer import MadeUpSlices, made_up_slice, picture


def as_records(images: list[np.ndarray]) -> MadeUpSlices:
    """Records of uint8 images [H, W] or [H, W, C]."""
    images = [image if image.ndim == 3 else image[..., np.newaxis] for image in images]
    thumbnails = np.stack([make_thumbnail(image) for image in images])
    slices = tuple(
        made_up_slice(
            f"{number:03d}",
            0,
            digest=hash_pixels(image),
            difference_hash=difference_hash(thumbnail),
        )
        for number, (image, thumbnail) in enumerate(zip(images, thumbnails, strict=True))
    )
    return MadeUpSlices(slices=slices, thumbnails=thumbnails)


def as_jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream))


def larger(image: np.ndarray) -> np.ndarray:
    height, width = image.shape
    return np.asarray(Image.fromarray(image).resize((2 * width, 2 * height)))


HEAD = picture(1, (200, 180))
CHANGES = {
    "jpeg": as_jpeg(HEAD, 60),
    "size": larger(HEAD),
    "margin": np.pad(HEAD, ((30, 5), (0, 40))),
    "contrast": (HEAD * 0.5).astype(np.uint8),
    "left to right": HEAD[:, ::-1],
    "top to bottom": HEAD[::-1],
    "turned": HEAD[::-1, ::-1],
}


def test_exact_copies_are_grouped_whatever_their_storage() -> None:
    colour = np.repeat(HEAD[..., np.newaxis], 3, axis=-1)
    found = find_duplicates(as_records([HEAD, picture(2), HEAD.copy(), picture(2), colour]))
    assert found.exact == ((0, 2, 4), (1, 3))
    assert found.near == ()
    assert found.together == found.exact


def test_the_same_pixels_in_another_shape_are_no_copy() -> None:
    row = np.arange(64, dtype=np.uint8)
    assert hash_pixels(row.reshape(8, 8, 1)) != hash_pixels(row.reshape(4, 16, 1))


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_near_copies_are_found(change: str) -> None:
    others = [picture(number, (200, 180)) for number in range(2, 30)]
    found = find_duplicates(as_records([HEAD, *others, CHANGES[change]]))
    assert found.exact == ()
    assert found.near == ((0, len(others) + 1),)


def test_mirrored_copies_only_when_asked_for() -> None:
    assert find_duplicates(as_records([HEAD, HEAD[:, ::-1]]), mirrored=False).near == ()


def test_a_like_outline_is_not_enough() -> None:
    """Equal hashes, but other pictures: the thumbnails decide."""
    ramp = np.tile(np.linspace(60, 250, 64), (64, 1))
    steep = 60 + 190 * ((ramp - 60) / 190) ** 3
    records = as_records([ramp.astype(np.uint8), steep.astype(np.uint8)])
    assert len({one.difference_hash for one in records.slices}) == 1
    assert find_duplicates(records).near == ()
    assert find_duplicates(records, least_correlation=0.5).near == ((0, 1),)


def test_near_and_exact_copies_join() -> None:
    found = find_duplicates(
        as_records([HEAD, CHANGES["jpeg"], HEAD.copy(), picture(5), picture(5)])
    )
    assert found.exact == ((0, 2), (3, 4))
    assert found.near == ((0, 1, 2),)
    assert found.together == ((0, 1, 2), (3, 4))


def test_uniform_images_are_no_division_by_zero() -> None:
    blank = [np.full((20, 20), value, np.uint8) for value in (0, 90)]
    assert find_duplicates(as_records([*blank, HEAD])).near == ((0, 1),)


def test_groups_do_not_depend_on_the_size_of_the_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    images = [(picture(n % 7, (80, 72)) * (1 - n / 80)).astype(np.uint8) for n in range(40)]
    records = as_records(images)
    wanted = find_duplicates(records)
    monkeypatch.setattr("brainjax.records.duplicates._ROWS_AT_A_TIME", 3)
    monkeypatch.setattr("brainjax.records.duplicates._PAIRS_AT_A_TIME", 2)
    assert find_duplicates(records) == wanted
    assert len(wanted.near) == 7


def test_copies_across_sides_are_counted_once() -> None:
    found = Duplicates(exact=((0, 1), (4, 5, 6)), near=((0, 1, 2), (7, 8)))
    sides = ((0, 4, 7), (1, 5), (2, 6))
    assert count_across(found.exact, sides) == 3
    assert count_near_across(found, sides) == 1
    assert count_across(((1, 2),), sides) == 1
    assert count_across(((1, 9),), sides) == 0


def test_difference_hash_by_hand() -> None:
    cells = np.zeros((8, 9), np.uint8)
    cells[0, 1:] = 10  # brighter than its left neighbour once: the first bit
    cells[7, :8] = 10  # darker once: no bit
    cells[3, 8] = 1  # the last bit of the fourth row
    assert difference_hash(cells) == "8000000100000000"


def test_refuses_a_distance_that_cannot_be() -> None:
    with pytest.raises(InputError, match="near_distance: expected 0 to 64"):
        find_duplicates(as_records([HEAD]), near_distance=65)


def test_real_slices(real_data: Path, tmp_path: Path) -> None:
    """One class of the four-class set: 12 exact copies, and many mirrored pictures."""
    found = find_slices(real_data / "nickparvar")
    pituitary = tuple(one for one in found.slices if "/pituitary/" in one.slice_id)
    records = prepare_slices(
        type(found)(**{**vars(found), "slices": pituitary}),
        tmp_path / "records",
        options=SliceRecordOptions(image_size=(30, 30)),
    )
    copies = find_duplicates(records)
    assert sum(len(group) - 1 for group in copies.exact) == 12
    assert 500 < sum(len(group) - 1 for group in copies.near) < 600
