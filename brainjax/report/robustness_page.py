"""Scores of a network under artefacts: a table, and a page with one heat map."""

from __future__ import annotations

import csv
import dataclasses
import html
import io
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from brainjax.report.classification_page import write_page
from brainjax.report.figures import INK, plain_text, style_axes
from brainjax.report.layout import figure_html, page_html, run_html
from brainjax.report.tables import REGION_NAMES, number_text, sortable_heads, table_html

COLOURS = "cividis"

_DARK_BELOW = 0.55  # light words read better on the darker colours


@dataclasses.dataclass(frozen=True, kw_only=True)
class RobustnessRow:
    """One condition and the scores under it.

    Attributes:
      kind: what was done to the images.
      label: of the row.
      strength: of an artefact, in the units of its kind.
      scores: of the heat map, 0 to 1 and higher is better.
      details: everything for the table.
    """

    kind: str
    label: str
    strength: float
    scores: Mapping[str, float]
    details: Mapping[str, float]


def robustness_csv(rows: Sequence[RobustnessRow]) -> str:
    """A table with a row for each condition; cells without a value are empty."""
    names = list(dict.fromkeys(name for row in rows for name in row.details))
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["kind", "condition", "strength", *names])
    for row in rows:
        cells = [row.details.get(name, "") for name in names]
        writer.writerow([row.kind, row.label, row.strength, *cells])
    return stream.getvalue()


def robustness_markdown(
    rows: Sequence[RobustnessRow], columns: Sequence[str], *, metric: str
) -> str:
    """The scores of the heat map, and how far each last column is from the first row's."""
    last = columns[-1]
    first = rows[0].scores.get(last, math.nan)
    lines = [
        f"| condition | {' | '.join(columns)} | change of {last} |",
        "|---|" + "---:|" * (len(columns) + 1),
    ]
    for row in rows:
        cells = [number_text(row.scores.get(name), name="dice") for name in columns]
        change = row.scores.get(last, math.nan) - first
        told = f"{change:+.3f}" if math.isfinite(change) else "n/a"
        lines.append(f"| {row.label} | {' | '.join(cells)} | {told} |")
    return f"{metric}, mean\n\n" + "\n".join(lines)


def draw_robustness(
    rows: Sequence[RobustnessRow], columns: Sequence[str], *, metric: str
) -> Figure | None:
    """Draws a cell for each condition and score, from 0 (dark) to 1 (light).

    Args:
      rows: the conditions from top to bottom; a line parts their kinds.
      columns: the scores from left to right.
      metric: what the colour means.

    Returns:
      The figure, or None of no row.
    """
    if not rows:
        return None
    figure = Figure(figsize=(7.2, 1.4 + 0.29 * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    style_axes(axes, "", "")
    axes.grid(visible=False)
    scale = ScalarMappable(Normalize(0, 1), colormaps[COLOURS])
    for (place, row), (column, name) in (
        (one, other) for one in enumerate(rows) for other in enumerate(columns)
    ):
        value = row.scores.get(name, math.nan)
        known = math.isfinite(value)
        axes.add_patch(
            Rectangle(
                (column - 0.5, place - 0.5), 1, 1, edgecolor="none",
                facecolor=scale.to_rgba(np.asarray(value)) if known else "none",
            )
        )  # fmt: skip
        axes.text(
            column, place, f"{value:.2f}" if known else "n/a", ha="center", va="center",
            fontsize=9.5, color=(("white" if value < _DARK_BELOW else "black") if known else INK),
        )  # fmt: skip
    for place in range(1, len(rows)):
        if rows[place].kind != rows[place - 1].kind:
            axes.axhline(place - 0.5, color="white", linewidth=4)
    axes.set(xlim=(-0.5, len(columns) - 0.5), ylim=(len(rows) - 0.5, -0.5))
    axes.set_xticks(range(len(columns)), [plain_text(name) for name in columns])
    axes.set_yticks(range(len(rows)), [plain_text(row.label.replace("_", " ")) for row in rows])
    axes.xaxis.tick_top()
    axes.tick_params(length=0, labelsize=10)
    for spine in axes.spines.values():
        spine.set_visible(False)
    bar = figure.colorbar(scale, ax=axes, aspect=40, pad=0.02, fraction=0.05)
    assert bar.solids is not None
    bar.solids.set(rasterized=True, edgecolor="none")
    bar.set_label(metric, color=INK, fontsize=10.5)
    bar.ax.tick_params(labelsize=9.5, labelcolor=INK, color=INK)
    bar.outline.set(edgecolor=INK, alpha=0.4)
    return figure


def write_robustness(
    path: str | os.PathLike[str],
    rows: Sequence[RobustnessRow],
    columns: Sequence[str],
    *,
    metric: str,
    title: str,
    command: str,
    config: Mapping[str, Any],
    environment: Mapping[str, Any],
    notes: Sequence[str] = (),
    figures_folder: str | os.PathLike[str] | None = None,
) -> tuple[Path, ...]:
    """Writes the page and its heat map as a PNG file, which it returns."""
    figure = draw_robustness(rows, columns, metric=metric)
    figures = {} if figure is None else {"robustness": figure}
    words = f"{metric} of every condition; the table has the numbers"
    sections = {
        "Scores": "" if figure is None else figure_html(figure, words, wide=True),
        "Table": _table(rows),
        "Run": run_html(command, environment, config),
    }
    top = "".join(f"<p>{html.escape(note)}</p>" for note in notes)
    return write_page(path, page_html(title, top, sections), figures, figures_folder)


def _table(rows: Sequence[RobustnessRow]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row.details))
    lines = []
    for row in rows:
        cells = [f'<th scope="row">{html.escape(row.label)}</th>']
        for name in names:
            value = row.details.get(name)
            known = value is not None and math.isfinite(value)
            sort = f' data-value="{value!r}"' if known else ""
            text = number_text(value, name=name.split("/")[0])
            cells.append(f"<td{sort}>{html.escape(text)}</td>")
        lines.append(f"<tr>{''.join(cells)}</tr>")
    heads = sortable_heads(["Condition", *map(_title, names)])
    caption = "Means over cases; click on a head to sort"
    return table_html(heads, lines, caption=caption, css="sortable")


def _title(name: str) -> str:
    metric, _, region = name.partition("/")
    known = region in REGION_NAMES
    return f"{region} {metric}" if known else name
