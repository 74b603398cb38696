"""Single cases: the modalities with reference and prediction outlined.

Pictures follow the radiological custom: the patient's right is on the left of
the picture, anterior or superior is up; sagittal views look at the left side of
the picture's face, anterior to the left.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

REGION_CLASSES: dict[str, tuple[int, ...]] = {"WT": (1, 2, 3), "TC": (1, 3)}
"""Regions that are outlined, to their classes: whole tumour and tumour core."""

REFERENCE_COLOUR = "#56B4E9"
PREDICTION_COLOUR = "#E69F00"
PLANES = {"sagittal": 0, "coronal": 1, "axial": 2}
"""Name of a plane to the LPS axis that stands on it."""

VIEWS = (
    ("axial", None),
    ("coronal", "flair"),
    ("coronal", "t1ce"),
    ("sagittal", "flair"),
    ("sagittal", "t1ce"),
)

_EDGES = {"sagittal": ("A", "P"), "coronal": ("R", "L"), "axial": ("R", "L")}
MODALITY_NAMES = {"flair": "FLAIR", "t1": "T1", "t1ce": "T1ce", "t2": "T2"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class CaseExample:
    """A case to be shown.

    Attributes:
      case_id: the case.
      rank: why it is shown: ``"best"``, ``"median"``, ``"worst"`` or any words.
      image: float `[D, H, W, C]` in LPS order, zero outside the brain.
      modalities: the C names of the channels.
      reference: uint8 classes `[D, H, W]`, or None when there is no ground truth.
      predicted: uint8 classes `[D, H, W]`.
      spacing_mm: distance of voxels along D, H, W in mm.
      scores: name such as ``"WT Dice"`` to value; NaN is shown as n/a.
      regions: regions to outline, to their classes.
      viewer: path of the case's viewer from the report's folder; empty without one.
    """

    case_id: str
    rank: str
    image: np.ndarray
    modalities: tuple[str, ...]
    reference: np.ndarray | None
    predicted: np.ndarray
    spacing_mm: tuple[float, float, float]
    scores: Mapping[str, float]
    regions: Mapping[str, tuple[int, ...]] = dataclasses.field(
        default_factory=lambda: dict(REGION_CLASSES)
    )
    viewer: str = ""

    def __post_init__(self) -> None:
        """Checks that the arrays belong together."""
        if self.image.ndim != 4 or self.image.shape[3] != len(self.modalities):
            raise ValueError(
                f"image of shape {self.image.shape} does not have one channel for each of "
                f"{self.modalities}"
            )
        for name, classes in (("reference", self.reference), ("predicted", self.predicted)):
            if classes is not None and classes.shape != self.image.shape[:3]:
                raise ValueError(
                    f"{name} of shape {classes.shape} does not fit an image of {self.image.shape}"
                )

    @functools.cached_property
    def brain(self) -> np.ndarray:
        """Where any modality is not zero, bool `[D, H, W]`."""
        return (self.image != 0).any(axis=3)

    @functools.cached_property
    def brain_box(self) -> tuple[tuple[int, int], ...]:
        """First and last voxel of the brain along D, H, W; of the volume when it is empty."""
        box = []
        for axis, size in enumerate(self.brain.shape):
            filled = np.flatnonzero(self.brain.any(axis=tuple({0, 1, 2} - {axis})))
            box.append((int(filled[0]), int(filled[-1])) if filled.size else (0, size - 1))
        return tuple(box)

    @functools.cached_property
    def slices(self) -> dict[str, int]:
        """Per plane, the slice with the largest tumour area.

        The reference decides; without a tumour in it the prediction, without any the
        middle of the brain.
        """
        tumour_classes = sorted({c for classes in self.regions.values() for c in classes})
        for classes in (self.reference, self.predicted):
            if classes is not None and (tumour := np.isin(classes, tumour_classes)).any():
                return {
                    plane: int(np.argmax(tumour.sum(axis=tuple({0, 1, 2} - {axis}))))
                    for plane, axis in PLANES.items()
                }
        return {plane: sum(self.brain_box[axis]) // 2 for plane, axis in PLANES.items()}


def select_examples(case_ids: Sequence[str], mean_dice: Sequence[float]) -> dict[str, str]:
    """Chooses the best, the median and the worst case by mean Dice.

    Cases without a score (NaN) are chosen only when no case has one. One case may
    have several ranks; no case at all gives an empty mapping.

    >>> select_examples(["a", "b", "c", "d"], [0.7, 0.9, float("nan"), 0.2])
    {'best': 'b', 'median': 'a', 'worst': 'd'}
    """
    scored = [
        (-math.inf if math.isnan(dice) else dice, case_id)
        for case_id, dice in zip(case_ids, mean_dice, strict=True)
    ]
    defined = sorted(pair for pair in scored if pair[0] > -math.inf) or sorted(scored)
    if not defined:
        return {}
    middle = (len(defined) - 1) // 2
    return {"best": defined[-1][1], "median": defined[middle][1], "worst": defined[0][1]}


def draw_slice(example: CaseExample, modality: str, plane: str = "axial") -> Figure:
    """Draws one square picture of one modality in one plane, with its outlines.

    Raises:
      ValueError: the example has no such modality, or there is no such plane.
    """
    if modality not in example.modalities:
        raise ValueError(f"modality {modality!r} is none of {example.modalities}")
    if plane not in PLANES:
        raise ValueError(f"plane {plane!r} is none of {tuple(PLANES)}")
    figure = Figure(figsize=(2.8, 2.8), facecolor="black")
    FigureCanvasAgg(figure)
    _paint(figure.add_axes((0, 0, 1, 1)), example, modality, plane)
    return figure


def draw_case(example: CaseExample) -> Figure:
    """Draws all pictures of a case with titles and a legend: to be saved on its own."""
    views = case_views(example)
    columns = max(2, len(example.modalities))
    rows = math.ceil(len(views) / columns)
    figure = Figure(figsize=(2.5 * columns, 2.8 * rows + 0.8), facecolor="black")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, (plane, modality) in zip(grid, views, strict=False):
        _paint(axes, example, modality, plane)
        axes.set_title(view_name(modality, plane), color="white", fontsize=10)
    for axes in grid[len(views) :]:
        axes.set_axis_off()
    scores = ", ".join(f"{name} {score_text(value)}" for name, value in example.scores.items())
    heading = f"{example.case_id} ({example.rank})" + (f": {scores}" if scores else "")
    figure.suptitle(heading.replace("$", r"\$"), color="white", fontsize=11, y=0.985)
    handles = [Line2D([], [], color=PREDICTION_COLOUR, linestyle="--", label="prediction")]
    if example.reference is not None:
        handles.insert(0, Line2D([], [], color=REFERENCE_COLOUR, label="reference"))
    figure.legend(
        handles=handles, loc="lower center", ncols=2, frameon=False, labelcolor="white", fontsize=10
    )
    margin = 0.4 / figure.get_figheight()
    figure.subplots_adjust(0.01, margin, 0.99, 1 - 1.6 * margin, wspace=0.03, hspace=0.12)
    return figure


def case_views(example: CaseExample) -> list[tuple[str, str]]:
    """The pictures that show a case, as (plane, modality)."""
    views = []
    for plane, modality in VIEWS:
        if modality is None:
            views += [(plane, name) for name in example.modalities]
        elif modality in example.modalities:
            views.append((plane, modality))
    return views


def view_name(modality: str, plane: str) -> str:
    """What a picture shows, such as ``"FLAIR, axial"``."""
    return f"{MODALITY_NAMES.get(modality, modality)}, {plane}"


def score_text(value: float | None) -> str:
    """A score with three decimals, or n/a.

    >>> score_text(0.5), score_text(float("nan")), score_text(None)
    ('0.500', 'n/a', 'n/a')
    """
    return "n/a" if value is None or not math.isfinite(value) else f"{value:.3f}"


def _paint(axes: Axes, example: CaseExample, modality: str, plane: str) -> None:
    axis, index = PLANES[plane], example.slices[plane]
    across, up = (number for number in range(3) if number != axis)
    volume = example.image[..., example.modalities.index(modality)]
    picture = np.take(volume, index, axis=axis).T.astype(np.float32)  # [up, across]
    brain = np.take(example.brain, index, axis=axis).T
    stride = max(1, round((volume.size / 5e5) ** (1 / 3)))
    coarse = (slice(None, None, stride),) * 3
    inside = volume[coarse][example.brain[coarse]].astype(np.float32)
    low, high = np.percentile(inside, [0.5, 99.7]) if inside.size else (0.0, 0.0)
    # Dark fluid stays apart from the background, and a constant image is bright.
    low = low - 0.08 * (high - low) if high > low else high - 1.0
    picture = np.where(brain, picture, low)

    width, height = (
        picture.shape[1] * example.spacing_mm[across],
        picture.shape[0] * example.spacing_mm[up],
    )
    axes.imshow(
        picture, cmap="gray", vmin=low, vmax=high, origin="lower",
        extent=(0, width, 0, height), interpolation="nearest",
    )  # fmt: skip
    for classes, colour, style, scale in (
        (example.reference, REFERENCE_COLOUR, "solid", 1.0),
        (example.predicted, PREDICTION_COLOUR, (0, (3.0, 2.4)), 0.75),
    ):
        if classes is not None:
            section = np.take(classes, index, axis=axis).T
            _outline(axes, section, example, (width, height), colour, style, scale)

    box = example.brain_box
    side = 1.1 * max((b - a + 1) * mm for (a, b), mm in zip(box, example.spacing_mm, strict=True))
    for number, set_limits in ((across, axes.set_xlim), (up, axes.set_ylim)):
        middle = (box[number][0] + box[number][1] + 1) / 2 * example.spacing_mm[number]
        limits = (middle - side / 2, middle + side / 2)
        set_limits(limits if not (plane == "axial" and number == up) else limits[::-1])
    axes.set_axis_off()
    for place, letter in zip((0.02, 0.98), _EDGES[plane], strict=True):
        axes.text(
            place, 0.5, letter, transform=axes.transAxes, color="white", fontsize=9,
            ha="left" if place < 0.5 else "right", va="center",
        )  # fmt: skip


def _outline(
    axes: Axes,
    section: np.ndarray,
    example: CaseExample,
    size_mm: tuple[float, float],
    colour: str,
    style: object,
    scale: float,
) -> None:
    rows, columns = section.shape
    x = (np.arange(-1, columns + 1) + 0.5) * size_mm[0] / columns
    y = (np.arange(-1, rows + 1) + 0.5) * size_mm[1] / rows
    for order, classes in enumerate(example.regions.values()):
        mask = np.pad(np.isin(section, classes), 1)
        if mask.any():
            width = (2.0 if order == 0 else 1.6) * scale
            lines = axes.contour(
                x, y, mask.astype(np.float32), levels=[0.5], colors=[colour],
                linestyles=[style], linewidths=width,
            )  # fmt: skip
            if style == "solid":  # a dark edge, for bright oedema
                lines.set_path_effects([withStroke(linewidth=width + 1.4, foreground="#000a")])
