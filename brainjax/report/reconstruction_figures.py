"""Figures 7 to 14 of paper 2, drawn of a run of ours."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from brainjax.evaluation import MapScore
from brainjax.report.classification_figures import (
    add_share_bar,
    draw_cells,
    short_name,
)
from brainjax.report.figures import (
    INK,
    PALETTE,
    draw_curves,
    line_style,
    new_figure,
    plain_text,
    style_axes,
)
from brainjax.report.reconstruction_report import (
    MAPS,
    METRICS,
    SIDES,
    PicturedSlice,
    ReconstructionReport,
    epoch_text,
    spread_choice,
)

PAPER_WINDOW = (80, 100)
"""Epochs of the classifier that the paper's Figure 11 shows."""

_MOST_COLUMNS = 7
_BOX = "#56B4E9"
_MAP_COLOURS = "magma"
_BRIGHTNESS = Normalize(0.0, 1.0)
_BRIGHTEST = 99.5  # percentile that a map's scale ends at


def draw_loss(report: ReconstructionReport) -> Figure | None:
    """Figure 7: the autoencoder's loss over its epochs."""
    return draw_curves(
        report.history,
        {"training": "train/loss", "validation": "val/loss"},
        title="Loss of the autoencoder",
        ylabel="mean squared error",
        across="epoch",
    )


def draw_side(report: ReconstructionReport, side: str) -> Figure | None:
    """Figures 8, 9 and 10: what the U-Net or one of its sides makes of a slice of each class.

    Args:
      report: of the run.
      side: name in ``SIDES``.
    """
    rows = report.pictured[0]
    places = spread_choice(len(report.epochs), _MOST_COLUMNS)
    if not rows or not places:
        return None
    grid = [[row.image, *(row.sides[side][place] for place in places)] for row in rows]
    words = SIDES[side]
    figure, axes = _grid(len(grid), len(places) + 1, words[:1].upper() + words[1:])
    scale = _BRIGHTNESS if side == "both" else _wide_scale(grid)
    for line, row, pictures in zip(axes, rows, grid, strict=True):
        line[0].set_ylabel(plain_text(short_name(row.truth, 16)), fontsize=11, color=INK)
        for cell, picture in zip(line, pictures, strict=True):
            cell.imshow(picture, cmap="gray", norm=scale, interpolation="nearest")
    axes[0][0].set_title("image", fontsize=11, color=INK)
    for cell, place in zip(axes[0][1:], places, strict=True):
        error = report.errors[side][place]
        cell.set_title(
            f"epoch {epoch_text(report.epochs[place])}\nMSE {error:.3g}", fontsize=11, color=INK
        )
    _bar(figure, axes, scale, "gray", "brightness (mean of the channels)")
    return figure


def draw_errors(report: ReconstructionReport) -> Figure | None:
    """The error of the U-Net and of each side over the snapshots, on a logarithmic scale."""
    if not report.epochs:
        return None
    figure, axes = new_figure("Error of both sides and of each", "mean squared error")
    for index, side in enumerate(SIDES):
        label = {"both": "whole U-Net", "left": "left side only", "right": "right side only"}[side]
        axes.plot(report.epochs, report.errors[side], label=label, marker="os^"[index],
                  linewidth=1.8, **line_style(index))  # fmt: skip
    axes.set_yscale("log")
    axes.set_xlabel("epoch", color=INK)
    figure.legend(loc="outside lower center", frameon=False, fontsize=11, labelcolor=INK, ncols=2)
    return figure


def draw_accuracy(report: ReconstructionReport) -> Figure | None:
    """Figure 11: the classifier's accuracy over its epochs, the paper's window shaded."""
    figure = draw_curves(
        report.classifier_history,
        {"training": "train/accuracy", "validation": "val/accuracy"},
        title="Accuracy of the encoder as a classifier",
        ylabel="accuracy",
        across="epoch",
    )
    if figure is None:
        return None
    axes = figure.axes[0]
    if axes.get_xlim()[1] > PAPER_WINDOW[0]:
        axes.axvspan(*PAPER_WINDOW, color=INK, alpha=0.1, linewidth=0)
        axes.text(
            sum(PAPER_WINDOW) / 2, axes.get_ylim()[0], "shown in\nthe paper", ha="center",
            va="bottom", fontsize=9, color=INK,
        )  # fmt: skip
    return figure


def draw_confusions(report: ReconstructionReport) -> Figure | None:
    """Figure 12: confusion matrices of the encoder as a classifier at several epochs."""
    places = spread_choice(len(report.confusions), 8)
    if not places:
        return None
    columns = min(4, len(places))
    lines = math.ceil(len(places) / columns)
    figure = Figure(figsize=(2.9 * columns + 1.2, 2.9 * lines + 0.6), layout="compressed")
    FigureCanvasAgg(figure)
    grid = figure.subplots(lines, columns, squeeze=False)
    names = [plain_text(short_name(name, 12)) for name in report.class_names]
    for cell in grid.ravel()[len(places) :]:
        cell.set_axis_off()
    for number, (cell, place) in enumerate(zip(grid.ravel(), places, strict=False)):
        confusion = report.confusions[place]
        accuracy = np.trace(confusion) / max(confusion.sum(), 1)
        title = f"epoch {epoch_text(report.classifier_epochs[place])}: {accuracy:.1%}"
        style_axes(cell, title, "true class" if number % columns == 0 else "")
        draw_cells(cell, confusion, fontsize=10)
        cell.set_xticks(range(len(names)), names, rotation=30, ha="right", rotation_mode="anchor")
        cell.set_yticks(range(len(names)), names if number % columns == 0 else [""] * len(names))
        cell.tick_params(length=0, labelsize=9.5)
        if number >= len(places) - columns:
            cell.set_xlabel("predicted class", color=INK)
    add_share_bar(figure, list(grid.ravel()))
    return figure


def draw_saliency(rows: Sequence[PicturedSlice], *, title: str) -> Figure | None:
    """Figures 13 and 14: what the U-Nets make of slices, and where the gradient is large.

    From left to right: the image with the tumour's box, the autoencoder's output, the joined
    U-Net's output, its change from the autoencoder's, the gradient, and the gradient over
    the image. Below each map stand its scores in this slice.

    Args:
      rows: the slices, one in each row.
      title: of the figure.
    """
    if not rows:
        return None
    heads = ("image", "autoencoder", "joined U-Net", "joined: change", "gradient",
             "gradient over image")  # fmt: skip
    figure, axes = _grid(len(rows), len(heads), title, extra=0.3)
    for line, row in zip(axes, rows, strict=True):
        pictures = (row.image, row.sides["both"][-1], row.joined)
        for cell, picture in zip(line, pictures, strict=False):
            cell.imshow(picture, cmap="gray", norm=_BRIGHTNESS, interpolation="nearest")
        change, gradient = (_unit(row.maps[name]) for name in ("change", "gradient"))
        for cell, picture in zip(line[3:5], (change, gradient), strict=True):
            cell.imshow(picture, cmap=_MAP_COLOURS, vmin=0, vmax=1, interpolation="nearest")
        line[5].imshow(row.image, cmap="gray", norm=_BRIGHTNESS, interpolation="nearest")
        line[5].imshow(gradient, cmap=_MAP_COLOURS, vmin=0, vmax=1, alpha=gradient,
                       interpolation="nearest")  # fmt: skip
        for cell in line if row.box is not None else ():
            left, top, width, height = row.box or (0, 0, 0, 0)
            cell.add_patch(Rectangle((left - 0.5, top - 0.5), width, height, fill=False,
                                     edgecolor=_BOX, linewidth=1.4))  # fmt: skip
        line[0].set_ylabel(plain_text(short_name(row.truth, 16)), fontsize=11, color=INK)
        line[0].set_xlabel(f"predicted {short_name(row.prediction, 12)}", fontsize=9, color=INK)
        for cell, name in zip(line[2:5], ("joined", "change", "gradient"), strict=True):
            cell.set_xlabel(_scores_text(row.scores.get(name)), fontsize=9, color=INK)
    for cell, head in zip(axes[0], heads, strict=True):
        cell.set_title(head, fontsize=11, color=INK)
    _bar(figure, axes[:, 2:3], _BRIGHTNESS, "gray", "brightness")
    _bar(figure, axes[:, 5:6], Normalize(0, 1), _MAP_COLOURS, "share of the slice's greatest")
    return figure


def draw_localisation(report: ReconstructionReport) -> Figure | None:
    """Every score of every map with its interval, and what chance would reach."""
    if not report.localisation:
        return None
    figure = Figure(figsize=(9.6, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    rows = report.localisation
    for cell, (metric, words) in zip(figure.subplots(1, 3, sharey=True), METRICS.items(),
                                     strict=True):  # fmt: skip
        style_axes(cell, "", "")
        for place, row in enumerate(rows):
            value, low, high = row.means[metric]
            ends = [[value - low], [high - value]] if math.isfinite(low + high) else None
            colour = INK if row.verdict == "baseline" else PALETTE[place % len(PALETTE)]
            cell.errorbar([value], [place], xerr=ends, fmt="os^Dvx"[place % 6], color=colour,
                          markersize=6.5, capsize=4, linewidth=1.6)  # fmt: skip
        chance = {"auroc": 0.5, "ratio": 1.0}.get(metric)
        if chance is not None:
            cell.axvline(chance, color=INK, alpha=0.6, linewidth=1.2, linestyle=(0, (2, 3)))
        cell.set_xlabel(textwrap.fill(words, 28), color=INK, fontsize=10.5)
        cell.grid(visible=False)
        cell.grid(axis="x", color=INK, alpha=0.18, linewidth=0.8)
        cell.margins(x=0.12)
    cell = figure.axes[0]
    cell.set_yticks(range(len(rows)), [_short_map(row.method) for row in rows])
    cell.set_ylim(len(rows) - 0.5, -0.5)
    return figure


def _short_map(name: str) -> str:
    words, _, rest = MAPS[name].partition(", ")
    return f"{words},\n{rest}" if rest else words


def _scores_text(score: MapScore | None) -> str:
    if score is None or not score.finite:
        return ""
    return f"AUROC {score.values['auroc']:.2f}\n{score.values['ratio']:.1f} x the area"


def _unit(values: np.ndarray) -> np.ndarray:
    """A map from 0 to 1, where its brightest pixels are 1."""
    greatest = float(np.percentile(values, _BRIGHTEST)) or float(values.max())
    return np.clip(values / greatest, 0.0, 1.0) if greatest > 0 else np.zeros_like(values)


def _wide_scale(pictures: Sequence[Sequence[np.ndarray]]) -> Normalize:
    """From black to white over 0 to 1, wider where the pictures go beyond."""
    values = np.concatenate([np.ravel(picture) for line in pictures for picture in line])
    low, high = np.percentile(values, (1, 99))
    return Normalize(min(0.0, float(low)), max(1.0, float(high)))


def _grid(rows: int, columns: int, title: str, *, extra: float = 0.0) -> tuple[Figure, np.ndarray]:
    side = 1.55
    figure = Figure(
        figsize=(side * columns + 1.2, (side + extra) * rows + 0.9), layout="compressed"
    )
    FigureCanvasAgg(figure)
    figure.suptitle(plain_text(title), fontsize=12, color=INK)
    axes = figure.subplots(rows, columns, squeeze=False)
    for cell in axes.ravel():
        cell.set(xticks=[], yticks=[])
        for spine in cell.spines.values():
            spine.set_visible(False)
    return figure, axes


def _bar(figure: Figure, axes: Any, scale: Normalize, colours: str, words: str) -> None:
    cells: list[Axes] = list(np.ravel(axes))
    beyond = "both" if colours == "gray" else "max"
    bar = figure.colorbar(ScalarMappable(scale, colours), ax=cells, pad=0.02, aspect=24,
                          shrink=0.9, extend=beyond)  # fmt: skip
    bar.ax.tick_params(labelsize=9.5, labelcolor=INK, color=INK)
    bar.set_label(words, color=INK, fontsize=10)
    bar.outline.set(edgecolor=INK, alpha=0.4)
    assert bar.solids is not None
    bar.solids.set(rasterized=True, antialiased=False, edgecolor="none")
