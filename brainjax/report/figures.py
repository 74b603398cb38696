"""Figures of a run: curves over steps and the spread of scores over cases.

Drawn with matplotlib's objects only, so nothing global is touched. Ink is drawn
in one sentinel colour, which `svg_text` turns into ``currentColor``: one figure
suits a light and a dark page.
"""

from __future__ import annotations

import hashlib
import html
import io
import math
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from brainjax.files import atomic_path

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito's colours that read on white and on black, for the colour-blind too."""

INK = "#010203"
"""The sentinel colour: what is drawn in it takes the colour of the page's text."""

_DASHES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)))
_MARKERS = ("o", "s", "^", "D", "v", "P")
_MOST_POINTS = 400
_MOST_MARKERS = 40


_EVEN = 1e-4
"""Relative spread below which a curve is drawn as the constant that it is."""


def draw_curves(
    history: Sequence[Mapping[str, Any]],
    lines: Mapping[str, str],
    *,
    title: str,
    ylabel: str,
    limits: tuple[float, float] | None = None,
    across: str = "step",
) -> Figure | None:
    """Draws quantities of a run over its steps or epochs.

    Where there are more than 400 rows, each point is the mean of several.

    Args:
      history: rows of ``metrics.jsonl``: ``across`` and any other keys; values that
        are missing, None or not finite are left out.
      lines: label in the legend to key in the rows.
      title: of the figure.
      ylabel: name and unit of the quantity.
      limits: of the vertical axis.
      across: key of the horizontal axis and its name.

    Returns:
      The figure, or None when no line has a value.
    """
    series = {label: _series(history, key, across) for label, key in lines.items()}
    series = {label: points for label, points in series.items() if points}
    if not series:
        return None
    figure, axes = new_figure(title, ylabel)
    for index, (label, points) in enumerate(series.items()):
        axes.plot(
            [step for step, _ in points],
            [value for _, value in points],
            label=plain_text(label),
            **line_style(index),
            linewidth=1.8,
            marker=_MARKERS[index % len(_MARKERS)] if len(points) <= _MOST_MARKERS else None,
            markersize=4.5,
        )
    axes.set_xlabel(across, color=INK)
    values = [value for points in series.values() for _, value in points]
    if limits is None and 0 < max(values) < (1 + _EVEN) * min(values):
        limits = (0.0, 1.25 * max(values))
    if limits is not None:
        axes.set_ylim(limits)
    if len(series) > 1:
        figure.legend(
            loc="outside lower center",
            frameon=False,
            fontsize=11,
            labelcolor=INK,
            ncols=2 if len(series) in (2, 4) else 3,
        )
    return figure


def draw_scores(scores: Mapping[str, Sequence[float]], *, title: str, ylabel: str) -> Figure | None:
    """Draws every case's score as a mark, and quartiles as a box, per region.

    Args:
      scores: region to one score per case; NaN is left out of the count below it.
      title: of the figure.
      ylabel: name and unit of the score.

    Returns:
      The figure, or None when no score is defined.
    """
    defined = {name: [v for v in values if math.isfinite(v)] for name, values in scores.items()}
    if not any(defined.values()):
        return None
    figure, axes = new_figure(title, ylabel)
    for index, values in enumerate(defined.values()):
        colour = PALETTE[index % len(PALETTE)]
        if len(values) > 1:
            line = {"color": colour, "linewidth": 1.6}
            axes.boxplot(
                [values],
                positions=[index],
                widths=0.55,
                showfliers=False,
                boxprops=line,
                whiskerprops=line,
                capprops=line,
                medianprops={"color": INK, "linewidth": 2.2},
            )
        # Steps of the golden ratio keep neighbours apart without chance.
        shift = [index + 0.36 * ((0.618 * number) % 1 - 0.5) for number in range(len(values))]
        axes.plot(
            shift,
            values,
            linestyle="",
            marker=_MARKERS[index % len(_MARKERS)],
            markersize=5.5,
            markeredgewidth=0,
            alpha=0.75,
            color=colour,
        )
    labels = [f"{plain_text(name)}\nn = {len(values)}" for name, values in defined.items()]
    axes.set_xticks(range(len(labels)), labels)
    axes.set_xlim(-0.6, len(labels) - 0.4)
    return figure


def svg_text(figure: Figure, *, description: str) -> str:
    """Turns a figure into SVG to put inside a page, its words as text in the page's ink.

    Args:
      figure: from `draw_curves` or `draw_scores`.
      description: what a screen reader says instead; escaped here.
    """
    stream = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "brainjax"}):
        nothing = dict.fromkeys(("Date", "Creator", "Type", "Format"))
        figure.savefig(stream, format="svg", transparent=True, metadata=nothing)
    text = stream.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    text = re.sub(PALETTE[0], f"var(--blue,{PALETTE[0]})", text, flags=re.IGNORECASE)
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r' (?:width|height)="[\d.]+pt"', "", text, count=2)
    # Figures number their parts alike; the prefix keeps them apart on one page.
    prefix = "f" + hashlib.sha256(text.encode()).hexdigest()[:10]
    text = re.sub(r'( id="|url\(#|href="#)', rf"\g<1>{prefix}-", text)
    label = html.escape(description)
    return text.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)


def png_bytes(figure: Figure, *, dpi: int = 120) -> bytes:
    """Turns a figure into PNG; equal figures give equal bytes."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=dpi, metadata={"Software": None})
    return stream.getvalue()


def save_figure(path: str | os.PathLike[str], figure: Figure, *, dpi: int = 150) -> None:
    """Writes a figure as a PNG file, atomically."""
    data = png_bytes(figure, dpi=dpi)
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def line_style(index: int) -> dict[str, Any]:
    """Colour and dashes of the line with this number: 36 that differ.

    >>> line_style(0) == line_style(6)
    False
    """
    dash = (index + index // len(PALETTE)) % len(_DASHES)
    return {"color": PALETTE[index % len(PALETTE)], "linestyle": _DASHES[dash]}


def new_figure(
    title: str, ylabel: str, *, size: tuple[float, float] = (4.8, 3.3)
) -> tuple[Figure, Axes]:
    """Makes an empty figure of a size in inches with one axes in the look of the page."""
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    style_axes(axes, title, ylabel)
    return figure, axes


def style_axes(axes: Axes, title: str, ylabel: str) -> None:
    """Gives axes their title, the name of the vertical axis and the look of the page."""
    axes.set_title(plain_text(title), fontsize=12, color=INK, loc="left")
    axes.set_ylabel(plain_text(ylabel), fontsize=11, color=INK)
    axes.xaxis.label.set_fontsize(11)
    axes.tick_params(labelsize=10.5, labelcolor=INK, color=INK)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(INK)
    axes.grid(axis="y", color=INK, alpha=0.18, linewidth=0.8)
    axes.set_axisbelow(True)


def plain_text(text: str) -> str:
    """Text that matplotlib does not read as a formula."""
    return text.replace("$", r"\$")


def _series(
    history: Sequence[Mapping[str, Any]], key: str, across: str
) -> list[tuple[float, float]]:
    points = [
        (float(row[across]), float(row[key]))
        for row in history
        if _is_number(row.get(across)) and _is_number(row.get(key))
    ]
    size = math.ceil(len(points) / _MOST_POINTS)
    groups = [points[start : start + size] for start in range(0, len(points), max(size, 1))]
    return [
        (sum(step for step, _ in group) / len(group), sum(value for _, value in group) / len(group))
        for group in groups
    ]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)
