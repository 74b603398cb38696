"""Several segmentation networks side by side: what they draw, how sure they are, how they learn."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from brainjax.report.attention_figures import axial_section, paint_scan, show_section
from brainjax.report.examples import CaseExample, score_text
from brainjax.report.figures import PALETTE, draw_curves, plain_text, style_axes
from brainjax.report.viewer import CLASS_COLOURS

_MOST_WITH_NUMBERS = 4
"""Models up to which the bars say their numbers."""

_PAPER_INTERVALS = ("0 to 0.1", "0.1 to 0.5", "0.5 to 0.9", "0.9 to 1")


def draw_segmentations(
    example: CaseExample,
    segmentations: Mapping[str, np.ndarray],
    class_names: Sequence[str],
    scores: Mapping[str, Mapping[str, float]],
) -> Figure:
    """Draws each model's segmentation of one slice beside the scan and the reference.

    Args:
      example: the case.
      segmentations: of each model, classes `[D, H, W]`.
      class_names: the position being the class.
      scores: of each model, region to Dice; told below it.
    """
    panels: dict[str, np.ndarray | None] = {"scan": None}
    if example.reference is not None:
        panels["reference"] = example.reference
    panels |= dict(segmentations)
    modality = "flair" if "flair" in example.modalities else example.modalities[0]
    rows = math.ceil(len(panels) / 5)
    columns = math.ceil(len(panels) / rows)
    figure = Figure(figsize=(2.5 * columns, 3.4 * rows + 0.7), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, (name, classes) in zip(grid, panels.items(), strict=False):
        paint_scan(axes, example, modality)
        axes.set_title(plain_text(textwrap.fill(name, 28)), fontsize=11)
        if classes is not None:
            section = axial_section(example, classes)
            show_section(
                axes,
                example,
                np.ma.masked_equal(section, 0),
                cmap=ListedColormap(CLASS_COLOURS[: len(class_names)]),
                vmin=-0.5,
                vmax=len(class_names) - 0.5,
                alpha=0.75,
            )
        found = scores.get(name, {})
        if found:
            words = "  ".join(f"{region} {score_text(value)}" for region, value in found.items())
            axes.set_xlabel(f"Dice {words}", fontsize=9.5)
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    figure.legend(
        handles=[Patch(color=CLASS_COLOURS[number], label=name)
                 for number, name in enumerate(class_names) if number],
        loc="outside lower center", ncols=len(class_names) - 1, frameon=False, fontsize=11,
    )  # fmt: skip
    figure.suptitle(
        plain_text(f"{example.case_id}: axial slice {example.slices['axial']}"), fontsize=12
    )
    return figure


def draw_confidence(
    case_id: str,
    shares: Mapping[str, Mapping[str, np.ndarray]],
    largest: Mapping[str, Mapping[str, np.ndarray]],
) -> Figure:
    """Draws how sure models are of each region.

    Args:
      case_id: the case.
      shares: model to region to the shares of the region's probability, over the brain, in
        the four intervals of the CGA U-Net paper's Figure 8.
      largest: model to region to the shares of the largest class probability, over the voxels
        said to be of the region, in ten equal intervals.
    """
    regions = list(next(iter(shares.values())))
    figure = Figure(figsize=(3.3 * len(regions), 7.0), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(2, len(regions), squeeze=False, sharey="row")
    width = 0.8 / len(shares)
    for column, region in enumerate(regions):
        top, bottom = grid[0, column], grid[1, column]
        for number, model in enumerate(shares):
            colour = PALETTE[number % len(PALETTE)]
            places = np.arange(4) + (number - (len(shares) - 1) / 2) * width
            bars = top.bar(places, 100 * shares[model][region], width, color=colour,
                           label=plain_text(model))  # fmt: skip
            if len(shares) <= _MOST_WITH_NUMBERS:
                turned = 90 if len(shares) > 2 else 0
                top.bar_label(bars, fmt="%.1f", fontsize=8, padding=2, rotation=turned)
            bottom.stairs(100 * largest[model][region], np.linspace(0, 1, 11), color=colour,
                          linewidth=1.8)  # fmt: skip
        style_axes(top, region, "share of brain voxels, %" if column == 0 else "")
        style_axes(bottom, "", "share of the region's voxels, %" if column == 0 else "")
        top.set_xticks(range(4), _PAPER_INTERVALS, fontsize=8.5)
        top.set_xlabel(f"probability of {region}", fontsize=10)
        bottom.set_xlim(0, 1)
        bottom.set_xlabel(f"largest class probability\nwhere {region} is predicted", fontsize=10)
    top.set_ylim(0, 118)
    figure.suptitle(plain_text(f"{case_id}: confidence"), fontsize=12)
    if len(shares) > 1:
        handles, labels = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    return figure


def draw_attention_losses(
    histories: Mapping[str, Sequence[Mapping[str, Any]]],
) -> Figure | None:
    """Draws the attention loss of several runs over their steps; None where none has any."""
    rows = [
        {"step": row["step"], name: row.get("train/attention_loss")}
        for name, history in histories.items()
        for row in history
    ]
    figure = draw_curves(
        rows,
        {name: name for name in histories},
        title="Attention loss in training",
        ylabel="mean squared error (log scale)",
    )
    if figure is not None:
        figure.axes[0].set_yscale("log")
        figure.set_size_inches(7.0, 4.4)
    return figure


def draw_prototype_distances(
    history: Sequence[Mapping[str, Any]], class_names: Sequence[str], *, title: str
) -> Figure | None:
    """Draws how far apart the classes' prototypes are in training; None where it was not logged."""
    lines = {
        f"{first}, {second}": f"train/prototype_distance/{i}_{j}"
        for i, first in enumerate(class_names)
        for j, second in enumerate(class_names)
        if i < j
    }
    figure = draw_curves(
        history, lines, title=title, ylabel="Euclidean distance of prototypes (log scale)"
    )
    if figure is not None:
        figure.axes[0].set_yscale("log")
        figure.set_size_inches(7.0, 4.8)
    return figure
