"""Figures of a classifier: classes, confusion matrix, ROC, precision-recall, reliability."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from brainjax.evaluation.calibration import reliability_bins
from brainjax.report.classification_report import Curve, EvaluatedPart
from brainjax.report.classification_tables import interval_text
from brainjax.report.examples import score_text
from brainjax.report.figures import (
    INK,
    PALETTE,
    line_style,
    new_figure,
    plain_text,
    style_axes,
)

CELL_COLOUR = "#0071B1"
"""Full cells of a confusion matrix; emptier ones let more of the page through."""

WIDE_FROM = 6
"""Classes from which on a confusion matrix needs a line of its own on the page."""

_WHITE_FROM = 0.85  # share from which on white reads better than dark ink on the cell

Interval = tuple[float, float, float]
"""A score and the lower and upper end of its interval; NaN where there is none."""


def short_name(name: str, most: int = 24) -> str:
    """A name that fits a figure: its middle left out where it is too long.

    >>> short_name("pituitary"), short_name("oligodendroglioma, grade 2 or 3", 15)
    ('pituitary', 'oligode… 2 or 3')
    """
    if len(name) <= most:
        return name
    half = (most - 1) // 2
    return f"{name[:half]}…{name[len(name) - (most - 1 - half) :]}"


def draw_class_distribution(
    counts: Mapping[str, Sequence[int]], class_names: Sequence[str]
) -> Figure | None:
    """Draws how many images each class has, one bar for each set; None of no images.

    Args:
      counts: name of the set to images per class; SMOTE's result is a set of its own.
      class_names: in the order of the counts.
    """
    counts = {name: values for name, values in counts.items() if sum(values) > 0}
    if not counts or not class_names:
        return None
    bars = len(counts) * len(class_names)
    figure, axes = new_figure("Images per class", "", size=(4.8, max(2.4, 1.5 + 0.2 * bars)))
    height = 0.82 / len(counts)
    for number, (name, values) in enumerate(counts.items()):
        places = np.arange(len(class_names)) + height * (number - (len(counts) - 1) / 2)
        drawn = axes.barh(
            places, values, height=0.9 * height, label=plain_text(name),
            color=PALETTE[number % len(PALETTE)],
        )  # fmt: skip
        axes.bar_label(drawn, fmt="{:,.0f}", padding=3, fontsize=9, color=INK)
    axes.set_yticks(range(len(class_names)), [plain_text(short_name(n)) for n in class_names])
    axes.invert_yaxis()
    axes.margins(x=0.14)
    axes.grid(visible=False)
    axes.grid(axis="x", color=INK, alpha=0.18, linewidth=0.8)
    axes.set_xlabel("images", color=INK)
    if len(counts) > 1:
        _legend(figure, columns=2)
    return figure


def draw_confusion(
    confusion: np.ndarray, class_names: Sequence[str], *, title: str
) -> Figure | None:
    """Draws counts and the share of each true class; None of an empty matrix.

    Args:
      confusion: int `[K, K]`, rows true and columns predicted classes.
      class_names: of the rows and columns.
      title: of the figure.
    """
    classes, total = len(class_names), int(np.sum(confusion))
    if not classes or not total:
        return None
    rows = confusion.sum(axis=1, keepdims=True)
    roomy = classes < WIDE_FROM
    cell = max(0.72, 2.3 / classes) if roomy else 0.56  # inches
    side = cell * classes
    figure = Figure(figsize=(max(4.8, side + 2.4), max(3.6, side + 1.7)), layout="compressed")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    style_axes(axes, title, "true class")
    draw_cells(axes, confusion, fontsize=11 if roomy else 9, exact=roomy)
    names = [plain_text(short_name(name, 20)) for name in class_names]
    counted = [f"{name}\nn = {n:,}" for name, n in zip(names, rows[:, 0], strict=True)]
    turned = max(len(name) for name in names) > 11 * cell  # 11 letters to an inch
    axes.set_xticks(range(classes), names)
    if turned:
        for text in axes.get_xticklabels():
            text.set(rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(classes), counted)
    axes.tick_params(length=0)
    axes.set_xlabel("predicted class", color=INK)
    add_share_bar(figure, [axes])
    return figure


def draw_cells(axes: Axes, confusion: np.ndarray, *, fontsize: float, exact: bool = False) -> None:
    """Draws the cells of a confusion matrix: count and share of the true class.

    Args:
      axes: the rows' and columns' names are left to the caller.
      confusion: int `[K, K]`, rows true and columns predicted classes.
      fontsize: of the words in a cell.
      exact: whether shares have a digit behind the point.
    """
    classes = len(confusion)
    share = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)  # [K, K]
    axes.grid(visible=False)
    for row, column in np.ndindex(classes, classes):
        part, count = float(share[row, column]), int(confusion[row, column])
        axes.add_patch(
            Rectangle(
                (column - 0.5, row - 0.5), 1, 1, facecolor=(CELL_COLOUR, part), edgecolor="none"
            )
        )
        words = f"{count:,}"
        if count:
            words += "\n" + (f"{part:.1%}" if exact else f"{part:.0%}" if part >= 0.005 else "<1%")
        axes.text(
            column, row, words, ha="center", va="center", linespacing=1.15, fontsize=fontsize,
            color="white" if part > _WHITE_FROM else INK, alpha=1.0 if count else 0.55,
        )  # fmt: skip
    for place in np.arange(classes + 1) - 0.5:
        for line in (axes.axhline, axes.axvline):
            line(place, color=INK, alpha=0.25, linewidth=0.8)
    axes.set(xlim=(-0.5, classes - 0.5), ylim=(classes - 0.5, -0.5), aspect="equal")
    for spine in axes.spines.values():
        spine.set_visible(False)


def add_share_bar(figure: Figure, axes: Sequence[Axes]) -> None:
    """Adds the colour bar of ``draw_cells`` beside the axes."""
    scale = LinearSegmentedColormap.from_list("cells", [(CELL_COLOUR, 0.0), (CELL_COLOUR, 1.0)])
    bar = figure.colorbar(
        ScalarMappable(Normalize(0, 100), scale), ax=list(axes), ticks=range(0, 101, 25), pad=0.03,
        format="%d%%", aspect=18,
    )  # fmt: skip
    assert bar.solids is not None
    bar.solids.set(rasterized=True, antialiased=False, edgecolor="none")
    bar.ax.tick_params(labelsize=9.5, labelcolor=INK, color=INK)
    bar.set_label("share of the true class", color=INK, fontsize=9.5)
    bar.outline.set(edgecolor=INK, alpha=0.4)


def draw_roc(
    curves: Mapping[str, Curve], areas: Mapping[str, Interval], *, title: str
) -> Figure | None:
    """Draws sensitivity over the false-positive rate, one class against the rest each.

    Args:
      curves: class to false-positive rates and sensitivities.
      areas: class to AUROC with its interval, for the legend.
      title: of the figure.

    Returns:
      The figure, or None when no curve has two points.
    """
    drawn = _finite_curves(curves)
    if not drawn:
        return None
    figure, axes = _unit_square(title, "sensitivity", "1 - specificity", len(drawn))
    axes.plot([0, 1], [0, 1], color=INK, alpha=0.55, linewidth=1.2, linestyle=(0, (2, 3)))
    axes.text(
        0.6, 0.58, "chance", color=INK, alpha=0.8, fontsize=9.5, rotation=45, va="top",
        rotation_mode="anchor", transform_rotates_text=True,
    )  # fmt: skip
    for index, (name, (x, y)) in enumerate(drawn.items()):
        area = interval_text(*areas.get(name, (math.nan,) * 3))
        label = plain_text(f"{short_name(name)}: AUROC {area}")
        axes.plot(x, y, label=label, linewidth=1.8, **line_style(index))
    _legend(figure, columns=1)
    return figure


def draw_precision_recall(
    curves: Mapping[str, Curve],
    precisions: Mapping[str, Interval],
    prevalence: Mapping[str, float],
    *,
    title: str,
) -> Figure | None:
    """Draws precision over recall as steps, with what chance would reach as a dotted line.

    Args:
      curves: class to recalls and precisions, in either order.
      precisions: class to average precision with its interval, for the legend.
      prevalence: class to its share of the images, the precision of chance.
      title: of the figure.

    Returns:
      The figure, or None when no curve has two points.
    """
    drawn = _finite_curves(curves)
    if not drawn:
        return None
    figure, axes = _unit_square(title, "precision", "recall", len(drawn))
    for index, (name, (x, y)) in enumerate(drawn.items()):
        style, share = line_style(index), prevalence.get(name, math.nan)
        score = interval_text(*precisions.get(name, (math.nan,) * 3))
        label = plain_text(f"{short_name(name)}: AP {score}, chance {_two_digits(share)}")
        if x[0] > x[-1]:
            x, y = x[::-1], y[::-1]
        axes.plot(x, y, label=label, linewidth=1.8, drawstyle="steps-pre", **style)
        if math.isfinite(share):
            axes.axhline(share, color=style["color"], linewidth=1.1, linestyle=(0, (1, 2.5)))
    _legend(figure, columns=1)
    return figure


def draw_reliability(
    part: EvaluatedPart, *, title: str, errors: tuple[float | None, float | None] = (None, None)
) -> Figure | None:
    """Draws accuracy over confidence, in the bins of the ECE, with the number of images below.

    Args:
      part: whose probabilities are drawn, before temperature scaling too where it has them.
      title: of the figure.
      errors: ECE of the probabilities as they are and of the uncalibrated ones.

    Returns:
      The figure, or None of no finite probabilities.
    """
    sets = {"temperature-scaled": part.probabilities, "before scaling": part.uncalibrated}
    if part.uncalibrated is None:
        sets = {"as predicted": part.probabilities}
    if not part.labels.size or not all(
        np.isfinite(p).all() for p in sets.values() if p is not None
    ):
        return None
    figure = Figure(figsize=(4.8, 5.0), layout="constrained")
    FigureCanvasAgg(figure)
    axes, below = figure.subplots(2, 1, height_ratios=(3, 1), sharex=True)
    style_axes(axes, title, "accuracy")
    style_axes(below, "", "images")
    axes.plot([0, 1], [0, 1], color=INK, alpha=0.55, linewidth=1.2, linestyle=(0, (2, 3)))
    for index, ((name, values), error) in enumerate(zip(sets.items(), errors, strict=False)):
        if values is None:
            continue
        bins = reliability_bins(values, part.labels)
        style = {"color": PALETTE[index], "linewidth": 1.7, "markersize": 6.5}
        words = f"{name}: ECE {score_text(error)}" if error is not None else name
        filled = bins.counts > 0
        axes.plot(
            bins.confidence[filled], bins.accuracy[filled], label=words, marker="os"[index],
            linestyle=("-", "--")[index], markerfacecolor=PALETTE[0] if not index else "none",
            **style,
        )  # fmt: skip
        width = 0.9 * bins.edges[1] / len(sets)
        places = (bins.edges[1:] + bins.edges[:-1]) / 2 + (index - (len(sets) - 1) / 2) * width
        bars = below.bar(places, bins.counts, width=0.92 * width, color=PALETTE[index])
        labels = [f"{n:,}" if n else "" for n in bins.counts]
        turned = {"rotation": 90} if len(sets) > 1 else {}
        below.bar_label(bars, labels, padding=2, fontsize=8.5, color=INK, **turned)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.04))
    below.margins(y=0.55 if len(sets) > 1 else 0.25)
    below.set_xlabel("confidence in the predicted class", color=INK, fontsize=11)
    _legend(figure, columns=1)
    return figure


def _unit_square(title: str, ylabel: str, xlabel: str, lines: int) -> tuple[Figure, Axes]:
    figure, axes = new_figure(title, ylabel, size=(4.8, 4.3 + 0.2 * lines))
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02), aspect="equal")
    axes.set_xlabel(xlabel, color=INK)
    return figure, axes


def _legend(figure: Figure, *, columns: int) -> None:
    figure.legend(
        loc="outside lower center", frameon=False, fontsize=10, labelcolor=INK, ncols=columns
    )


def _finite_curves(curves: Mapping[str, Curve]) -> dict[str, Curve]:
    found = {}
    for name, (x, y) in curves.items():
        x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
        good = np.isfinite(x) & np.isfinite(y)
        if good.sum() > 1:
            found[name] = (x[good], y[good])
    return found


def _two_digits(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else "n/a"
