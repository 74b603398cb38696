"""Synthetic images: how many, of which class, where they lie."""

from __future__ import annotations

import numpy as np
import pytest

from brainjax.batches.oversampling import oversample
from brainjax.errors import InputError


@pytest.fixture
def images(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, (26, 4, 5, 1), dtype=np.uint8)


#: Twelve of class 0, eight of class 1, six of class 2.
LABELS = np.repeat([0, 1, 2], [12, 8, 6]).astype(np.int32)


def test_chosen_classes_are_raised_to_the_ratio(images: np.ndarray) -> None:
    more, labels = oversample(images, LABELS, ratio=0.85, classes=(2,), seed=0)
    assert np.bincount(labels).tolist() == [12, 8, 10]
    assert more.shape == (30, 4, 5, 1)
    assert more.dtype == np.uint8
    assert labels.dtype == np.int32
    np.testing.assert_array_equal(more[:26], images)
    np.testing.assert_array_equal(labels[:26], LABELS)


def test_all_classes_when_none_is_chosen(images: np.ndarray) -> None:
    _, labels = oversample(images, LABELS, ratio=1.0, seed=0)
    assert np.bincount(labels).tolist() == [12, 12, 12]


def test_a_class_with_enough_stays_as_it_is(images: np.ndarray) -> None:
    more, labels = oversample(images, LABELS, ratio=0.6, classes=(0, 1), seed=0)
    np.testing.assert_array_equal(more, images)
    np.testing.assert_array_equal(labels, LABELS)


def test_synthetic_images_lie_between_two_of_their_class(images: np.ndarray) -> None:
    more, labels = oversample(images, LABELS, ratio=1.0, neighbours=2, seed=3)
    for made, label in zip(more[26:], labels[26:], strict=True):
        own = images[label == LABELS].astype(float)
        gap = [
            np.abs(first + share * (second - first) - made).max()
            for first in own
            for second in own
            for share in np.linspace(0, 1, 201)
        ]
        assert min(gap) < 1.2  # half a grey level of rounding and the steps' width
        assert not (made == images).all(axis=(1, 2, 3)).all()


def test_the_seed_decides(images: np.ndarray) -> None:
    first, second, other = (oversample(images, LABELS, ratio=1.0, seed=s)[0] for s in (1, 1, 2))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)


def test_order_of_the_given_and_a_read_only_map_do_not_matter(images: np.ndarray) -> None:
    images.setflags(write=False)
    order = np.random.default_rng(5).permutation(26)
    _, labels = oversample(images[order], LABELS[order], ratio=1.0, seed=0)
    assert np.bincount(labels).tolist() == [12, 12, 12]


def test_two_images_are_enough_and_one_is_not(images: np.ndarray) -> None:
    labels = np.repeat([0, 1], [24, 2]).astype(np.int32)
    assert np.bincount(oversample(images, labels, ratio=0.5, seed=0)[1]).tolist() == [24, 12]
    labels[24] = 0
    with pytest.raises(InputError, match="at least two training images of class 1, found 1"):
        oversample(images, labels, ratio=0.5, seed=0)
    with pytest.raises(InputError, match="class 7, found 0"):
        oversample(images, labels, ratio=0.5, classes=(7,), seed=0)


@pytest.mark.parametrize("options", [{"ratio": 0.0}, {"ratio": 1.2}, {"neighbours": 0}])
def test_refuses_options_by_name(images: np.ndarray, options: dict[str, float]) -> None:
    (name,) = options
    with pytest.raises(InputError, match=f"smote.{name}: expected"):
        oversample(images, LABELS, **{"ratio": 1.0, "seed": 0, **options})  # type: ignore[arg-type]
