"""Label rules on volumes small enough to check by eye."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from brainjax.errors import InputError
from brainjax.inference.postprocess import (
    PostprocessOptions,
    keep_largest_component,
    labels_from_probabilities,
    postprocess,
    relabel_small_enhancing,
    remove_small_components,
)
from brainjax.scans.labels import painted_regions


def volume_with(*voxels, shape=(6, 6, 6)):
    labels = np.zeros(shape, np.uint8)
    for where, value in voxels:
        labels[where] = value
    return labels


def test_labels_are_the_most_probable_class(rng):
    probabilities = rng.random((3, 4, 5, 4)).astype(np.float32)
    labels = labels_from_probabilities(probabilities)
    assert labels.dtype == np.uint8
    assert labels.shape == (3, 4, 5)
    for index in np.ndindex(labels.shape):
        assert probabilities[index][labels[index]] == probabilities[index].max()


def test_small_enhancing_becomes_necrosis_below_500_voxels_only():
    labels = np.zeros((10, 10, 10), np.uint8)
    labels.ravel()[:499] = 3
    labels.ravel()[500:510] = 2
    relabelled = relabel_small_enhancing(labels, fewer_than=500)
    assert np.bincount(relabelled.ravel()).tolist() == [491, 499, 10]
    labels.ravel()[499] = 3
    np.testing.assert_array_equal(relabel_small_enhancing(labels, fewer_than=500), labels)


def test_largest_component_spans_classes_and_corners():
    labels = volume_with(
        (np.s_[0, 0, 0], 1),
        (np.s_[1, 1, 1], 2),  # touches the first by a corner
        (np.s_[2, 1, 1], 3),
        (np.s_[5, 4:6, 5], 2),
    )
    kept = keep_largest_component(labels)
    expected = labels.copy()
    expected[5, 4:6, 5] = 0
    np.testing.assert_array_equal(kept, expected)
    assert kept.dtype == np.uint8
    assert labels[5, 4, 5] == 2, "the input is left alone"


def test_largest_component_leaves_other_classes_and_empty_volumes_alone():
    cavity = volume_with((np.s_[0, 0, 0], 4), (np.s_[3, 3, 3:5], 1))
    np.testing.assert_array_equal(keep_largest_component(cavity), cavity)
    empty = volume_with()
    np.testing.assert_array_equal(keep_largest_component(empty), empty)


def test_of_equal_components_the_first_stays():
    labels = volume_with((np.s_[0, 0, 0:2], 1), (np.s_[4, 4, 0:2], 2))
    kept = keep_largest_component(labels)
    np.testing.assert_array_equal(kept, volume_with((np.s_[0, 0, 0:2], 1)))


def test_small_components_go_and_the_threshold_stays():
    labels = volume_with((np.s_[0, 0, 0:2], 1), (np.s_[3, 3, 0:3], 2), (np.s_[5, 5, 5], 3))
    kept = remove_small_components(labels, minimum_voxels=3)
    np.testing.assert_array_equal(kept, volume_with((np.s_[3, 3, 0:3], 2)))


def test_nothing_is_done_by_default(rng):
    labels = rng.integers(0, 4, (5, 5, 5)).astype(np.uint8)
    result = postprocess(labels, PostprocessOptions())
    np.testing.assert_array_equal(result, labels)
    assert result.dtype == np.uint8


def test_enhancing_is_counted_after_components_are_removed():
    labels = volume_with((np.s_[0, 0, 0:4], 2), (np.s_[0, 1, 0:2], 3), (np.s_[5, 5, 3:6], 3))
    result = postprocess(
        labels, PostprocessOptions(largest_component=True, small_enhancing_voxels=3)
    )
    np.testing.assert_array_equal(result, volume_with((np.s_[0, 0, 0:4], 2), (np.s_[0, 1, 0:2], 1)))


@pytest.mark.parametrize("name", ["small_enhancing_voxels", "minimum_component_voxels"])
def test_negative_thresholds_are_refused(name):
    with pytest.raises(InputError, match=name):
        PostprocessOptions(**{name: -1})


@given(hnp.arrays(np.uint8, (3, 2, 4), elements=st.integers(0, 3)), st.floats(0.51, 1.0))
def test_labels_to_regions_to_labels(labels, sure):
    masks = [np.isin(labels, classes) for classes, _ in painted_regions()]
    inside = np.where(np.stack(masks, axis=-1), sure, 1 - sure)
    outside = 1 - inside.max(axis=-1, keepdims=True)
    probabilities = np.concatenate([outside, inside], axis=-1)
    np.testing.assert_array_equal(labels_from_probabilities(probabilities, regions=True), labels)


def test_regions_are_painted_over_one_another_whether_or_not_they_lie_in_one_another():
    inside = np.array([[0.5, 0.5, 0.5], [0.6, 0.4, 0.4], [0.4, 0.6, 0.4], [0.1, 0.1, 0.9]])
    probabilities = np.concatenate([1 - inside.max(axis=1, keepdims=True), inside], axis=1)
    labels = labels_from_probabilities(probabilities, regions=True)
    assert labels.tolist() == [0, 2, 1, 3]  # above one half; oedema; core alone; enhancing alone
