from __future__ import annotations

import math

import numpy as np
import pytest

from brainjax.evaluation.surface_elements import border_voxels, corner_areas, corner_codes

ROOT3 = math.sqrt(3)


def total_area(mask: np.ndarray, spacing_mm: tuple[float, float, float]) -> float:
    return float(corner_areas(spacing_mm)[corner_codes(mask)].sum())


@pytest.mark.parametrize(
    ("corners", "area"),
    [
        # An equilateral triangle whose sides are half a face's diagonal.
        ([(0, 0, 0)], ROOT3 / 8),
        # A strip along one edge, half a diagonal wide.
        ([(0, 0, 0), (0, 0, 1)], math.sqrt(2) / 2),
        # Two that touch across a face's or the cube's diagonal stay apart.
        ([(0, 0, 0), (0, 1, 1)], ROOT3 / 4),
        ([(0, 0, 0), (1, 1, 1)], ROOT3 / 4),
        # A flat face.
        ([(0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 1, 1)], 1.0),
        # An L of three: half a face, and two triangles of a quarter and an eighth of root 3.
        ([(0, 0, 0), (0, 0, 1), (0, 1, 0)], 0.5 + 3 * ROOT3 / 8),
        # A corner with its three neighbours: the flat hexagon with sides of root 1/2.
        ([(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0)], 1.5 * ROOT3 / 2),
        # The checkerboard: four corners apart.
        ([(0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 0)], ROOT3 / 2),
    ],
)
def test_areas_by_hand_and_of_complements(corners: list[tuple[int, ...]], area: float) -> None:
    code = sum(1 << (4 * i + 2 * j + k) for i, j, k in corners)
    areas = corner_areas((1.0, 1.0, 1.0))
    assert areas[code] == pytest.approx(area, rel=1e-12)
    assert areas[255 - code] == areas[code]


def test_areas_follow_the_spacing() -> None:
    areas = corner_areas((2.0, 3.0, 5.0))
    flat = {0: 0b00001111, 1: 0b00110011, 2: 0b01010101}  # halves across each axis
    assert [float(areas[flat[axis]]) for axis in range(3)] == pytest.approx([15.0, 10.0, 6.0])
    # The corner triangle's area vector: an eighth of the face across each axis.
    assert areas[1] == pytest.approx(math.hypot(15, 10, 6) / 8)
    assert areas[0] == areas[255] == 0


def test_areas_do_not_depend_on_how_the_cube_is_turned() -> None:
    areas = corner_areas((1.0, 1.0, 1.0))
    for code in range(256):
        cube = np.array([code >> n & 1 for n in range(8)], bool).reshape(2, 2, 2)
        for turned in (np.rot90(cube, axes=(0, 1)), np.rot90(cube, axes=(1, 2)), cube[::-1]):
            other = sum(1 << n for n, inside in enumerate(turned.ravel()) if inside)
            assert areas[other] == pytest.approx(areas[code], rel=1e-12)


def test_area_of_a_box_by_hand() -> None:
    # On the corners of an n x n x n box: (n - 1)^2 flat pieces on each face, n - 1 strips on each
    # edge, 8 triangles.
    mask = np.ones((4, 4, 4), bool)
    expected = 6 * 9 + 12 * 3 * math.sqrt(2) / 2 + 8 * ROOT3 / 8
    assert total_area(mask, (1.0, 1.0, 1.0)) == pytest.approx(expected)
    assert total_area(mask, (0.5, 0.5, 0.5)) == pytest.approx(expected / 4)


def test_area_of_one_voxel() -> None:
    assert total_area(np.ones((1, 1, 1), bool), (1.0, 1.0, 1.0)) == pytest.approx(ROOT3)


def test_border_is_the_mask_without_its_inside() -> None:
    mask = np.zeros((7, 7, 7), bool)
    mask[1:6, 1:6, 1:6] = True
    expected = mask.copy()
    expected[2:5, 2:5, 2:5] = False
    np.testing.assert_array_equal(border_voxels(mask), expected)
    # Beyond the array is outside: a box that fills it has the same border.
    np.testing.assert_array_equal(border_voxels(mask[1:6, 1:6, 1:6]), expected[1:6, 1:6, 1:6])
