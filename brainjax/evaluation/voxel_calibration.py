"""Whether the probabilities of a segmentation mean what they say, and its doubts find its errors.

Voxels outside of the brain are easy and many; only those inside count here. So many of
them are alike that a sample from each case tells as much as all.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Mapping, Sequence

import numpy as np

from brainjax.errors import InputError
from brainjax.evaluation.calibration import (
    ReliabilityBins,
    event_reliability,
    fit_temperature,
    scale_probabilities,
)
from brainjax.evaluation.ranking import rank_scores, ranking_scores

VOXELS_PER_CASE = 100_000


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class VoxelSample:
    """Voxels of one case, drawn from its brain.

    Attributes:
      case_id: the case.
      probabilities: uncalibrated, float32 ``[n, K]``.
      reference: true classes ``[n]``.
      predicted: classes of the segmentation ``[n]``, after its rules.
      doubts: name to a measure of uncertainty ``[n]``.
    """

    case_id: str
    probabilities: np.ndarray
    reference: np.ndarray
    predicted: np.ndarray
    doubts: Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class RegionReliability:
    """How well the probability of one region is calibrated.

    Attributes:
      region: its name.
      before: bins of the probabilities as predicted.
      after: bins of the temperature-scaled ones.
    """

    region: str
    before: ReliabilityBins
    after: ReliabilityBins


def draw_voxels(
    *,
    case_id: str,
    brain: np.ndarray,
    probabilities: np.ndarray,
    reference: np.ndarray,
    predicted: np.ndarray,
    doubts: Mapping[str, np.ndarray],
    count: int = VOXELS_PER_CASE,
) -> VoxelSample:
    """Draws voxels of a brain, each with equal chance, always the same for a case's name.

    Args:
      case_id: the case.
      brain: bool ``[D, H, W]``.
      probabilities: ``[D, H, W, K]``.
      reference: classes ``[D, H, W]``.
      predicted: classes ``[D, H, W]``.
      doubts: name to ``[D, H, W]``.
      count: at the most so many; all of a smaller brain.
    """
    places = np.flatnonzero(brain)
    if len(places) > count:
        rng = np.random.default_rng(zlib.crc32(case_id.encode()))
        places = np.sort(rng.choice(places, count, replace=False))
    return VoxelSample(
        case_id=case_id,
        probabilities=probabilities.reshape(-1, probabilities.shape[-1])[places],
        reference=reference.ravel()[places],
        predicted=predicted.ravel()[places],
        doubts={name: values.ravel()[places] for name, values in doubts.items()},
    )


def fit_voxel_temperature(samples: Sequence[VoxelSample]) -> float:
    """The temperature that makes the reference most likely, over all cases together.

    Raises:
      InputError: there is no voxel.
    """
    if not any(len(sample.reference) for sample in samples):
        raise InputError("temperature: expected brain voxels with labels, found none")
    probabilities = np.concatenate([sample.probabilities for sample in samples])
    with np.errstate(divide="ignore"):
        logarithms = np.log(probabilities)
    reference = np.concatenate([sample.reference for sample in samples]).astype(np.int64)
    return fit_temperature(logarithms, reference)


def region_reliability(
    samples: Sequence[VoxelSample],
    regions: Mapping[str, tuple[int, ...]],
    temperature: float,
) -> list[RegionReliability]:
    """Reliability of each region's probability, the sum of its classes', before and after.

    Args:
      samples: of all cases.
      regions: name to classes.
      temperature: that of the scaled probabilities.
    """
    before = np.concatenate([sample.probabilities for sample in samples])
    after = scale_probabilities(before, temperature)
    reference = np.concatenate([sample.reference for sample in samples])
    found = []
    for region, classes in regions.items():
        inside = np.isin(reference, classes)
        bins = [
            event_reliability(np.clip(values[:, list(classes)].sum(axis=1), 0, 1), inside)
            for values in (before, after)
        ]
        found.append(RegionReliability(region=region, before=bins[0], after=bins[1]))
    return found


def error_detection(samples: Sequence[VoxelSample]) -> dict[str, float]:
    """AUROC of each measure of uncertainty against the segmentation's errors, voxel by voxel.

    0.5 is chance, 1 means that every wrong voxel is more uncertain than every right one.

    Returns:
      Measure to its mean over the cases that have right and wrong voxels; those without
      such a case are left out.

    >>> sample = VoxelSample(
    ...     case_id="a", probabilities=np.array([[0.9, 0.1], [0.6, 0.4]]),
    ...     reference=np.array([0, 1]), predicted=np.array([0, 0]),
    ...     doubts={"entropy": np.array([0.5, 0.97])})
    >>> error_detection([sample])
    {'entropy': 1.0}
    """
    areas: dict[str, list[float]] = {}
    for sample in samples:
        wrong = sample.predicted != sample.reference
        for name, values in sample.doubts.items():
            area, _ = ranking_scores(rank_scores(values), wrong, np.ones((len(wrong), 1)))
            areas.setdefault(name, []).append(float(area[0]))
    means = {name: [area for area in found if np.isfinite(area)] for name, found in areas.items()}
    return {name: float(np.mean(found)) for name, found in means.items() if found}
