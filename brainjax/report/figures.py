"""Figures of a run: curves over steps and the spread of scores over cases.

Drawn with matplotlib's objects only, so nothing global is touched. Ink is drawn
in one sentinel colour, which `svg_text` turns into ``currentColor``: one figure
suits a light and a dark page.
"""

from __future__ import annotations

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

_INK = "#010203"
_DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)))
_MARKERS = ("o", "s", "^", "D", "v", "P")


def draw_curves(
    history: Sequence[Mapping[str, Any]],
    lines: Mapping[str, str],
    *,
    title: str,
    ylabel: str,
    limits: tuple[float, float] | None = None,
    logarithmic: bool = False,
) -> Figure | None:
    """Draws quantities of a run over its steps.

    Args:
      history: rows of ``metrics.jsonl``: ``"step"`` and any other keys; values that
        are missing, None or not finite are left out.
      lines: label in the legend to key in the rows.
      title: of the figure.
      ylabel: name and unit of the quantity.
      limits: of the vertical axis.
      logarithmic: whether to draw the vertical axis so.

    Returns:
      The figure, or None when no line has a value.
    """
    series = {label: _series(history, key) for label, key in lines.items()}
    series = {label: points for label, points in series.items() if points[0]}
    if not series:
        return None
    figure, axes = _figure(title)
    for index, (label, (steps, values)) in enumerate(series.items()):
        few = len(steps) <= 40
        axes.plot(
            steps,
            values,
            label=label,
            color=PALETTE[index % len(PALETTE)],
            linestyle=_DASHES[index % len(_DASHES)],
            linewidth=1.8,
            marker=_MARKERS[index % len(_MARKERS)] if few else None,
            markersize=4,
        )
    axes.set_xlabel("step")
    axes.set_ylabel(ylabel)
    if limits is not None:
        axes.set_ylim(limits)
    if logarithmic and min(min(values) for _, values in series.values()) > 0:
        axes.set_yscale("log")
    if len(series) > 1:
        legend = axes.legend(frameon=False, fontsize=10, labelcolor=_INK, ncols=min(3, len(series)))
        legend.set_in_layout(True)
    return figure


def draw_scores(
    scores: Mapping[str, Sequence[float]], *, title: str, ylabel: str
) -> Figure | None:
    """Draws every case's score as a dot and their quartiles as a box, per region.

    Args:
      scores: region to one score per case; NaN is left out and counted on the axis.
      title: of the figure.
      ylabel: name and unit of the score.

    Returns:
      The figure, or None when no score is defined.
    """
    defined = {name: [v for v in values if math.isfinite(v)] for name, values in scores.items()}
    if not any(defined.values()):
        return None
    figure, axes = _figure(title)
    ticks = []
    for index, (region, values) in enumerate(defined.items()):
        colour = PALETTE[index % len(PALETTE)]
        if len(values) > 1:
            ink = {"color": colour, "linewidth": 1.6}
            axes.boxplot(
                values, positions=[index], widths=0.5, showfliers=False,
                boxprops=ink, whiskerprops=ink, capprops=ink,
                medianprops={"color": _INK, "linewidth": 2.2},
            )  # fmt: skip
        # The golden ratio spreads neighbours apart without chance.
        shift = [index + 0.36 * ((0.618 * n) % 1 - 0.5) for n in range(len(values))]
        axes.plot(
            shift, values, linestyle="", marker=_MARKERS[index % len(_MARKERS)],
            markersize=5, alpha=0.75, color=colour, markeredgewidth=0,
        )  # fmt: skip
        ticks.append(f"{region}\nn = {len(values)}")
    axes.set_xticks(range(len(ticks)), ticks)
    axes.set_xlim(-0.6, len(ticks) - 0.4)
    axes.set_ylabel(ylabel)
    return figure


def svg_text(figure: Figure, *, description: str) -> str:
    """Turns a figure into SVG to put inside a page, with its text as text.

    Args:
      figure: from this module.
      description: what a screen reader says; escaped here.
    """
    stream = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "brainjax"}):
        metadata = {"Date": None, "Creator": None, "Type": None, "Format": None}
        figure.savefig(stream, format="svg", transparent=True, metadata=metadata)
    text = stream.getvalue()
    text = text[text.index("<svg") :].replace(_INK, "currentColor")
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r' (width|height)="[\d.]+pt"', "", text, count=2)
    # Every figure numbers its parts from one; on a page they must not meet.
    tag = f"f{abs(hash_of(text)):x}"
    text = re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{tag}-", text)
    label = _escaped(description)
    return text.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)


def png_bytes(figure: Figure, *, dpi: int = 100) -> bytes:
    """Turns a figure into PNG; equal figures give equal bytes."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=dpi, metadata={"Software": None})
    return stream.getvalue()


def save_figure(path: str | os.PathLike[str], figure: Figure, *, dpi: int = 150) -> None:
    """Writes a figure as a PNG file, atomically."""
    data = png_bytes(figure, dpi=dpi)
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)
