"""A dot plot of several runs: one row for each label, one panel for each metric."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from brainjax.report.classification_figures import short_name
from brainjax.report.classification_report import Score
from brainjax.report.classification_tables import PUBLISHED, metric_title
from brainjax.report.figures import INK, PALETTE, plain_text, style_axes

MOST_PANELS = 4


def draw_comparison(
    rows: Mapping[str, Mapping[str, Score]],
    metrics: Sequence[str],
    *,
    points: Mapping[str, Mapping[str, Sequence[float]]] | None = None,
    published: Mapping[str, Score] | None = None,
) -> Figure | None:
    """Draws mean ± standard deviation of each label, and its single runs as dots.

    Args:
      rows: label to metric to a value, or to mean and standard deviation.
      metrics: which ones are drawn, a panel each; at most four.
      points: label to metric to the values of the single runs.
      published: metric to the paper's value, a dashed line.

    Returns:
      The figure, or None when nothing is a number.
    """
    drawn = [name for name in metrics if any(_pair(row.get(name)) for row in rows.values())]
    drawn = drawn[:MOST_PANELS]
    if not drawn:
        return None
    columns = min(2, len(drawn))
    lines = math.ceil(len(drawn) / columns)
    size = (1.6 + 3.2 * columns, 0.7 + lines * (0.9 + 0.36 * len(rows)))
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(lines, columns, squeeze=False, sharey=True).ravel()
    for axes in panels[len(drawn) :]:
        axes.set_axis_off()
    for axes, name in zip(panels, drawn, strict=False):
        style_axes(axes, metric_title(name), "")
        axes.grid(axis="x", color=INK, alpha=0.18, linewidth=0.8)
        for place, (label, row) in enumerate(rows.items()):
            values = (points or {}).get(label, {}).get(name, ())
            _draw_row(axes, place, _pair(row.get(name)), values)
        pair = _pair((published or {}).get(name))
        if pair:
            axes.axvline(pair[0], color=PALETTE[1], linestyle="--", linewidth=1.6)
        axes.tick_params(axis="x", labelsize=9.5)
        axes.locator_params(axis="x", nbins=4)
        axes.margins(x=0.12)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_yticks(range(len(rows)), [plain_text(short_name(name, 30)) for name in rows])
    _legend(figure, panels[0], has_points=bool(points), has_published=bool(published))
    return figure


def _draw_row(
    axes: Axes, place: int, pair: tuple[float, float] | None, values: Sequence[float]
) -> None:
    finite = [value for value in values if math.isfinite(value)]
    # Steps of the golden ratio keep neighbours apart without chance.
    heights = [place + 0.16 + 0.2 * (0.618 * number % 1) for number in range(len(finite))]
    axes.plot(
        finite, heights, linestyle="", marker="o", markersize=4.5, alpha=0.7,
        markeredgewidth=0, color=PALETTE[2],
    )  # fmt: skip
    if pair:
        mean, sd = pair
        if math.isfinite(sd):
            axes.plot([mean - sd, mean + sd], [place, place], color=PALETTE[0], linewidth=2.4)
        axes.plot([mean], [place], marker="D", markersize=7, color=PALETTE[0], linestyle="")


def _legend(figure: Figure, axes: Axes, *, has_points: bool, has_published: bool) -> None:
    handles = axes.plot(
        [], [], color=PALETTE[0], marker="D", markersize=7, linewidth=2.4, label="mean ± sd"
    )
    if has_points:
        handles += axes.plot(
            [], [], linestyle="", marker="o", markersize=4.5, color=PALETTE[2], label="one run"
        )
    if has_published:
        handles += axes.plot(
            [], [], color=PALETTE[1], linestyle="--", linewidth=1.6, label=PUBLISHED
        )
    figure.legend(
        handles=handles, loc="outside lower center", frameon=False, fontsize=10,
        labelcolor=INK, ncols=len(handles),
    )  # fmt: skip


def _pair(value: Score) -> tuple[float, float] | None:
    """Mean and standard deviation (NaN of a single value), or None of no number."""
    if isinstance(value, (tuple, list)):
        mean, sd = (math.nan if part is None else float(part) for part in value)
    elif isinstance(value, (int, float, np.number)) and not isinstance(value, bool):
        mean, sd = float(value), math.nan
    else:
        return None
    return (mean, sd) if math.isfinite(mean) else None
