"""What the report of paper 2's saliency by U-Net tells."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from brainjax.evaluation import MapScore, MethodSummary

SIDES = {
    "both": "the whole U-Net",
    "right": "right side only: the frozen path beside layers that never trained",
    "left": "left side only: trained layers beside a frozen path drawn anew",
}
"""The autoencoder and its two controls, in words."""

MAPS = {
    "joined": "joined U-Net, its brightness",
    "change": "joined U-Net, change from the autoencoder",
    "gradient": "gradient of the winning class",
    "intensity": "the image itself, its brightness",
    "centre": "a Gaussian in the middle",
    "uniform": "the same everywhere",
}
"""The maps in words; the last three know nothing of the network."""

METRICS = {
    "auroc": "AUROC as a tumour detector",
    "ratio": "share of the map inside / share of the area",
    "pointing": "greatest value in or near the tumour, share of slices",
}
"""Scores of a map in words."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PicturedSlice:
    """One slice of the test part with everything that was made of it.

    Attributes:
      title: its slice id.
      truth: its class in words.
      prediction: the class that the encoder says.
      image: `[H, W]`, 0 to 1.
      box: the tumour's (left, top, width, height) in pixels, None where unknown.
      sides: name in ``SIDES`` to the outputs of each snapshot, each `[H, W]`.
      joined: output of the joined U-Net, `[H, W]`.
      maps: name in ``MAPS`` to the map, `[H, W]`, 0 or more.
      scores: name in ``MAPS`` to the scores in this slice; empty where unknown.
    """

    title: str
    truth: str
    prediction: str
    image: np.ndarray
    box: tuple[float, float, float, float] | None
    sides: Mapping[str, Sequence[np.ndarray]]
    joined: np.ndarray
    maps: Mapping[str, np.ndarray]
    scores: Mapping[str, MapScore]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReconstructionReport:
    """What the page tells.

    Attributes:
      title: of the page.
      command: how to run it again.
      config: nested settings.
      part: the scored part in words, and its number of slices.
      class_names: in the order of the labels.
      history: rows of the autoencoder's ``metrics.jsonl``.
      classifier_history: rows of the classifier's.
      epochs: of the autoencoder's snapshots.
      errors: name in ``SIDES`` to the mean squared error of each snapshot.
      classifier_epochs: of the classifier's snapshots.
      accuracy: part in words to the accuracy of each snapshot.
      confusions: int `[K, K]` of each of them on ``part``, rows true and columns predicted.
      pictured: the first row of pictures, and the others: figures 13 and 14.
      localisation: each map over the slices whose tumour is known.
      verdict: whether the maps find the tumour, a headline and a sentence for each; empty
        where no tumour is known.
      summary: flat names to numbers.
      environment: versions and the machine.
      notes: remarks for the reader.
    """

    title: str
    command: str
    config: Mapping[str, Any]
    part: str
    class_names: tuple[str, ...]
    history: Sequence[Mapping[str, Any]]
    classifier_history: Sequence[Mapping[str, Any]]
    epochs: tuple[float, ...]
    errors: Mapping[str, Sequence[float]]
    classifier_epochs: tuple[float, ...]
    accuracy: Mapping[str, Sequence[float]]
    confusions: tuple[np.ndarray, ...]
    pictured: tuple[tuple[PicturedSlice, ...], tuple[PicturedSlice, ...]]
    localisation: tuple[MethodSummary, ...]
    verdict: tuple[str, ...]
    summary: Mapping[str, float]
    environment: Mapping[str, Any]
    notes: tuple[str, ...]


def epoch_text(epoch: float) -> str:
    """An epoch, whole where it is.

    >>> epoch_text(5.0), epoch_text(7.25)
    ('5', '7.25')
    """
    return f"{epoch:g}" if epoch == round(epoch) else f"{epoch:.2f}"


def spread_choice(count: int, most: int) -> list[int]:
    """At most so many of ``count`` places, evenly spread, the last among them.

    >>> spread_choice(3, 6), spread_choice(11, 4)
    ([0, 1, 2], [0, 3, 7, 10])
    """
    if count <= most:
        return list(range(count))
    return [round(place) for place in np.linspace(0, count - 1, most)]
