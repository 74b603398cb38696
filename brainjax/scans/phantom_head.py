"""The anatomy of a made-up head: smooth shapes, folded by noise, as tissue fractions.

Everything is a function of position in millimetres, so one head can be sampled
on any grid. Positions are LPS about the head's centre: x to the left, y to the
back, z upwards.
"""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np

from brainjax.scans.phantom_noise import Axes, Noise, draw_noise

FIELD_OF_VIEW_MM = (160.0, 192.0, 155.0)
"""Extent that holds every head, per LPS axis; 155 mm is that of a BraTS volume."""

# Paths of tubes on the left side, and on the midline: x, y, z, radius in mm.
_LATERAL_VENTRICLE = np.array(
    [
        [13.0, -34.0, 4.0, 3.5],
        [6.5, -17.0, 11.0, 5.5],
        [7.0, 5.0, 17.0, 5.2],
        [15.0, 24.0, 14.0, 6.0],
        [25.0, 37.0, 7.0, 6.5],
        [23.0, 58.0, 4.0, 2.2],
    ]
)
_TEMPORAL_HORN = np.array(
    [[25.0, 36.0, 6.0, 4.5], [33.0, 20.0, -10.0, 2.2], [32.0, -2.0, -18.0, 1.4]]
)
_THIRD_VENTRICLE = np.array([[0.0, -8.0, -4.0, 5.0], [0.0, 10.0, 2.0, 5.5]])
_FOURTH_VENTRICLE = np.array([[0.0, 24.0, -26.0, 2.0], [0.0, 30.0, -38.0, 4.5]])
_CHOROID_PLEXUS = np.array([[6.5, 2.0, 15.5, 0.4], [16.0, 27.0, 12.5, 1.0], [24.0, 37.0, 6.0, 1.6]])
_BRAINSTEM = np.array([[0.0, 6.0, -8.0, 14.0], [0.0, 8.0, -30.0, 14.0], [0.0, 20.0, -68.0, 11.0]])


def _draw_three(rng: np.random.Generator, step_mm: float) -> tuple[Noise, Noise, Noise]:
    return draw_noise(rng, step_mm), draw_noise(rng, step_mm), draw_noise(rng, step_mm)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Head:
    """What makes one person differ from the next; sampled by `sample_head`."""

    affine: np.ndarray  # [3, 3], size and slight rotation
    warp: tuple[Noise, Noise, Noise]
    ripple: tuple[Noise, Noise, Noise]
    folding: Noise
    depth: Noise
    vessels: Noise
    ventricle_scale: float
    sulcus_width_mm: float
    cortex_mm: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Push:
    """Mass effect: tissue moved away from ``centre_mm``, at most ``amount_mm``."""

    centre_mm: np.ndarray  # [3]
    amount_mm: float
    reach_mm: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tissue:
    """A head on a grid; every array is float32 `[D, H, W]`.

    The fractions add up to one inside the brain mask (``inside_mm > 0``).
    ``inside_mm`` is the depth below the outline, ``ventricle_mm`` the distance to
    the lateral ventricles (negative in them), ``vessels`` a fraction that overlays
    the rest, and ``midline_mm`` the signed distance from the falx.
    """

    white: np.ndarray
    grey: np.ndarray
    deep_grey: np.ndarray
    fluid: np.ndarray
    vessels: np.ndarray
    inside_mm: np.ndarray
    ventricle_mm: np.ndarray
    midline_mm: np.ndarray


def draw_head(rng: np.random.Generator) -> Head:
    """Draws the parameters of one head."""
    angles = rng.normal(0.0, 0.03, 3)
    skew = np.array(
        [
            [0.0, -angles[2], angles[1]],
            [angles[2], 0.0, -angles[0]],
            [-angles[1], angles[0], 0.0],
        ]
    )
    scale = rng.uniform(0.95, 1.01) * rng.uniform(0.98, 1.02, 3)
    return Head(
        affine=(np.eye(3) + skew) / scale[:, None],
        warp=_draw_three(rng, 40.0),
        ripple=_draw_three(rng, 11.0),
        folding=draw_noise(rng, 5.6, band_pass=True),
        depth=draw_noise(rng, 16.0),
        vessels=draw_noise(rng, 8.0, band_pass=True),
        ventricle_scale=float(np.exp(rng.normal(0.0, 0.18))),
        sulcus_width_mm=float(rng.uniform(0.35, 0.95)),
        cortex_mm=float(rng.uniform(2.6, 3.2)),
    )


def sample_head(head: Head, axes: Axes, *, spacing_mm: float, push: Push | None = None) -> Tissue:
    """Samples a head on a grid, with partial volume at the borders of tissues.

    Args:
      head: from `draw_head`.
      axes: voxel centres in mm.
      spacing_mm: edge of a voxel, which sets how soft the borders are.
      push: mass effect of a tumour.
    """
    x, y, z = _warped(head, axes)
    inside = _outline(x, y, z)[0]
    if push is not None:
        x, y, z = _pushed([x, y, z], axes, inside, push)
    side = np.abs(x)
    _, cerebrum, cerebellum, stem = _outline(x, y, z)
    ventricle = _ventricles(side, y, z, head.ventricle_scale)

    softness = max(0.55 * spacing_mm, 0.7)
    folds = _folds(head, axes, [x, y, z], spacing_mm)
    slow = head.depth.on_grid(axes)
    sulcus = np.maximum(np.abs(folds), cerebrum - (14.0 + 5.0 * slow))
    sulcus = np.maximum(sulcus, 9.0 - ventricle)
    pial = np.minimum(
        np.minimum(cerebrum + 0.5, sulcus), _fissures(side, y, z, cerebrum, ventricle, slow)
    )
    width = head.sulcus_width_mm * (1.0 + 0.45 * slow)
    solid = share_inside(pial - width, softness)
    core = share_inside(pial - width - head.cortex_mm, softness)

    belly, belly_core = _cerebellum(cerebellum, y, z, slow, spacing_mm, softness)
    stem_solid = share_inside(stem - 0.5, softness)
    lower = np.maximum(cerebellum, stem) > cerebrum
    solid = np.where(lower, np.maximum(belly, stem_solid), solid)
    core = np.where(lower, np.maximum(belly_core, 0.8 * stem_solid), core)

    cavity = share_inside(-ventricle, softness)
    deep = share_inside(_deep_grey(side, y, z), softness) * (1.0 - cavity)
    fluid = 1.0 - solid * (1.0 - cavity)
    deep *= 1.0 - fluid
    rest = (1.0 - fluid) - deep
    white = core * rest

    return Tissue(
        white=white,
        grey=rest - white,
        deep_grey=deep,
        fluid=fluid,
        vessels=_vessels(head, axes, [x, y, z], inside, fluid * (1.0 - cavity), ventricle),
        inside_mm=inside,
        ventricle_mm=ventricle,
        midline_mm=x,
    )


def share_inside(depth_mm: np.ndarray, softness_mm: float) -> np.ndarray:
    """The share of a voxel inside a surface: 0 to 1 over twice ``softness_mm`` of depth."""
    return np.clip(0.5 + depth_mm * np.float32(0.5 / softness_mm), 0.0, 1.0)


def offsets(axes: Axes, centre_mm: np.ndarray) -> list[np.ndarray]:
    """Positions relative to a centre along x, y and z, shaped to broadcast to `[D, H, W]`."""
    grid = np.meshgrid(*axes, indexing="ij", sparse=True)
    return [g - np.float32(c) for g, c in zip(grid, centre_mm, strict=True)]


def _smooth_maximum(a: np.ndarray, b: np.ndarray, blend_mm: float) -> np.ndarray:
    h = np.clip(blend_mm - np.abs(a - b), 0.0, None)
    return np.maximum(a, b) + h * h * np.float32(0.25 / blend_mm)


def _ellipsoid(
    position: tuple[np.ndarray, np.ndarray, np.ndarray],
    centre: tuple[float, float, float],
    radii: tuple[float, float, float],
) -> np.ndarray:
    """Approximate depth below the surface of an ellipsoid in mm, negative outside."""
    squared, steep = np.zeros(1, np.float32), np.full(1, 1e-6, np.float32)
    for value, middle, radius in zip(position, centre, radii, strict=True):
        unit = (value - np.float32(middle)) * np.float32(1 / radius)
        squared = squared + unit * unit
        steep = steep + (unit * np.float32(1 / radius)) ** 2
    length = np.sqrt(squared)
    return (1.0 - length) * length / np.maximum(np.sqrt(steep), np.float32(0.3 / max(radii)))


def _tube(
    position: tuple[np.ndarray, np.ndarray, np.ndarray], path: np.ndarray, scale: float = 1.0
) -> np.ndarray:
    """Distance to a chain of round cones; ``path`` rows are x, y, z, radius in mm."""
    nearest = np.full(1, np.inf, np.float32)
    for start, stop in itertools.pairwise(path):
        along = (stop - start)[:3]
        length = np.float32(1 / (along @ along))
        offset = [value - np.float32(s) for value, s in zip(position, start[:3], strict=True)]
        t = sum(o * np.float32(a) for o, a in zip(offset, along, strict=True)) * length
        t = np.clip(t, 0.0, 1.0)
        squared = sum((o - t * np.float32(a)) ** 2 for o, a in zip(offset, along, strict=True))
        radius = np.float32(start[3] * scale) + t * np.float32((stop[3] - start[3]) * scale)
        nearest = np.minimum(nearest, np.sqrt(squared) - radius)
    return nearest


def _warped(head: Head, axes: Axes) -> list[np.ndarray]:
    x, y, z = np.meshgrid(*axes, indexing="ij", sparse=True)
    turned = [
        np.float32(row[0]) * x + np.float32(row[1]) * y + np.float32(row[2]) * z
        for row in head.affine
    ]
    amplitudes = (2.4, 3.2, 2.6)
    return [
        (value + np.float32(amplitude) * noise.on_grid(axes)).astype(np.float32)
        for value, amplitude, noise in zip(turned, amplitudes, head.warp, strict=True)
    ]


def _pushed(
    position: list[np.ndarray], axes: Axes, inside: np.ndarray, push: Push
) -> list[np.ndarray]:
    offset = offsets(axes, push.centre_mm)
    distance = np.sqrt(sum(o * o for o in offset)) + np.float32(1e-3)
    reach = distance / np.float32(push.reach_mm)
    amount = np.float32(push.amount_mm * 1.6) * reach * np.exp(-reach * reach)
    amount *= np.clip(inside * np.float32(1 / 25), 0.0, 1.0) / distance
    return [p - o * amount for p, o in zip(position, offset, strict=True)]


def _outline(
    x: np.ndarray, y: np.ndarray, z: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Depths in mm below the outline of the brain, the cerebrum, cerebellum and brainstem."""
    side = np.abs(x)
    width = x / np.clip(1.0 + np.float32(0.0012) * y, 0.9, 1.1)  # wider at the back
    height = z - 8.0
    squares = [(v * np.float32(1 / r)) ** 2 for v, r in ((width, 67.0), (y, 83.0), (height, 61.0))]
    # Between an ellipsoid and a box: the fourth-power part flattens the sides.
    norm = np.sqrt(0.6 * sum(squares) + 0.4 * np.sqrt(sum(s * s for s in squares)))
    radius = np.sqrt(width * width + y * y + height * height)
    cerebrum = (1.0 - norm) * np.maximum(radius, 20.0) / np.maximum(norm, 0.3)
    above_base = z + 18.0 - np.float32(0.0015) * y * y
    cerebrum = -_smooth_maximum(-cerebrum, -above_base, 14.0)
    temporal = _ellipsoid((side, y, z), (42.0, -2.0, -20.0), (22.0, 42.0, 20.0))
    cerebrum = _smooth_maximum(cerebrum, temporal, 5.0)
    cerebellum = _ellipsoid((side, y, z), (17.0, 51.0, -38.0), (31.0, 27.0, 22.0))
    stem = np.minimum(-_tube((x, y, z), _BRAINSTEM), z + 62.0)
    outline = _smooth_maximum(_smooth_maximum(cerebrum, cerebellum, 10.0), stem, 16.0)
    return outline + np.float32(0.5), cerebrum, cerebellum, stem


def _folds(head: Head, axes: Axes, position: list[np.ndarray], spacing_mm: float) -> np.ndarray:
    """Signed distance in mm to the sheets on which sulci lie, roughly radial."""
    radius = np.sqrt(sum(p * p for p in position)) + 1.0
    stretch = (62.0 / radius) ** np.float32(0.65)
    meander = [np.float32(2.2) * noise.on_grid(axes) for noise in head.ripple]
    field = head.folding.at([p * stretch + m for p, m in zip(position, meander, strict=True)])
    slope = np.sqrt(sum(g * g for g in np.gradient(field, np.float32(spacing_mm))))
    return field / np.maximum(slope, 0.035)


def _fissures(
    side: np.ndarray,
    y: np.ndarray,
    z: np.ndarray,
    cerebrum: np.ndarray,
    ventricle: np.ndarray,
    slow: np.ndarray,
) -> np.ndarray:
    """Distance in mm to the interhemispheric fissure and the Sylvian fissures."""
    ring = np.sqrt((y - 2.0) ** 2 * np.float32(0.42) + (z - 2.0) ** 2)
    falx = np.maximum(side, 32.0 - ring)
    falx = np.maximum(falx, 6.0 - ventricle)
    slant = (z + 3.0 + np.float32(0.3) * y + 4.0 * slow + 0.3 * (side - 45.0)) * np.float32(0.9)
    sylvian = np.maximum(np.abs(slant), cerebrum - 23.0 - 3.0 * slow)
    sylvian = np.maximum(sylvian, np.abs(y + 4.0) - 34.0)
    sylvian = np.maximum(sylvian, 30.0 - side)
    return np.minimum(falx, sylvian - 0.9)


def _ventricles(side: np.ndarray, y: np.ndarray, z: np.ndarray, scale: float) -> np.ndarray:
    """Distance in mm to the ventricles, negative inside."""
    lateral = _tube((side, y, z), _LATERAL_VENTRICLE, scale)
    lateral = np.minimum(lateral, _tube((side, y, z), _TEMPORAL_HORN, scale))
    flat = (side * 2.2, y, z * 0.9)
    third = _tube(flat, _THIRD_VENTRICLE, scale) * 0.7
    fourth = _tube((side * 0.8, y, z), _FOURTH_VENTRICLE, scale)
    return np.minimum(np.minimum(lateral, third), fourth)


def _deep_grey(side: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Depth in mm inside thalamus, caudate head and putamen."""
    splay = side - np.float32(0.22) * y  # the lenticular nucleus opens to the back
    parts = (
        _ellipsoid((side, y, z), (11.0, 11.0, 5.0), (8.0, 14.0, 9.0)),
        _ellipsoid((side, y, z), (14.5, -21.0, 9.0), (5.0, 10.0, 9.0)),
        _ellipsoid((splay, y, z), (27.0, -4.0, 3.0), (5.0, 16.0, 9.0)),
    )
    return np.maximum(np.maximum(parts[0], parts[1]), parts[2])


def _cerebellum(
    depth: np.ndarray,
    y: np.ndarray,
    z: np.ndarray,
    slow: np.ndarray,
    spacing_mm: float,
    softness_mm: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Shares of tissue and of white matter in the cerebellum, with its fine folia."""
    period = 5.2
    fade = np.float32(np.exp(-0.5 * (2.2 * spacing_mm / period) ** 2))
    phase = np.float32(2 * np.pi / period) * (np.hypot(y - 34.0, (z + 36.0) * 1.3) + 2.0 * slow)
    folia = np.cos(phase) * fade * np.clip(1.6 - depth * np.float32(0.09), 0.0, 1.0)
    solid = share_inside(depth - 0.6, softness_mm) * (1.0 - 0.3 * np.clip(folia, 0.0, 1.0))
    white = share_inside(depth - 11.0, 4.0) * 0.85 + 0.25 * np.clip(-folia, 0.0, 1.0)
    return solid, np.clip(white, 0.0, 1.0)


def _vessels(
    head: Head,
    axes: Axes,
    position: list[np.ndarray],
    inside: np.ndarray,
    sulcal_fluid: np.ndarray,
    ventricle: np.ndarray,
) -> np.ndarray:
    """Share of what takes up contrast agent in health: veins and choroid plexus."""
    x, y, z = position
    side = np.abs(x)
    lines = head.vessels.on_grid(axes)
    veins = sulcal_fluid * np.exp(-((lines * np.float32(1 / 0.22)) ** 2))
    plexus = np.clip(1.6 - _tube((side, y, z), _CHOROID_PLEXUS), 0.0, 1.0)
    plexus *= np.clip(0.5 - ventricle, 0.0, 1.0) * np.clip(0.7 + 0.5 * lines, 0.0, 1.0)
    sinus = np.clip(3.5 - side, 0.0, 1.0) * np.clip(4.5 - inside, 0.0, 1.0)
    sinus *= np.clip((z + 0.6 * y) * np.float32(0.1), 0.0, 1.0)
    return np.clip(0.8 * veins + plexus + sinus * np.clip(y * 0.05 + 1.0, 0.0, 1.0), 0.0, 1.0)
