from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from brainjax.errors import InputError
from brainjax.evaluation import (
    HD95_METHODS,
    NSD_METHODS,
    compute_surface_distances,
    hausdorff_distance,
    surface,
    surface_dice,
)

UNIT = (1.0, 1.0, 1.0)
MASKS = arrays.arrays(bool, (4, 5, 3))


def hausdorff(
    predicted: np.ndarray,
    reference: np.ndarray,
    method: str,
    *,
    spacing_mm: tuple[float, float, float] = UNIT,
    percentile: float = 95.0,
) -> float:
    distances = compute_surface_distances(
        predicted, reference, spacing_mm=spacing_mm, elements=HD95_METHODS[method]
    )
    return hausdorff_distance(distances, percentile=percentile, method=method)


def normalised_surface_dice(
    predicted: np.ndarray, reference: np.ndarray, method: str, *, tolerance_mm: float
) -> float:
    distances = compute_surface_distances(
        predicted, reference, spacing_mm=UNIT, elements=NSD_METHODS[method]
    )
    return surface_dice(distances, tolerance_mm=tolerance_mm, method=method)


def voxels(*places: tuple[int, int, int], shape: tuple[int, int, int] = (20, 20, 20)) -> np.ndarray:
    mask = np.zeros(shape, bool)
    for place in places:
        mask[place] = True
    return mask


def box(
    start: tuple[int, int, int],
    stop: tuple[int, int, int],
    shape: tuple[int, int, int] = (20, 20, 20),
) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[tuple(slice(*ends) for ends in zip(start, stop, strict=True))] = True
    return mask


def brute_force(
    predicted: np.ndarray, reference: np.ndarray, spacing_mm: tuple[float, ...]
) -> tuple[list[float], list[float]]:
    """Border-voxel distances of both directions, every voxel against every voxel."""

    def border(mask: np.ndarray) -> list[tuple[int, ...]]:
        inside = {tuple(map(int, place)) for place in np.argwhere(mask)}
        steps = [
            tuple(sign if axis == a else 0 for a in range(3))
            for axis in range(3)
            for sign in (-1, 1)
        ]

        def neighbours(place: tuple[int, ...]) -> list[tuple[int, ...]]:
            return [tuple(p + s for p, s in zip(place, step, strict=True)) for step in steps]

        return [place for place in sorted(inside) if not inside.issuperset(neighbours(place))]

    def nearest(place: tuple[int, ...], others: list[tuple[int, ...]]) -> float:
        return min(
            math.hypot(*((p - o) * s for p, o, s in zip(place, other, spacing_mm, strict=True)))
            for other in others
        )

    one, other = border(predicted), border(reference)
    return [nearest(place, other) for place in one], [nearest(place, one) for place in other]


@pytest.mark.parametrize("method", HD95_METHODS)
@pytest.mark.parametrize("percentile", [95.0, 100.0])
def test_single_voxels_by_pythagoras(method: str, percentile: float) -> None:
    # 2, 3 and 6 steps apart: 7 voxels for equal sides. With corners instead of voxels as the
    # surface, the farthest corner of one is still a whole shift away from the other.
    one, other = voxels((1, 1, 1)), voxels((3, 4, 7))
    assert hausdorff(one, other, method, percentile=percentile) == pytest.approx(7.0)
    spaced = hausdorff(one, other, method, spacing_mm=(6.0, 2.0, 0.5), percentile=percentile)
    assert spaced == pytest.approx(math.hypot(12.0, 6.0, 3.0))


@pytest.mark.parametrize("method", HD95_METHODS)
def test_parallel_planes_are_as_far_as_they_are(method: str) -> None:
    one, other = box((2, 0, 0), (3, 20, 20)), box((7, 0, 0), (8, 20, 20))
    assert hausdorff(one, other, method, spacing_mm=(1.5, 1.0, 1.0)) == pytest.approx(7.5)


def test_each_definition_weighs_an_outlier_in_its_own_way() -> None:
    # A 2 x 2 x 2 cube, and the same cube with one more voxel 9 steps beyond it.
    reference = box((0, 0, 0), (2, 2, 2))
    predicted = reference | voxels((10, 0, 0))
    # 17 border voxels, one of them at 9: the 95th percentile is at place 15.2 of 0..16.
    assert hausdorff(predicted, reference, "medpy") == pytest.approx(0.2 * 9)
    # 9 border voxels one way, one of them at 9: place 7.6 of 0..8. All 0 the other way.
    assert hausdorff(predicted, reference, "monai") == pytest.approx(0.6 * 9)
    # Corners: area 6 + 12 x 0.7071 + 1.7321 at 0 mm; of the lone voxel 0.8660 at 8 mm and as much
    # at 9 mm. 95 % of the 17.95 lies within 8 mm.
    assert hausdorff(predicted, reference, "deepmind") == pytest.approx(8.0)
    for method in HD95_METHODS:
        assert hausdorff(predicted, reference, method, percentile=100) == pytest.approx(9.0)
        assert hausdorff(reference, predicted, method) == hausdorff(predicted, reference, method)


def test_areas_matter_and_numbers_of_corners_do_not() -> None:
    # The lone voxel is 8 of the 64 corners of a 3 x 3 x 3 cube and itself, but 3.9 % of the area.
    reference = box((0, 0, 0), (3, 3, 3))
    assert hausdorff(reference | voxels((12, 0, 0)), reference, "deepmind") == 0.0


def test_surface_dice_of_a_shifted_voxel() -> None:
    one, other = voxels((4, 4, 4)), voxels((5, 4, 4))
    # Of the 8 equal corners of each voxel, 4 are shared and 4 are one step away.
    assert normalised_surface_dice(one, other, "deepmind", tolerance_mm=0.0) == pytest.approx(0.5)
    assert normalised_surface_dice(one, other, "deepmind", tolerance_mm=0.99) == pytest.approx(0.5)
    assert normalised_surface_dice(one, other, "deepmind", tolerance_mm=1.0) == 1.0
    assert normalised_surface_dice(one, other, "monai", tolerance_mm=0.99) == 0.0
    assert normalised_surface_dice(one, other, "monai", tolerance_mm=1.0) == 1.0


def test_surface_dice_definitions_differ_for_unequal_surfaces() -> None:
    # A line of 9 voxels against its first: 1 of 1 and 1 of 9 border voxels lie within 0.5 mm.
    line, first = box((0, 0, 0), (9, 1, 1)), voxels((0, 0, 0))
    assert normalised_surface_dice(line, first, "monai", tolerance_mm=0.5) == pytest.approx(0.2)
    mean = (1 + 1 / 9) / 2
    assert normalised_surface_dice(line, first, "nnunet", tolerance_mm=0.5) == pytest.approx(mean)
    # Corners: both have 4 end triangles where the voxel starts. Where it stops, the voxel has 4
    # triangles and the line 4 strips; 28 further strips of the line are farther away.
    triangles, strips = math.sqrt(3) / 8, math.sqrt(2) / 2
    near = 12 * triangles + 4 * strips
    total = 16 * triangles + 32 * strips
    expected = pytest.approx(near / total)
    assert normalised_surface_dice(line, first, "deepmind", tolerance_mm=0.5) == expected


def test_tolerance_holds_at_its_edge_for_fractional_spacing() -> None:
    # 3 x 0.1 is more than 0.3 in floating point, but not by more than rounding.
    one, other = voxels((0, 0, 0)), voxels((0, 0, 3))
    distances = compute_surface_distances(one, other, spacing_mm=(0.1, 0.1, 0.1))
    assert surface_dice(distances, tolerance_mm=3 * 0.1, method="monai") == 1.0


@pytest.mark.parametrize("elements", ["voxels", "areas"])
def test_empty_masks(elements: str) -> None:
    empty, some = voxels(), voxels((1, 2, 3))
    none = compute_surface_distances(empty, empty, spacing_mm=UNIT, elements=elements)
    missed = compute_surface_distances(empty, some, spacing_mm=UNIT, elements=elements)
    invented = compute_surface_distances(some, empty, spacing_mm=UNIT, elements=elements)
    for method in (name for name, needed in HD95_METHODS.items() if needed == elements):
        assert math.isnan(hausdorff_distance(none, method=method))
        assert hausdorff_distance(missed, method=method) == math.inf
        assert hausdorff_distance(invented, method=method) == math.inf
    for method in (name for name, needed in NSD_METHODS.items() if needed == elements):
        assert math.isnan(surface_dice(none, tolerance_mm=1.0, method=method))
        assert surface_dice(missed, tolerance_mm=1.0, method=method) == 0.0
        assert surface_dice(invented, tolerance_mm=1.0, method=method) == 0.0


@given(MASKS, MASKS, st.sampled_from([UNIT, (1.0, 2.5, 0.7)]))
@settings(max_examples=60, deadline=None)
def test_border_distances_equal_brute_force(
    predicted: np.ndarray, reference: np.ndarray, spacing_mm: tuple[float, float, float]
) -> None:
    predicted[0, 0, 0] = reference[3, 4, 2] = True
    from_predicted, from_reference = brute_force(predicted, reference, spacing_mm)
    distances = compute_surface_distances(predicted, reference, spacing_mm=spacing_mm)
    np.testing.assert_allclose(distances.from_predicted, sorted(from_predicted))
    np.testing.assert_allclose(distances.from_reference, sorted(from_reference))
    pooled = np.percentile(from_predicted + from_reference, 95)
    assert hausdorff_distance(distances, method="medpy") == pytest.approx(pooled)
    larger = max(np.percentile(from_predicted, 95), np.percentile(from_reference, 95))
    assert hausdorff_distance(distances, method="monai") == pytest.approx(larger)


@given(MASKS, MASKS)
@settings(max_examples=40, deadline=None)
def test_scores_are_symmetric_and_bounded(one: np.ndarray, other: np.ndarray) -> None:
    one[0, 0, 0] = other[3, 4, 2] = True
    diagonal = math.hypot(4, 5, 3)
    for method in HD95_METHODS:
        there, back = hausdorff(one, other, method), hausdorff(other, one, method)
        assert there == pytest.approx(back)
        assert 0 <= there <= hausdorff(one, other, method, percentile=100) <= diagonal
        assert hausdorff(one, one, method, percentile=100) == 0.0
    for method in NSD_METHODS:
        scores = [
            normalised_surface_dice(one, other, method, tolerance_mm=tolerance)
            for tolerance in (0.0, 1.0, diagonal)
        ]
        assert scores == sorted(scores)
        assert scores[0] >= 0
        assert scores[-1] == pytest.approx(1.0)
        back = normalised_surface_dice(other, one, method, tolerance_mm=1.0)
        assert back == pytest.approx(scores[1])


@pytest.mark.parametrize("elements", ["voxels", "areas"])
def test_tree_and_transform_agree(
    elements: str, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    predicted, reference = rng.random((2, 14, 11, 9)) < 0.2
    results = []
    for threshold in (0, 10**9):  # always look up in the tree, always transform the box
        monkeypatch.setattr(surface, "VOXELS_PER_LOOKUP", threshold)
        distances = compute_surface_distances(
            predicted, reference, spacing_mm=(1.0, 0.5, 3.0), elements=elements
        )
        results.append((distances.from_predicted, distances.from_reference))
    for tree, transform in zip(*results, strict=True):
        np.testing.assert_allclose(tree, transform, rtol=1e-12)
        assert tree.max() > 0


@pytest.mark.parametrize("elements", ["voxels", "areas"])
def test_place_in_the_volume_and_memory_layout_do_not_matter(
    elements: str, rng: np.random.Generator
) -> None:
    predicted, reference = rng.random((2, 6, 7, 5)) < 0.4
    expected = compute_surface_distances(
        predicted, reference, spacing_mm=(1.0, 2.0, 3.0), elements=elements
    )
    shape = (13, 12, 11)
    for offset in itertools.product((0, 3), (0, 5), (0, 6)):
        place = tuple(slice(o, o + n) for o, n in zip(offset, (6, 7, 5), strict=True))
        whole = np.zeros((2, *shape), bool, order="F")
        whole[0][place], whole[1][place] = predicted, reference
        # Turned round along every axis, by views with negative strides.
        turned = whole[:, ::-1, ::-1, ::-1]
        moved = compute_surface_distances(
            turned[0], turned[1], spacing_mm=(1.0, 2.0, 3.0), elements=elements
        )
        np.testing.assert_allclose(moved.from_predicted, expected.from_predicted)
        np.testing.assert_allclose(moved.from_reference, expected.from_reference)
        assert moved.predicted_weights.sum() == pytest.approx(expected.predicted_weights.sum())


def test_unusable_input_is_refused_with_reasons() -> None:
    one = voxels((1, 1, 1))
    with pytest.raises(InputError, match="three positive voxel sizes"):
        compute_surface_distances(one, one, spacing_mm=(1.0, 0.0, 1.0))
    with pytest.raises(InputError, match="three positive voxel sizes"):
        compute_surface_distances(one, one, spacing_mm=(1.0, 1.0))
    with pytest.raises(InputError, match="3 axes"):
        compute_surface_distances(one[0], one[0], spacing_mm=UNIT)
    with pytest.raises(InputError, match="'voxels' or 'areas'"):
        compute_surface_distances(one, one, spacing_mm=UNIT, elements="faces")
    distances = compute_surface_distances(one, one, spacing_mm=UNIT)
    with pytest.raises(InputError, match="expected one of"):
        hausdorff_distance(distances, method="itk")
    with pytest.raises(InputError, match="elements='areas'"):
        hausdorff_distance(distances, method="deepmind")
    with pytest.raises(InputError, match="percentile"):
        hausdorff_distance(distances, percentile=0)
    with pytest.raises(InputError, match="tolerance_mm"):
        surface_dice(distances, tolerance_mm=-1, method="monai")
