"""Figures of a search: its history, what mattered, and each setting against the score."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from brainjax.report.classification_figures import short_name
from brainjax.report.figures import INK, PALETTE, new_figure, plain_text, style_axes

MOST_PANELS = 9

Points = Sequence[tuple[int, float, bool]]
"""Trial number, score, and whether the trial was stopped early."""


def draw_search_history(points: Points, *, score_name: str, maximise: bool) -> Figure | None:
    """Draws the score of each trial in the order in which they began, and the best so far.

    Args:
      points: of every trial with a score; number 0 is the starting configuration.
      score_name: name of the score.
      maximise: whether a higher score is better.

    Returns:
      The figure, or None of no trial.
    """
    if not points:
        return None
    points = sorted(points)
    figure, axes = new_figure("Trials", score_name, size=(6.4, 3.9))
    complete = [(number, score) for number, score, pruned in points if not pruned]
    stopped = [(number, score) for number, score, pruned in points if pruned]
    if complete:
        numbers, scores = zip(*complete, strict=True)
        better = max if maximise else min
        axes.plot(
            [*numbers, points[-1][0]],
            [*(best := list(itertools.accumulate(scores, better))), best[-1]],
            drawstyle="steps-post", color=PALETTE[2], linewidth=1.8, label="best so far",
        )  # fmt: skip
        axes.plot(
            numbers, scores, linestyle="", marker="o", markersize=6.5, color=PALETTE[0],
            label="complete",
        )  # fmt: skip
    if stopped:
        axes.plot(
            *zip(*stopped, strict=True), linestyle="", marker="x", markersize=7, color=PALETTE[1],
            markeredgewidth=2, label="stopped early",
        )  # fmt: skip
    if points[0][0] == 0:
        axes.axhline(
            points[0][1], color=INK, alpha=0.6, linewidth=1.2, linestyle=(0, (2, 3)), label="start"
        )
    axes.set_xlabel("trial", color=INK)
    axes.locator_params(axis="x", integer=True)
    axes.margins(y=0.12)
    _legend(figure)
    return figure


def draw_importances(importances: Mapping[str, float]) -> Figure | None:
    """Draws each setting's share of the variance of the scores; None of no setting."""
    if not importances:
        return None
    ordered = sorted(importances.items(), key=lambda item: item[1])
    figure, axes = new_figure("What mattered", "", size=(6.4, 1.5 + 0.36 * len(ordered)))
    names = [plain_text(short_name(name, 30)) for name, _ in ordered]
    bars = axes.barh(range(len(ordered)), [v for _, v in ordered], 0.7, color=PALETTE[0])
    axes.bar_label(bars, fmt="{:.0%}", padding=3, fontsize=10, color=INK)
    axes.set_yticks(range(len(ordered)), names)
    axes.grid(visible=False)
    axes.grid(axis="x", color=INK, alpha=0.18, linewidth=0.8)
    axes.set_xlim(0, 1.12 * max(value for _, value in ordered) or 1.0)
    axes.xaxis.set_major_formatter("{x:.0%}")
    axes.set_xlabel("share of the scores' variance (fANOVA)", color=INK)
    return figure


def draw_settings(
    values: Mapping[str, Sequence[Any]],
    points: Points,
    *,
    found: int,
    score_name: str,
    logarithmic: Collection[str],
) -> Figure | None:
    """Draws the score over each setting, a panel each; at most nine.

    Args:
      values: setting to its value in each trial, in the order of ``points``.
      points: as in ``draw_search_history``.
      found: number of the best trial.
      score_name: name of the score.
      logarithmic: settings that are drawn on a logarithmic axis.

    Returns:
      The figure, or None of no trial or no setting.
    """
    names = list(values)[:MOST_PANELS]
    if not points or not names:
        return None
    columns = min(3, len(names))
    rows = math.ceil(len(names) / columns)
    figure = Figure(figsize=(0.8 + 2.9 * columns, 0.5 + 2.5 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    for axes in panels[len(names) :]:
        axes.set_axis_off()
    for place, (axes, name) in enumerate(zip(panels, names, strict=False)):
        style_axes(axes, "", score_name if place % columns == 0 else "")
        drawn = values[name]
        numeric = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in drawn)
        kinds = list(dict.fromkeys(map(str, drawn)))
        places = list(drawn) if numeric else [kinds.index(str(v)) for v in drawn]
        for pruned, style in enumerate(
            ({"marker": "o", "color": PALETTE[0]}, {"marker": "x", "color": PALETTE[1]})
        ):
            chosen = [n for n, point in enumerate(points) if point[2] == bool(pruned)]
            axes.plot(
                [places[n] for n in chosen], [points[n][1] for n in chosen],
                linestyle="", markersize=6, markeredgewidth=1.6, alpha=0.85,
                label=("complete", "stopped early")[pruned] if place == 0 and chosen else None,
                **style,
            )  # fmt: skip
        best = next((n for n, point in enumerate(points) if point[0] == found), None)
        if best is not None:
            axes.plot(
                places[best], points[best][1], linestyle="", marker="o", markersize=13,
                markerfacecolor="none", markeredgewidth=2, color=PALETTE[2],
                label="found" if place == 0 else None,
            )  # fmt: skip
        if not numeric:
            axes.set_xticks(range(len(kinds)), [plain_text(short_name(k, 14)) for k in kinds])
        elif name in logarithmic:
            axes.set_xscale("log")
            axes.xaxis.set_minor_formatter(NullFormatter())
        else:
            axes.locator_params(axis="x", nbins=5)
        axes.set_xlabel(plain_text(short_name(name, 30)), color=INK)
        axes.tick_params(labelsize=9, which="both", color=INK, labelcolor=INK)
        axes.margins(x=0.1, y=0.12)
    _legend(figure)
    return figure


def _legend(figure: Figure) -> None:
    figure.legend(loc="outside lower center", frameon=False, fontsize=10.5, labelcolor=INK, ncols=4)
