"""The part of a report on whether a segmentation's probabilities mean what they say."""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Mapping, Sequence

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from brainjax.evaluation.voxel_calibration import RegionReliability
from brainjax.report.figures import INK, PALETTE, plain_text, style_axes
from brainjax.report.layout import figure_html
from brainjax.report.tables import REGION_NAMES, table_html

_PARTS = {"val": "Validation", "test": "Test"}
_DOUBTS = {"entropy": "entropy", "mutual_information": "mutual information"}
_MARKERS = "os^Dv"

_NOTE = (
    "Of each case, up to 100,000 voxels of the brain. A region's probability is the sum of its "
    "classes'; ECE is the mean distance of forecast and share, weighted by voxels, which are "
    "mostly certain ones. The temperature was fitted to the validation cases: only the test "
    "cases' numbers after scaling are of cases that it has not seen."
)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class CalibratedPart:
    """Calibration of one set of cases.

    Attributes:
      name: ``val`` or ``test``.
      temperature: of the scaled probabilities.
      reliability: of each region.
      error_detection: measure of uncertainty to its AUROC against errors.
    """

    name: str
    temperature: float
    reliability: tuple[RegionReliability, ...]
    error_detection: Mapping[str, float]


def calibration_html(parts: Sequence[CalibratedPart]) -> str:
    """Reliability diagrams and a table of each set of cases; nothing without any."""
    if not parts:
        return ""
    pieces = [f'<p class="note">{html.escape(_NOTE)}</p>']
    for part in parts:
        words = _PARTS.get(part.name, part.name)
        figure = draw_region_reliability(part, title=words)
        pieces.append(
            f'<div class="plots">'
            f"{figure_html(figure, f'{words}: reliability; the table has the ECE', wide=True)}"
            f"</div>{_table(part, words)}"
        )
        for name, area in part.error_detection.items():
            pieces.append(
                f"<p>{html.escape(words)}: {_DOUBTS.get(name, name)} tells wrong voxels from "
                f"right ones with an AUROC of {area:.3f}, mean over cases (0.5 is chance).</p>"
            )
    return "".join(pieces)


def draw_region_reliability(part: CalibratedPart, *, title: str) -> Figure:
    """Draws how often each region is there over how likely it was said to be.

    Args:
      part: what is drawn: before scaling on the left, after it on the right.
      title: of the figure.
    """
    figure = Figure(figsize=(8.2, 5.0), layout="compressed")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, words, pick in (
        (left, f"{title}: as predicted", "before"),
        (right, f"temperature {part.temperature:.2f}", "after"),
    ):
        style_axes(axes, words, "share of voxels in the region" if axes is left else "")
        axes.plot([0, 1], [0, 1], color=INK, alpha=0.55, linewidth=1.2, linestyle=(0, (2, 3)))
        for index, one in enumerate(part.reliability):
            bins = getattr(one, pick)
            filled = bins.counts > 0
            name = REGION_NAMES.get(one.region, one.region)
            axes.plot(
                bins.confidence[filled], bins.accuracy[filled], marker=_MARKERS[index % 5],
                markersize=5.5, linewidth=1.6, color=PALETTE[index % len(PALETTE)],
                linestyle=("-", "--", "-.", ":")[index % 4],
                label=plain_text(name) if axes is left else None,
            )  # fmt: skip
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
        axes.set_xlabel("probability of the region", color=INK)
    figure.legend(loc="outside lower center", frameon=False, fontsize=10.5, labelcolor=INK, ncols=3)
    return figure


def _table(part: CalibratedPart, words: str) -> str:
    rows = [
        f'<tr><th scope="row">{html.escape(REGION_NAMES.get(one.region, one.region))}</th>'
        f"<td>{one.before.expected_calibration_error:.4f}</td>"
        f"<td>{one.after.expected_calibration_error:.4f}</td></tr>"
        for one in part.reliability
    ]
    head = (
        '<tr><th></th><th scope="col">ECE as predicted</th>'
        f'<th scope="col">ECE at temperature {part.temperature:.3f}</th></tr>'
    )
    return table_html(head, rows, caption=f"{words}: expected calibration error per region")
