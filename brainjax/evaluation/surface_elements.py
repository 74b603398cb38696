"""What the surface of a voxel mask is made of: border voxels, or pieces with an area.

The pieces live on the corners between voxels. Each corner sees 2 x 2 x 2
voxels, so it is one of 256 configurations, and the area of its piece is that of
the polygons of marching cubes (Lorensen and Cline 1987) through the half-way
points of the edges that leave the mask. The choices that marching cubes leaves
open are made so that the areas equal those of DeepMind's surface-distance 0.1
for every spacing, which is what BraTS 2023 evaluates with:

- of a configuration and its complement, the one with fewer voxels is drawn, and
  its voxels that touch only across a face's diagonal stay apart;
- a polygon that is not flat is cut into the triangles with the largest total
  area in the unit cube.
"""

from __future__ import annotations

import functools
import itertools

import numpy as np

Point = tuple[int, int, int]
Triangle = tuple[Point, Point, Point]

CORNERS: tuple[Point, ...] = tuple(itertools.product((0, 1), (0, 1), (0, 1)))  # corner n has bit n
FULL = 255


def border_voxels(mask: np.ndarray) -> np.ndarray:
    """Marks the voxels of a mask with at least one of their 6 neighbours outside it.

    Everything beyond the array counts as outside. This equals the mask without
    its binary erosion (connectivity 1), as medpy and MONAI draw borders.

    Args:
      mask: boolean ``[D, H, W]``.

    Returns:
      Boolean ``[D, H, W]``.
    """
    padded = np.pad(mask, 1)
    inner = padded[1:-1, 1:-1, 1:-1]
    surrounded = padded[:-2, 1:-1, 1:-1] & padded[2:, 1:-1, 1:-1]
    surrounded &= padded[1:-1, :-2, 1:-1]
    surrounded &= padded[1:-1, 2:, 1:-1]
    surrounded &= padded[1:-1, 1:-1, :-2]
    surrounded &= padded[1:-1, 1:-1, 2:]
    return inner & ~surrounded


def corner_codes(mask: np.ndarray) -> np.ndarray:
    """Numbers the configuration of the 2 x 2 x 2 voxels around every voxel corner.

    Args:
      mask: boolean ``[D, H, W]``; everything beyond the array is outside.

    Returns:
      uint8 ``[D+1, H+1, W+1]``: bit ``4 i + 2 j + k`` says whether the voxel at
      offset ``(i, j, k)`` is in the mask, so 0 is outside and 255 inside.
    """
    padded = np.pad(mask, 1).view(np.uint8)
    pairs = padded[:, :, :-1] | padded[:, :, 1:] << 1
    squares = pairs[:, :-1] | pairs[:, 1:] << 2
    codes: np.ndarray = squares[:-1] | squares[1:] << 4
    return codes


def corner_areas(spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """Surface area of each of the 256 corner configurations, in mm^2.

    Args:
      spacing_mm: voxel size along the three axes.

    Returns:
      float64 ``[256]``.

    >>> areas = corner_areas((1.0, 1.0, 2.0))
    >>> float(areas[0b00001111])  # a flat face across the first axis: 1 mm x 2 mm
    2.0
    """
    spacing = np.asarray(spacing_mm, dtype=np.float64)
    vectors = _area_vectors() * (np.prod(spacing) / spacing)  # [256, T, 3]
    areas: np.ndarray = np.linalg.norm(vectors, axis=-1).sum(axis=-1)
    return areas


@functools.cache
def _area_vectors() -> np.ndarray:
    """Area vectors of each configuration's triangles for unit spacing, ``[256, 4, 3]``."""
    vectors = np.zeros((256, 4, 3))
    for code in range(256):
        minority = min(code, FULL - code, key=lambda bits: (bits.bit_count(), bits))
        triangles = [t for loop in _loops(minority) for t in _largest_triangulation(loop)]
        for row, triangle in enumerate(triangles):
            vectors[code, row] = _area_vector(triangle)
    return vectors


def _loops(code: int) -> list[list[Point]]:
    """Closed polygons around the set corners, through doubled mid-points of cube edges."""
    neighbours: dict[Point, list[Point]] = {}
    for ring in _face_rings():
        inside = [bool(code >> CORNERS.index(corner) & 1) for corner in ring]
        middles = [_middle(ring[n], ring[(n + 1) % 4]) for n in range(4)]
        crossed = [n for n in range(4) if inside[n] != inside[(n + 1) % 4]]
        ends = [(middles[crossed[0]], middles[crossed[1]])] if len(crossed) == 2 else []
        if len(crossed) == 4:
            ends = [(middles[n - 1], middles[n]) for n in range(4) if inside[n]]
        for start, end in ends:
            neighbours.setdefault(start, []).append(end)
            neighbours.setdefault(end, []).append(start)
    loops = []
    while neighbours:
        start = next(iter(neighbours))
        loop = [start]
        previous, here = start, neighbours.pop(start)[0]
        while here != start:
            loop.append(here)
            one, other = neighbours.pop(here)
            previous, here = here, other if one == previous else one
        loops.append(loop)
    return loops


def _face_rings() -> list[list[Point]]:
    """The four corners of each of the six faces of the cube, in ring order."""
    rings = []
    for axis, side in itertools.product(range(3), (0, 1)):
        square = [list(corner) for corner in ((0, 0), (0, 1), (1, 1), (1, 0))]
        for corner in square:
            corner.insert(axis, side)
        rings.append([(corner[0], corner[1], corner[2]) for corner in square])
    return rings


def _middle(one: Point, other: Point) -> Point:
    return (one[0] + other[0], one[1] + other[1], one[2] + other[2])


def _largest_triangulation(polygon: list[Point]) -> list[Triangle]:
    """Cuts a polygon into the triangles that have the largest area together."""
    if len(polygon) < 3:
        return []
    candidates = []
    for n in range(1, len(polygon) - 1):
        triangles = [(polygon[0], polygon[n], polygon[-1])]
        triangles += _largest_triangulation(polygon[: n + 1])
        triangles += _largest_triangulation(polygon[n:])
        candidates.append(triangles)

    def area(triangles: list[Triangle]) -> float:
        lengths = [np.linalg.norm(_area_vector(triangle)) for triangle in triangles]
        return round(float(sum(lengths)), 9)

    return max(candidates, key=area)


def _area_vector(triangle: Triangle) -> np.ndarray:
    """Normal of a triangle of doubled points, as long as its area in the unit cube."""
    one, two, three = (np.array(point) / 2 for point in triangle)
    vector: np.ndarray = np.cross(two - one, three - one) / 2
    return vector
