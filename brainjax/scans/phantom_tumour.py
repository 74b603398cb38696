"""A made-up glioma: necrosis within an enhancing rim within oedema, for a phantom head."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
from scipy import ndimage, sparse
from scipy.sparse import csgraph

from brainjax.scans.phantom_head import Head, Push, Tissue, offsets, sample_head, share_inside
from brainjax.scans.phantom_noise import Axes, Noise, along_axes, draw_noise

_COARSE_MM = 4.0
_REACH_MM = 64.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tumour:
    """What makes one tumour differ from the next; sampled by `sample_tumour`.

    ``rim_mm`` is the mean thickness of the enhancing rim; 0 for a tumour that does
    not enhance. ``oedema_mm`` is how far oedema reaches from the core's surface.
    """

    push: Push
    stretch: np.ndarray  # [3, 3]
    core_mm: float
    rim_mm: float
    oedema_mm: float
    outline: Noise
    detail: Noise
    septa: Noise
    spread: Noise


@dataclasses.dataclass(frozen=True, kw_only=True)
class Lesion:
    """A tumour on a grid: shares of a voxel, float32 `[D, H, W]`, which nest.

    ``whole`` holds oedema and core, ``core`` necrosis and enhancing rim. ``swelling``
    is how much water oedema holds: 1 near the core, less at its margin.
    """

    whole: np.ndarray
    core: np.ndarray
    enhancing: np.ndarray
    swelling: np.ndarray


def draw_tumour(rng: np.random.Generator, head: Head, *, enhancing: bool) -> Tumour:
    """Draws size, place and texture of a tumour in the white matter of a hemisphere."""
    core = rng.uniform(9.0, 21.0) if enhancing else rng.uniform(10.0, 19.0)
    oedema = rng.uniform(9.0, 24.0) if enhancing else rng.uniform(4.0, 11.0)
    directions, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    stretch = directions @ np.diag(rng.uniform(0.8, 1.25, 3)) @ directions.T
    axes = _coarse_axes()
    tissue = sample_head(head, axes, spacing_mm=_COARSE_MM)
    places = _places(tissue, axes, core)
    chosen = places[rng.integers(len(places))]
    centre = np.array([axis[index] for axis, index in zip(axes, chosen, strict=True)])
    centre += rng.uniform(-2.0, 2.0, 3)
    push = Push(
        centre_mm=centre, amount_mm=float(core * rng.uniform(0.15, 0.4)), reach_mm=float(1.6 * core)
    )
    return Tumour(
        push=push,
        stretch=stretch,
        core_mm=float(core),
        rim_mm=float(rng.uniform(2.8, 5.0)) if enhancing else 0.0,
        oedema_mm=float(oedema),
        outline=draw_noise(rng, 13.0),
        detail=draw_noise(rng, 5.5),
        septa=draw_noise(rng, 7.0, band_pass=True),
        spread=draw_noise(rng, 18.0),
    )


def sample_tumour(
    tumour: Tumour, head: Head, tissue: Tissue, axes: Axes, *, spacing_mm: float
) -> Lesion:
    """Samples a tumour on the grid of ``tissue``, which was sampled with its push.

    Oedema spreads by the cost of its way: quickly along white matter, slowly in
    grey matter, hardly through fluid, so that it neither crosses the ventricles
    nor jumps a fissure.
    """
    offset = offsets(axes, tumour.push.centre_mm)
    bent = [
        sum(np.float32(m) * o for m, o in zip(row, offset, strict=True)) for row in tumour.stretch
    ]
    radius = np.sqrt(sum(b * b for b in bent))
    outline, detail = tumour.outline.on_grid(axes), tumour.detail.on_grid(axes)
    size = np.float32(tumour.core_mm)
    depth = size * (1.0 + 0.2 * outline + 0.06 * detail) - radius
    depth = np.minimum(depth, np.minimum(tissue.inside_mm - 1.5, tissue.ventricle_mm - 1.0))
    softness = max(0.55 * spacing_mm, 0.8)
    core = share_inside(depth, softness)

    way = _spread_on(tumour, head, axes)
    edge = np.float32(tumour.core_mm + tumour.oedema_mm) - way
    edge += (
        3.0 * outline
        + 2.0 * detail
        - 6.0 * (tissue.grey + 0.5 * tissue.deep_grey)
        - 12.0 * tissue.fluid
    )
    oedema = (
        share_inside(edge, max(softness, 1.4)) * (tissue.inside_mm > 0) * (tissue.ventricle_mm > 0)
    )
    swelling = 0.6 + 0.4 * share_inside(edge - 5.0, 5.0)
    whole = _without_islands(np.maximum(oedema, core), spacing_mm)

    if tumour.rim_mm == 0.0:
        return Lesion(whole=whole, core=core, enhancing=np.zeros_like(core), swelling=swelling)
    thickness = np.float32(tumour.rim_mm) * (1.0 + 0.55 * outline[..., ::-1] + 0.2 * detail)
    thickness = np.maximum(thickness, np.float32(0.5 * spacing_mm))
    rim = share_inside(thickness - depth, softness)
    septa = tumour.septa.on_grid(axes)
    folds = share_inside(0.14 - np.abs(septa), 0.12) * (depth < 0.62 * size)
    return Lesion(
        whole=whole, core=core, enhancing=core * np.maximum(rim, folds), swelling=swelling
    )


def _places(tissue: Tissue, axes: Axes, core_mm: float) -> np.ndarray:
    """Voxels `[n, 3]` of a coarse grid in which a core of this radius may be centred."""
    depth, aside = tissue.inside_mm, np.abs(tissue.midline_mm)
    allowed = (tissue.white > 0.5) & (axes[2] > -16.0)
    allowed &= (depth > 0.5 * core_mm + 7.0) & (depth < core_mm + 17.0)
    allowed &= (aside > 0.6 * core_mm + 8.0) & (tissue.ventricle_mm > 0.35 * core_mm)
    return np.argwhere(allowed)


def _coarse_axes() -> Axes:
    return (
        np.arange(-80, 81, _COARSE_MM, dtype=np.float32),
        np.arange(-96, 97, _COARSE_MM, dtype=np.float32),
        np.arange(-76, 85, _COARSE_MM, dtype=np.float32),
    )


def _spread_on(tumour: Tumour, head: Head, axes: Axes) -> np.ndarray:
    """Cost in mm of white matter of the cheapest way from the tumour's centre `[D, H, W]`.

    Found on a coarse grid, the same for every output grid, and interpolated.
    """
    near = [
        axis[np.abs(axis - middle) <= _REACH_MM]
        for axis, middle in zip(_coarse_axes(), tumour.push.centre_mm, strict=True)
    ]
    coarse: Axes = (near[0], near[1], near[2])
    tissue = sample_head(head, coarse, spacing_mm=_COARSE_MM, push=tumour.push)
    price = 1.0 + 1.2 * tissue.grey + 1.5 * tissue.deep_grey + 5.0 * tissue.fluid
    price += 12.0 * (tissue.ventricle_mm < 1.0) + 12.0 * (tissue.inside_mm < 0.0)
    price *= np.exp(0.3 * tumour.spread.on_grid(coarse))
    radius = np.sqrt(sum(o * o for o in offsets(coarse, tumour.push.centre_mm)))
    price = np.where(radius < tumour.core_mm, 1.0, price)
    start = int(np.argmin(radius))
    way = csgraph.dijkstra(_ways(price), indices=start).reshape(price.shape) + radius.min()
    way = np.minimum(way, 3.0 * _REACH_MM).astype(np.float32)
    bases = [_linear_basis(axis, to) for axis, to in zip(coarse, axes, strict=True)]
    return along_axes(way, bases)


def _ways(price: np.ndarray) -> sparse.csr_array:
    """The graph of voxels and their 26 neighbours; a step costs its length times the mean price."""
    index = np.arange(price.size).reshape(price.shape)
    rows, columns, costs = [], [], []
    for step in itertools.product((-1, 0, 1), repeat=3):
        if step <= (0, 0, 0):
            continue
        here = tuple(
            slice(max(0, -s), n - max(0, s)) for s, n in zip(step, price.shape, strict=True)
        )
        there = tuple(
            slice(max(0, s), n - max(0, -s)) for s, n in zip(step, price.shape, strict=True)
        )
        length = _COARSE_MM * float(np.sqrt(sum(s * s for s in step)))
        rows.append(index[here].ravel())
        columns.append(index[there].ravel())
        costs.append((0.5 * length * (price[here] + price[there])).ravel())
    entries = (np.concatenate(costs), (np.concatenate(rows), np.concatenate(columns)))
    half = sparse.csr_array(entries, shape=(price.size, price.size))
    return half + half.T


def _linear_basis(axis: np.ndarray, position: np.ndarray) -> sparse.csr_array:
    place = np.clip((position - axis[0]) / np.float32(_COARSE_MM), 0.0, axis.size - 1.0)
    weights = np.clip(1.0 - np.abs(place[:, None] - np.arange(axis.size)), 0.0, 1.0)
    return sparse.csr_array(weights.astype(np.float32))


def _without_islands(share: np.ndarray, spacing_mm: float) -> np.ndarray:
    """Drops specks below 0.4 ml, so that what looks like oedema is also labelled so."""
    parts, _ = ndimage.label(share > 0.15)
    sizes = np.bincount(parts.ravel()) * spacing_mm**3
    sizes[0] = 0.0
    keep = sizes >= min(400.0, sizes.max())
    return share * keep[parts]
