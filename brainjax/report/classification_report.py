"""What the report of a classifier tells: the run, its scored parts and its pictures."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Curve = tuple[np.ndarray, np.ndarray]
"""x and y of a curve, float `[n]` each."""

Score = float | int | str | tuple[float, float] | None
"""A value, or mean and standard deviation; None and NaN are shown as n/a."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SampleImage:
    """An image to be shown, such as a training sample or a mistake.

    Attributes:
      image: uint8 `[H, W]` grey or `[H, W, 3]` colour.
      title: what it is, such as its slice id.
      truth: its class in words.
      prediction: the predicted class in words, or None for a sample without one.
      probability: of the predicted class, 0..1.
    """

    image: np.ndarray
    title: str
    truth: str
    prediction: str | None = None
    probability: float | None = None

    def __post_init__(self) -> None:
        """Checks that the image can be shown as it is."""
        shape, kind = self.image.shape, self.image.dtype
        grey_or_colour = len(shape) == 2 or (len(shape) == 3 and shape[2] == 3)
        if kind != np.uint8 or not grey_or_colour or 0 in shape:
            raise ValueError(
                f"{self.title}: expected a uint8 image [H, W] or [H, W, 3], found {kind} {shape}"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluatedPart:
    """What a classifier said about one part of the data.

    Attributes:
      name: ``"val"`` or ``"test"``; it stands in the names of the figures' files.
      labels: int `[n]`, the true classes.
      probabilities: float `[n, K]`, calibrated where the run calibrates.
      uncalibrated: float `[n, K]` before temperature scaling, or None without scaling.
      confusion: int `[K, K]`, rows true and columns predicted classes.
      roc: class to false-positive rate and sensitivity.
      precision_recall: class to recall and precision.
    """

    name: str
    labels: np.ndarray
    probabilities: np.ndarray
    uncalibrated: np.ndarray | None = None
    confusion: np.ndarray
    roc: Mapping[str, Curve] = dataclasses.field(default_factory=dict)
    precision_recall: Mapping[str, Curve] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Checks that the arrays belong together."""
        if not re.fullmatch(r"[A-Za-z0-9_]+", self.name):
            raise ValueError(f"part {self.name!r}: expected letters, digits and _ only")
        shape = self.probabilities.shape
        if len(shape) != 2 or self.labels.shape != shape[:1]:
            raise ValueError(
                f"{self.name}: labels {self.labels.shape} and probabilities {shape} do not fit"
            )
        if self.uncalibrated is not None and self.uncalibrated.shape != shape:
            raise ValueError(
                f"{self.name}: uncalibrated {self.uncalibrated.shape}, calibrated {shape}"
            )
        if self.confusion.shape != (shape[1], shape[1]):
            raise ValueError(f"{self.name}: confusion {self.confusion.shape} of {shape[1]} classes")

    @property
    def words(self) -> str:
        """The part in words: ``"validation"`` for ``"val"``."""
        return part_words(self.name)

    def prevalence(self, index: int) -> float:
        """Share of the images that belong to the class with this index; NaN of none."""
        return float(np.mean(self.labels == index)) if self.labels.size else float("nan")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassificationReport:
    """What the report of a classifier tells; whatever is missing leaves out its section.

    Attributes:
      title: of the page.
      command: how to run it again.
      config: nested settings.
      history: rows of ``metrics.jsonl``: ``step``, ``epoch``, ``train/loss``,
        ``val/accuracy`` and so on; any may be missing.
      summary: flat names to numbers: ``test/accuracy`` with ``test/accuracy_low`` and
        ``_high``, ``test/auroc/<class>`` with ``test/auroc_low/<class>``.
      class_names: in the order of the labels.
      parts: the scored parts.
      class_counts: name of a set, such as ``"train, after SMOTE"``, to images per class.
      samples: training images of each class.
      mistakes: wrong predictions, the most confident first.
      uncertain: right predictions, the least confident first.
      published: rows (name as in the summary, value, source) from the paper.
      comparison: runs to compare: label to metric to value or (mean, standard
        deviation); the metric ``"patients on both sides"`` is counted, not scored.
      comparison_caption: what these runs are.
      duplicates: what was counted, such as ``"exact duplicates across parts"``.
      environment: versions and the machine.
      notes: remarks for the reader.
    """

    title: str
    command: str
    config: Mapping[str, Any]
    history: Sequence[Mapping[str, Any]] = ()
    summary: Mapping[str, float] = dataclasses.field(default_factory=dict)
    class_names: tuple[str, ...] = ()
    parts: tuple[EvaluatedPart, ...] = ()
    class_counts: Mapping[str, Sequence[int]] = dataclasses.field(default_factory=dict)
    samples: tuple[SampleImage, ...] = ()
    mistakes: tuple[SampleImage, ...] = ()
    uncertain: tuple[SampleImage, ...] = ()
    published: tuple[tuple[str, Score, str], ...] = ()
    comparison: Mapping[str, Mapping[str, Score]] = dataclasses.field(default_factory=dict)
    comparison_caption: str = "Runs compared"
    duplicates: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    environment: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Checks that every part and every count has one entry per class."""
        classes = len(self.class_names)
        for part in self.parts:
            if part.probabilities.shape[1] != classes:
                raise ValueError(
                    f"{part.name}: {part.probabilities.shape[1]} probabilities, {classes} classes"
                )
        for name, counts in self.class_counts.items():
            if len(counts) != classes:
                raise ValueError(f"{name}: {len(counts)} counts for {classes} classes")


def select_extremes(
    labels: np.ndarray, probabilities: np.ndarray, *, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Chooses the most confident mistakes and the least confident right predictions.

    Args:
      labels: int `[n]`, the true classes.
      probabilities: float `[n, K]`.
      count: at most so many of each.

    Returns:
      Two index arrays, each with the most remarkable first; ties keep their order.

    >>> labels, p = np.array([0, 0, 1, 1]), np.array([[.9, .1], [.2, .8], [.4, .6], [.7, .3]])
    >>> [indices.tolist() for indices in select_extremes(labels, p, count=2)]
    [[1, 3], [2, 0]]
    """
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    order = np.argsort(confidence, kind="stable")
    falling = np.argsort(-confidence, kind="stable")
    return falling[~right[falling]][:count], order[right[order]][:count]


def part_words(name: str) -> str:
    """A part of the data in words.

    >>> part_words("val"), part_words("test")
    ('validation', 'test')
    """
    return {"val": "validation", "train": "training"}.get(name, name.replace("_", " "))
