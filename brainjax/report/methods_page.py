"""The report of several methods on the same cases, and what a page says of folds."""

from __future__ import annotations

import html
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from brainjax.evaluation import COMPARED, MethodDifference, TextTable
from brainjax.files import write_text
from brainjax.report.figures import INK, PALETTE, draw_curves, plain_text, style_axes
from brainjax.report.layout import figure_html, page_html, run_html
from brainjax.report.tables import REGION_NAMES, sortable_heads, table_html


def write_methods_report(
    path: str | os.PathLike[str],
    *,
    title: str,
    command: str,
    config: Mapping[str, Any],
    scores: Sequence[TextTable],
    differences: Sequence[TextTable],
    drawn: Sequence[MethodDifference],
    titles: Mapping[str, str],
    environment: Mapping[str, Any],
    notes: Sequence[str],
) -> None:
    """Writes the report of an ablation as one HTML file, atomically.

    Args:
      path: of the file.
      title: of the page.
      command: how to run it again.
      config: nested settings that the methods share.
      scores: tables of means.
      differences: tables of differences to the first method.
      drawn: the same differences, for the figures.
      titles: name of a method to its title.
      environment: versions and the machine.
      notes: remarks for the reader.
    """
    plots = [
        figure_html(
            figure,
            f"{COMPARED[metric]}: differences to the reference with their 95 % intervals; "
            "the tables have the numbers",
            wide=True,
        )
        for metric in COMPARED
        if (figure := draw_differences(drawn, metric, titles)) is not None
    ]
    sections = {
        "Scores": "".join(text_table_html(table) for table in scores),
        "Differences": f'<div class="plots">{"".join(plots)}</div>'
        + "".join(text_table_html(table) for table in differences),
        "Run": run_html(command, environment, config),
    }
    top = "".join(f"<p>{html.escape(note)}</p>" for note in notes)
    write_text(path, page_html(title, top, sections))


def text_table_html(table: TextTable) -> str:
    """A table whose columns sort at a click on their heads, by a cell's first number."""
    rows = []
    for first, *cells in table.rows:
        filled = "".join(f"<td{_sort_value(cell)}>{html.escape(cell)}</td>" for cell in cells)
        rows.append(f'<tr><th scope="row">{html.escape(first)}</th>{filled}</tr>')
    heads = [title.replace(" (", "\N{NO-BREAK SPACE}(") for title in table.head]
    return table_html(sortable_heads(heads), rows, caption=table.caption, css="sortable")


def folds_html(
    tables: Sequence[TextTable], histories: Mapping[str, Sequence[Mapping[str, Any]]]
) -> str:
    """Tables of a cross-validation and the validation Dice of each fold over its steps.

    Args:
      tables: what to show.
      histories: fold to rows of its ``metrics.jsonl``.
    """
    rows = [
        {"step": row["step"], label: row["val/dice/mean"]}
        for label, history in histories.items()
        for row in history
        if "val/dice/mean" in row
    ]
    figure = draw_curves(
        rows,
        {label: label for label in histories},
        title="Validation Dice of each fold",
        ylabel="mean Dice of ET, WT, TC",
        limits=(0.0, 1.0),
    )
    words = "Mean validation Dice of each fold over its steps"
    plot = "" if figure is None else f'<div class="plots">{figure_html(figure, words)}</div>'
    return "".join(text_table_html(table) for table in tables) + plot


def draw_differences(
    differences: Sequence[MethodDifference], metric: str, titles: Mapping[str, str]
) -> Figure | None:
    """Draws differences to the reference with intervals: a panel a region, a row a method.

    Methods whose adjusted p-value is below 0.05 have a filled mark.

    Args:
      differences: of all metrics.
      metric: the one to draw; Dice in percentage points.
      titles: name of a method to its title.

    Returns:
      The figure, or None when no difference has a value.
    """
    chosen = [
        one for one in differences if one.metric == metric and math.isfinite(one.difference.mean)
    ]
    if not chosen:
        return None
    regions = list(dict.fromkeys(one.region for one in chosen))
    methods = list(dict.fromkeys(one.method for one in chosen))
    size = (2.2 + 2.4 * len(regions), 1.2 + 0.34 * len(methods))
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(regions), squeeze=False, sharey=True)[0]
    scale = 100.0 if metric == "dice" else 1.0
    for axes, region in zip(panels, regions, strict=True):
        style_axes(axes, REGION_NAMES.get(region, region), "")
        axes.grid(axis="x", color=INK, alpha=0.18, linewidth=0.8)
        axes.axvline(0.0, color=INK, linewidth=1.2)
        for one in chosen:
            if one.region == region:
                _draw_interval(axes, methods.index(one.method), one, scale)
        axes.locator_params(axis="x", nbins=4)
        axes.tick_params(axis="x", labelsize=9.5)
        axes.margins(x=0.12)
        axes.set_ylim(len(methods) - 0.4, -0.6)
        names = [plain_text(titles.get(name, name)) for name in methods]
        axes.set_yticks(range(len(methods)), names)
    unit = "Dice (percentage points)" if metric == "dice" else COMPARED[metric]
    words = f"difference in {unit}, 95 % interval; filled: p (Holm) below 0.05"
    figure.supxlabel(words, fontsize=10.5, color=INK)
    return figure


def _draw_interval(axes: Axes, place: int, one: MethodDifference, scale: float) -> None:
    pair = one.difference
    clear = one.p_holm < 0.05
    axes.plot(
        [scale * pair.low, scale * pair.high], [place, place], color=PALETTE[0], linewidth=2.2
    )
    axes.plot(
        [scale * pair.mean], [place], linestyle="", marker="D", markersize=7,
        color=PALETTE[0], markerfacecolor=PALETTE[0] if clear else "white",
    )  # fmt: skip


def _sort_value(cell: str) -> str:
    """What a cell sorts by, where it begins with a number."""
    try:
        return f' data-value="{float(cell.split()[0].lstrip("<"))!r}"'
    except (ValueError, IndexError):
        return ""
