"""The supervised attention module in pictures: attention maps and feature maps of a case.

Axial slices, the patient's right on the left, anterior up, cropped to the brain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from brainjax.report.examples import MODALITY_NAMES, CaseExample, score_text
from brainjax.report.figures import plain_text

_MARGIN = 4
"""Voxels kept around the brain."""

_OUTLINE = "#ffffff"


def draw_attention_maps(
    example: CaseExample,
    attention: np.ndarray,
    weights: np.ndarray,
    class_names: Sequence[str],
    aurocs: Mapping[str, float],
) -> Figure:
    """Draws the attention map of each class over the scan, and the weights made of it.

    Args:
      example: the case; its reference, or else its prediction, is outlined.
      attention: the map S `[D, H, W, K]`, up-sampled.
      weights: with which prototypes are written back, `[D, H, W, K]`.
      class_names: the K names.
      aurocs: of the attention map as a detector of the class, by name; told beside it.
    """
    figure = _figure(columns=3, rows=len(class_names), width=2.75)
    grid = figure.subplots(len(class_names), 3, squeeze=False)
    shown = example.predicted if example.reference is None else example.reference
    outlined = "prediction" if example.reference is None else "reference"
    modality = _best(example, ("flair", "t1ce"))
    for row, (name, axes) in enumerate(zip(class_names, grid, strict=True)):
        axes[0].set_ylabel(plain_text(name), fontsize=12)
        for column, values in ((1, attention[..., row]), (2, weights[..., row])):
            painted = _paint_map(axes[column], example, values, "viridis", (0.0, 1.0))
        paint_scan(axes[0], example, modality)
        for each in axes:
            _outline(each, example, shown == row)
        score = aurocs.get(name)
        if score is not None:
            axes[1].set_xlabel(f"AUROC of {plain_text(name)} {score_text(score)}", fontsize=10)
    heads = (f"{MODALITY_NAMES.get(modality, modality)}, {outlined} outlined",
             "attention map", "weight of the prototype")  # fmt: skip
    for axes, text in zip(grid[0], heads, strict=True):
        axes.set_title(text, fontsize=11)
    bar = figure.colorbar(painted, ax=grid, shrink=0.6, aspect=35, extend="both", pad=0.015)
    bar.set_label("attention and weight, no unit", fontsize=10)
    _name(figure, example, "supervised attention")
    return figure


def draw_feature_maps(
    example: CaseExample, before: np.ndarray, after: np.ndarray, channels: Sequence[int]
) -> Figure:
    """Draws feature maps before and after the intra-class update in one colour scale.

    Each channel is shown in its own standard deviations before the update, from its mean
    before it, over the brain.

    Args:
      example: the case; its reference, or else its prediction, is outlined.
      before: `[D, H, W, S]`, up-sampled.
      after: likewise.
      channels: the numbers of the S channels.
    """
    brain = example.brain
    inside = before[brain].astype(np.float64)  # [voxels, S]
    mean, deviation = inside.mean(axis=0), np.maximum(inside.std(axis=0), 1e-12)
    rows = {
        "before": (before - mean) / deviation,
        "after": (after - mean) / deviation,
    }
    level = example.slices["axial"]
    seen = np.concatenate([values[:, :, level][brain[:, :, level]].ravel() for values in
                           rows.values()])  # fmt: skip
    low, high = np.percentile(seen, [1, 99]) if seen.size else (-1.0, 1.0)
    shown = example.predicted if example.reference is None else example.reference
    columns = len(channels) + 1
    figure = _figure(columns=columns, rows=2, width=2.05)
    grid = figure.subplots(2, columns, squeeze=False)
    first, second = _best(example, ("flair",)), _best(example, ("t1ce",))
    for axes, modality in zip(grid[:, 0], (first, second), strict=True):
        paint_scan(axes, example, modality)
        axes.set_title(MODALITY_NAMES.get(modality, modality), fontsize=11)
        _outline(axes, example, shown > 0)
    for row, (name, values) in enumerate(rows.items()):
        for column, channel in enumerate(channels, start=1):
            axes = grid[row, column]
            painted = _paint_map(
                axes, example, values[..., column - 1], "viridis", (low, high), over_scan=False
            )
            _outline(axes, example, shown > 0)
            if row == 0:
                axes.set_title(f"channel {channel}", fontsize=11)
        grid[row, 1].set_ylabel(f"{name} the update", fontsize=11)
    bar = figure.colorbar(painted, ax=grid, shrink=0.8, aspect=30, extend="both", pad=0.01)
    bar.set_label("standard deviations of the channel\nbefore the update", fontsize=10)
    _name(figure, example, "deepest features, whole tumour outlined")
    return figure


def _figure(*, columns: int, rows: int, width: float) -> Figure:
    figure = Figure(figsize=(width * columns + 1.1, 1.17 * width * rows + 0.5),
                    layout="constrained")  # fmt: skip
    FigureCanvasAgg(figure)
    return figure


def _name(figure: Figure, example: CaseExample, what: str) -> None:
    text = f"{example.case_id}: {what}; axial slice {example.slices['axial']}"
    figure.suptitle(plain_text(text), fontsize=12)


def _best(example: CaseExample, wanted: Sequence[str]) -> str:
    """The first of the wanted modalities that the case has, or its first."""
    return next((name for name in wanted if name in example.modalities), example.modalities[0])


def axial_section(example: CaseExample, volume: np.ndarray) -> np.ndarray:
    """The example's axial slice of a volume `[D, H, W]`, cropped to the brain, ready to draw."""
    (left, right), (front, back), _ = example.brain_box
    section = volume[
        max(left - _MARGIN, 0) : right + 1 + _MARGIN,
        max(front - _MARGIN, 0) : back + 1 + _MARGIN,
        example.slices["axial"],
    ]
    return section.T


def show_section(axes: Axes, example: CaseExample, section: np.ndarray, **options: Any) -> Any:
    """Draws an axial section with square millimetres and without ticks."""
    image = axes.imshow(
        section,
        aspect=example.spacing_mm[1] / example.spacing_mm[0],
        interpolation="nearest",
        **options,
    )
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_facecolor("black")
    return image


def paint_scan(axes: Axes, example: CaseExample, modality: str) -> None:
    """Draws the example's axial slice of a modality in grey, with R and L."""
    volume = example.image[..., example.modalities.index(modality)]
    inside = volume[example.brain]
    low, high = np.percentile(inside, [0.5, 99.7]) if inside.size else (0.0, 1.0)
    section = axial_section(example, volume)
    brain = axial_section(example, example.brain)
    show_section(axes, example, np.where(brain, section, low), cmap="gray", vmin=low, vmax=high)
    for place, letter in ((0.02, "R"), (0.98, "L")):
        axes.text(
            place, 0.98, letter, transform=axes.transAxes, color="white", fontsize=8,
            ha="left" if place < 0.5 else "right", va="top",
        )  # fmt: skip


def _paint_map(
    axes: Axes,
    example: CaseExample,
    values: np.ndarray,
    colours: str,
    limits: tuple[float, float],
    *,
    over_scan: bool = True,
) -> Any:
    brain = axial_section(example, example.brain)
    section = np.ma.masked_where(~brain, axial_section(example, values))
    if over_scan:
        paint_scan(axes, example, _best(example, ("flair", "t1ce")))
    return show_section(
        axes, example, section, cmap=colours, vmin=limits[0], vmax=limits[1],
        alpha=0.72 if over_scan else 1.0,
    )  # fmt: skip


def _outline(axes: Axes, example: CaseExample, mask: np.ndarray) -> None:
    section = axial_section(example, mask)
    if section.any() and not section.all():
        lines = axes.contour(section, levels=[0.5], colors=[_OUTLINE], linewidths=[0.9])
        lines.set_path_effects([withStroke(linewidth=2.0, foreground="#000b")])
