"""Saliency maps beside their image, and how well they point, as figures."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from brainjax.evaluation import MethodSummary
from brainjax.report.examples import REFERENCE_COLOUR
from brainjax.report.figures import INK, PALETTE, line_style, new_figure, plain_text, style_axes

MAP_COLOURS = "inferno"
"""Of the maps: its brightness rises evenly, also for the colour-blind."""

_FULL = 99.5
"""The percentile of a map that is drawn as 1: a single pixel does not darken the rest."""

_COLUMNS = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class MapPicture:
    """A case's image, or one section of it, and its maps.

    Attributes:
      case_id: the case.
      words: what it is and what the network said, plain text.
      image: `[H, W]`, any range.
      region: bool `[H, W]`, where the tumour is, or None where that is not known.
      maps: method to values `[H, W]`.
      scores: method to AUROC, for the titles; what is missing is left out.
      aspect: height of a pixel over its width.
    """

    case_id: str
    words: str
    image: np.ndarray
    region: np.ndarray | None
    maps: Mapping[str, np.ndarray]
    scores: Mapping[str, float] = dataclasses.field(default_factory=dict)
    aspect: float = 1.0


def method_words(name: str) -> str:
    """A method's name for people.

    >>> method_words("gradient_times_input"), method_words("grad_cam")
    ('gradient times input', 'Grad-CAM')
    """
    known = {
        "gradient_times_input": "gradient times input",
        "smooth_gradient": "SmoothGrad",
        "grad_cam": "Grad-CAM",
        "uniform": "uniform (baseline)",
        "centre": "centred Gaussian (baseline)",
        "intensity": "brightness (baseline)",
    }
    return known.get(name, name.replace("_", " "))


def draw_maps(picture: MapPicture) -> Figure:
    """Draws image and maps with the reference's outline, on one colour scale with a bar."""
    panels = 1 + len(picture.maps)
    columns = min(_COLUMNS, panels)
    rows = math.ceil(panels / columns)
    height, width = picture.image.shape
    tall = 2.3 * min(max(height * picture.aspect / width, 0.5), 2.0)
    figure = Figure(figsize=(2.3 * columns + 0.9, (tall + 0.32) * rows + 0.75))
    figure.set_layout_engine("constrained")
    FigureCanvasAgg(figure)
    heading = f"{picture.case_id}: {picture.words}" if picture.words else picture.case_id
    figure.suptitle(plain_text(heading), fontsize=11, color="black")
    grid = figure.subplots(rows, columns, squeeze=False)
    axes = list(grid.ravel())
    for one in axes:
        one.set_axis_off()
    axes[0].imshow(picture.image, cmap="gray", aspect=picture.aspect, interpolation="nearest")
    axes[0].set_title("image", fontsize=10)
    _outline(axes[0], picture.region)
    for one, (name, values) in zip(axes[1:], picture.maps.items(), strict=False):
        _draw_map(one, picture, name, values)
    bar = figure.colorbar(
        ScalarMappable(Normalize(0, 1), MAP_COLOURS), ax=grid, fraction=0.03, pad=0.01
    )
    bar.set_label(f"value / the map's {_FULL} % quantile", fontsize=10)
    if picture.region is not None:
        line = Line2D([], [], color=REFERENCE_COLOUR, label="tumour (reference)")
        figure.legend(handles=[line], loc="outside lower center", frameon=False, fontsize=10)
    return figure


def _draw_map(axes: Axes, picture: MapPicture, name: str, values: np.ndarray) -> None:
    score = picture.scores.get(name, math.nan)
    told = f", AUROC {score:.2f}" if math.isfinite(score) else ""
    if not np.isfinite(values).all():
        told, values = ": not finite", np.zeros(values.shape)
    elif values.max() == values.min():
        told = ": the same everywhere"
    full = float(np.percentile(values, _FULL)) or float(values.max()) or 1.0
    axes.imshow(
        values / full, cmap=MAP_COLOURS, vmin=0, vmax=1, aspect=picture.aspect,
        interpolation="nearest",
    )  # fmt: skip
    axes.set_title(f"{method_words(name)}{told}", fontsize=8.5)
    _outline(axes, picture.region)


def _outline(axes: Axes, region: np.ndarray | None) -> None:
    if region is not None and region.any() and not region.all():
        axes.contour(region.astype(float), levels=[0.5], colors=[REFERENCE_COLOUR], linewidths=1.4)


def draw_localization(found: Sequence[MethodSummary]) -> Figure | None:
    """Draws AUROC and share over area of every method with 95 % intervals beside chance."""
    scored = [row for row in found if math.isfinite(row.means["auroc"][0])]
    if not scored:
        return None
    figure = Figure(figsize=(9.2, 0.36 * len(scored) + 1.4), layout="constrained")
    FigureCanvasAgg(figure)
    pair = figure.subplots(1, 2, sharey=True)
    measures = (
        ("auroc", "AUROC as a tumour detector", 0.5),
        ("ratio", "share of saliency / share of area", 1.0),
    )
    for axes, (measure, words, chance) in zip(pair, measures, strict=True):
        style_axes(axes, "", "")
        axes.axvline(chance, color=INK, linestyle=":", linewidth=1.2)
        for place, row in enumerate(reversed(scored)):
            mean, low, high = row.means[measure]
            known = row.verdict == "baseline"
            axes.errorbar(
                [mean], [place], xerr=[[max(mean - low, 0)], [max(high - mean, 0)]],
                marker="s" if known else "o", color=PALETTE[1 if known else 0], capsize=3,
                linestyle="",
            )  # fmt: skip
        axes.set_xlabel(words, color=INK)
        axes.set_yticks(range(len(scored)), [method_words(row.method) for row in reversed(scored)])
        axes.grid(axis="x", color=INK, alpha=0.18, linewidth=0.8)
    return figure


def draw_cascade(similarity: Mapping[str, Mapping[str, float]]) -> Figure | None:
    """Draws how alike maps stay while layer after layer becomes random.

    Args:
      similarity: method to the layer randomised last to mean rank correlation, from the
        output down.
    """
    if not similarity:
        return None
    figure, axes = new_figure(
        "Maps of the network and of one made random", "rank correlation", size=(7.2, 4.2)
    )
    layers = list(next(iter(similarity.values())))
    for index, (method, values) in enumerate(similarity.items()):
        axes.plot(
            range(len(layers)), [values[layer] for layer in layers], **line_style(index),
            label=method_words(method), linewidth=1.8, marker="o", markersize=4,
        )  # fmt: skip
    axes.set_xticks(
        range(len(layers)), [plain_text(layer) for layer in layers], rotation=30, ha="right"
    )
    axes.set_xlabel("random from the output down to", color=INK)
    axes.set_ylim(min(-0.1, axes.get_ylim()[0]), 1.05)
    figure.legend(loc="outside lower center", frameon=False, fontsize=10, labelcolor=INK, ncols=3)
    return figure
