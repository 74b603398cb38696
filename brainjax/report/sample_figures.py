"""Images of a classifier: training samples of each class, mistakes, uncertain predictions."""

from __future__ import annotations

import html
import io
import math
from collections.abc import Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from brainjax.report.classification_figures import short_name
from brainjax.report.classification_report import SampleImage
from brainjax.report.figures import INK, plain_text
from brainjax.report.layout import picture_html

_LARGEST = 256
_COLUMNS = 4
_COLUMNS_OF_SAMPLES = 8


def draw_samples(samples: Sequence[SampleImage], *, title: str) -> Figure | None:
    """Draws images in a grid: samples in rows of their class, predictions with their words."""
    if not samples:
        return None
    rows = _rows(samples)
    columns = max(len(row) for row in rows)
    predicted = any(sample.prediction is not None for sample in samples)
    side, words = (2.1, 0.62) if predicted else (1.35, 0.22)
    size = (side * columns, (side + words) * len(rows) + 0.5)
    figure = Figure(figsize=(max(size[0], 4.0), size[1]), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(plain_text(title), fontsize=12, color=INK)
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for axes in grid.ravel():
        axes.set_axis_off()
    for line, row in zip(grid, rows, strict=True):
        for number, (axes, sample) in enumerate(zip(line, row, strict=False)):
            grey = {"cmap": "gray", "vmin": 0, "vmax": 255} if sample.image.ndim == 2 else {}
            axes.imshow(_square(sample.image), interpolation="nearest", **grey)
            text = _words(sample, most=24) if predicted else (sample.truth if number == 0 else "")
            axes.set_title(plain_text(text), fontsize=9, color=INK, loc="left")
    return figure


def samples_html(samples: Sequence[SampleImage]) -> str:
    """Training samples as a strip of pictures for each class; nothing of no samples."""
    strips = []
    for row in _classes(samples).values():
        pictures = "".join(_picture(sample, caption=sample.title) for sample in row)
        strips.append(f'<h3>{html.escape(row[0].truth)}</h3><div class="strip">{pictures}</div>')
    return "".join(strips)


def predictions_html(samples: Sequence[SampleImage]) -> str:
    """Images with what they are and what was said; nothing of no images."""
    pictures = "".join(_picture(sample, caption=_words(sample)) for sample in samples)
    return f'<div class="views">{pictures}</div>' if samples else ""


def _picture(sample: SampleImage, *, caption: str) -> str:
    words = ", ".join(_words(sample).splitlines())
    return picture_html(_png(sample.image), alt=words, caption=caption, css="whole")


def _words(sample: SampleImage, *, most: int = 1000) -> str:
    lines = [f"true: {short_name(sample.truth, most)}"]
    if sample.prediction is not None:
        chance = sample.probability
        sure = "" if chance is None or not math.isfinite(chance) else f" {chance:.3f}"
        lines.append(f"predicted: {short_name(sample.prediction, most)}{sure}")
    lines.append(short_name(sample.title, most))
    return "\n".join(lines)


def _classes(samples: Sequence[SampleImage]) -> dict[str, list[SampleImage]]:
    groups: dict[str, list[SampleImage]] = {}
    for sample in samples:
        groups.setdefault(sample.truth, []).append(sample)
    return groups


def _rows(samples: Sequence[SampleImage]) -> list[list[SampleImage]]:
    if all(sample.prediction is None for sample in samples):
        groups, size = [*_classes(samples).values()], _COLUMNS_OF_SAMPLES
    else:
        groups, size = [[*samples]], _COLUMNS
    return [group[start : start + size] for group in groups for start in range(0, len(group), size)]


def _square(image: np.ndarray) -> np.ndarray:
    """The image in the middle of a black square `[S, S]` or `[S, S, 3]`."""
    spare = [max(image.shape[:2]) - size for size in image.shape[:2]]
    pads = [(gap // 2, gap - gap // 2) for gap in spare] + [(0, 0)] * (image.ndim - 2)
    return np.pad(image, pads)


def _png(image: np.ndarray) -> bytes:
    """The image as PNG, no side longer than 256 pixels."""
    picture = Image.fromarray(image)
    if max(picture.size) > _LARGEST:
        picture.thumbnail((_LARGEST, _LARGEST), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    picture.save(stream, format="png")
    return stream.getvalue()
