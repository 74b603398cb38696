"""Scores of one case per region, and their summary over a cohort."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from brainjax.errors import InputError
from brainjax.evaluation.conventions import Convention, get_convention
from brainjax.evaluation.lesions import LesionScores, score_lesions
from brainjax.evaluation.overlap import count_overlap
from brainjax.evaluation.surface import (
    HD95_METHODS,
    NSD_METHODS,
    SurfaceDistances,
    bounding_box,
    check_spacing,
    compute_surface_distances,
    hausdorff_distance,
    surface_dice,
)

OUTCOMES = ("both", "both_empty", "missed", "false_positive")
METRICS = ("dice", "sensitivity", "specificity", "hd95_mm", "hd100_mm", "nsd")
MEAN_REGIONS = ("ET", "WT", "TC")


@dataclass(frozen=True, kw_only=True)
class RegionScore:
    """Scores of one region of one case.

    Attributes:
      case_id: the case.
      region: name of the region, such as ``"ET"``.
      outcome: ``"both"`` masks have voxels, ``"both_empty"``, ``"missed"`` (only
        the prediction is empty) or ``"false_positive"`` (only the reference is).
      reference_voxels: voxels of the reference.
      predicted_voxels: voxels of the prediction.
      dice: Dice coefficient.
      sensitivity: share of the reference that was found.
      specificity: share of the background left alone.
      hd95_mm: 95th percentile Hausdorff distance; None when not computed.
      hd100_mm: Hausdorff distance between the same surfaces; None likewise.
      nsd: normalised surface Dice at ``tolerance_mm``; None likewise.
      tolerance_mm: the tolerance of ``nsd``.
      convention: name of the convention for empty masks.
      hd95_method: definition of the Hausdorff distances.
      lesions: lesion-wise scores; None when not computed.

    NaN is a score without a value under the convention, None one that nobody
    asked for.
    """

    case_id: str
    region: str
    outcome: str
    reference_voxels: int
    predicted_voxels: int
    dice: float
    sensitivity: float
    specificity: float
    hd95_mm: float | None = None
    hd100_mm: float | None = None
    nsd: float | None = None
    tolerance_mm: float = 1.0
    convention: str
    hd95_method: str
    lesions: LesionScores | None = None


def score_case(
    predicted: np.ndarray,
    reference: np.ndarray,
    *,
    case_id: str,
    regions: Mapping[str, tuple[int, ...]],
    spacing_mm: Sequence[float],
    convention: str | Convention,
    hd95_method: str | None = None,
    tolerance_mm: float = 1.0,
    with_surface: bool = True,
    lesion_wise: bool = False,
) -> tuple[RegionScore, ...]:
    """Compares two class maps region by region.

    Args:
      predicted: integer classes ``[D, H, W]``; 0 is background.
      reference: integer classes ``[D, H, W]``.
      case_id: name of the case in tables and messages.
      regions: the classes that make up each region, in the order of the result.
      spacing_mm: voxel size along the three axes.
      convention: what empty masks count as, and which distances are meant.
      hd95_method: another definition of HD95 than the convention's.
      tolerance_mm: tolerance of the normalised surface Dice.
      with_surface: whether to compute HD95, HD100 and the surface Dice.
      lesion_wise: whether to score lesions one by one as well.

    Returns:
      One score per region.

    Raises:
      InputError: the arrays are not three-dimensional integers of one shape, or
        an option cannot be used.
    """
    convention = get_convention(convention)
    method = convention.hd95_method if hd95_method is None else hd95_method
    if method not in HD95_METHODS:
        raise InputError(f"hd95_method: expected one of {sorted(HD95_METHODS)}, found {method!r}")
    spacing = check_spacing(spacing_mm)
    _check_labels(predicted, reference, case_id)
    _check_regions(regions)
    box = bounding_box((predicted != 0) | (reference != 0)) or (slice(0, 0),) * 3
    total = predicted.size
    predicted = np.ascontiguousarray(predicted[box])
    reference = np.ascontiguousarray(reference[box])

    scores = []
    for region, classes in regions.items():
        found, wanted = _region_mask(predicted, classes), _region_mask(reference, classes)
        counts = count_overlap(found, wanted, outside_voxels=total - found.size)
        outcome = _outcome(bool(wanted.any()), bool(found.any()))
        hd95 = hd100 = nsd = None
        if with_surface:
            hd95, hd100, nsd = _surface_scores(
                found, wanted, spacing, convention, method, tolerance_mm, outcome
            )
        lesions = None
        if lesion_wise:
            lesions = score_lesions(
                found,
                wanted,
                spacing_mm=spacing,
                rule=convention.lesion_rules.get(region, convention.lesion_rule),
                penalty_mm=convention.lesion_penalty_mm,
                method=method,
            )
        dice, sensitivity = counts.dice, counts.sensitivity
        if outcome == "both_empty":
            dice, sensitivity = convention.dice_both_empty, convention.sensitivity_both_empty
        elif outcome == "false_positive":
            sensitivity = convention.sensitivity_false_positive
        scores.append(
            RegionScore(
                case_id=case_id,
                region=region,
                outcome=outcome,
                reference_voxels=counts.true_positives + counts.false_negatives,
                predicted_voxels=counts.true_positives + counts.false_positives,
                dice=dice,
                sensitivity=sensitivity,
                specificity=counts.specificity,
                hd95_mm=hd95,
                hd100_mm=hd100,
                nsd=nsd,
                tolerance_mm=float(tolerance_mm),
                convention=convention.name,
                hd95_method=method,
                lesions=lesions,
            )
        )
    return tuple(scores)


def summarize(scores: Iterable[RegionScore], *, prefix: str) -> dict[str, float]:
    """Gathers the scores of a cohort in one flat mapping of names to numbers.

    Names are ``{prefix}/{metric}/{region}`` for means over cases,
    ``{prefix}/{metric}_sd/{region}`` for the standard deviation of these cases
    (not of a wider population), and ``{prefix}/{metric}/mean`` for the mean of
    the ET, WT and TC means (of all regions where none of the three is there).
    Counts: ``cases``, and per region ``reference_empty``, ``missed``,
    ``false_positive`` and ``both_empty``; lesion-wise scores add ``lesion_dice``,
    ``lesion_hd95_mm``, ``lesions``, ``lesions_missed`` and
    ``lesions_false_positive``.

    A score that a convention leaves undefined is not in a mean, and then
    ``{prefix}/{metric}_defined/{region}`` says how many cases are. A mean of no
    case at all is absent.

    Raises:
      InputError: there is no score, a case comes twice, or the scores were
        computed in different ways.
    """
    scores = tuple(scores)
    check_comparable(scores)
    regions = tuple(dict.fromkeys(score.region for score in scores))
    summary = {f"{prefix}/cases": float(len({score.case_id for score in scores}))}
    for metric, columns in metric_values(scores).items():
        for region, values in columns.items():
            defined = [value for value in values if not math.isnan(value)]
            if len(defined) < len(values):
                summary[f"{prefix}/{metric}_defined/{region}"] = float(len(defined))
            if defined:
                summary[f"{prefix}/{metric}/{region}"] = float(np.mean(defined))
                summary[f"{prefix}/{metric}_sd/{region}"] = float(np.std(defined))
        averaged = [region for region in MEAN_REGIONS if region in regions] or regions
        means = [summary.get(f"{prefix}/{metric}/{region}") for region in averaged]
        known = [mean for mean in means if mean is not None]
        if known:
            summary[f"{prefix}/{metric}/mean"] = float(np.mean(known))
    for region in regions:
        for name, count in outcome_counts(scores, region).items():
            summary[f"{prefix}/{name}/{region}"] = float(count)
        lesions = [s.lesions for s in scores if s.region == region and s.lesions is not None]
        if lesions:
            summary[f"{prefix}/lesions/{region}"] = float(sum(one.lesions for one in lesions))
            summary[f"{prefix}/lesions_missed/{region}"] = float(sum(o.missed for o in lesions))
            summary[f"{prefix}/lesions_false_positive/{region}"] = float(
                sum(one.false_positives for one in lesions)
            )
    return summary


def metric_values(scores: Sequence[RegionScore]) -> dict[str, dict[str, list[float]]]:
    """Sorts the computed scores by metric and region, one value per case."""
    columns: dict[str, dict[str, list[float]]] = {}
    for score in scores:
        values = {metric: getattr(score, metric) for metric in METRICS}
        if score.lesions is not None:
            values["lesion_dice"] = score.lesions.dice
            values["lesion_hd95_mm"] = score.lesions.hd95_mm
        for metric, value in values.items():
            if value is not None:
                columns.setdefault(metric, {}).setdefault(score.region, []).append(value)
    return columns


def outcome_counts(scores: Sequence[RegionScore], region: str) -> dict[str, int]:
    """Counts the cases in which one or both masks of a region are empty."""
    outcomes = [score.outcome for score in scores if score.region == region]
    both_empty, false_positive = outcomes.count("both_empty"), outcomes.count("false_positive")
    return {
        "reference_empty": both_empty + false_positive,
        "missed": outcomes.count("missed"),
        "false_positive": false_positive,
        "both_empty": both_empty,
    }


def check_comparable(scores: Sequence[RegionScore]) -> None:
    """Raises InputError unless the scores can be averaged: some, distinct, computed alike."""
    if not scores:
        raise InputError("scores: expected at least one case, found none")
    ways = {(score.convention, score.hd95_method, score.tolerance_mm) for score in scores}
    if len(ways) > 1:
        raise InputError(
            f"scores: expected one convention, HD95 method and tolerance, found {sorted(ways)}"
        )
    names = [(score.case_id, score.region) for score in scores]
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise InputError(f"scores: expected each case once, found several of {twice[:3]}")


def _surface_scores(
    found: np.ndarray,
    wanted: np.ndarray,
    spacing: tuple[float, float, float],
    convention: Convention,
    method: str,
    tolerance_mm: float,
    outcome: str,
) -> tuple[float, float, float]:
    """HD95 and HD100 in mm and the normalised surface Dice of one region."""
    if outcome == "both_empty":
        distance = convention.distance_both_empty_mm
        return distance, distance, convention.nsd_both_empty
    if outcome != "both":
        return convention.distance_one_empty_mm, convention.distance_one_empty_mm, 0.0
    measured: dict[str, SurfaceDistances] = {}
    for elements in {HD95_METHODS[method], NSD_METHODS[convention.nsd_method]}:
        measured[elements] = compute_surface_distances(
            found, wanted, spacing_mm=spacing, elements=elements
        )
    distances = measured[HD95_METHODS[method]]
    return (
        hausdorff_distance(distances, percentile=95, method=method),
        hausdorff_distance(distances, percentile=100, method=method),
        surface_dice(
            measured[NSD_METHODS[convention.nsd_method]],
            tolerance_mm=tolerance_mm,
            method=convention.nsd_method,
        ),
    )


def _region_mask(labels: np.ndarray, classes: tuple[int, ...]) -> np.ndarray:
    mask = labels == classes[0]
    for number in classes[1:]:
        mask |= labels == number
    return mask


def _outcome(in_reference: bool, in_prediction: bool) -> str:
    if in_reference:
        return "both" if in_prediction else "missed"
    return "false_positive" if in_prediction else "both_empty"


def _check_labels(predicted: np.ndarray, reference: np.ndarray, case_id: str) -> None:
    for name, labels in (("prediction", predicted), ("reference", reference)):
        if labels.dtype.kind not in "iu":
            raise InputError(
                f"{case_id}: the {name} must hold integer classes, found {labels.dtype}; "
                f"take the argmax of probabilities first"
            )
        if labels.ndim != 3:
            raise InputError(f"{case_id}: the {name} must be [D, H, W], found {labels.shape}")
    if predicted.shape != reference.shape:
        raise InputError(
            f"{case_id}: the prediction has shape {predicted.shape} but the reference "
            f"{reference.shape}; both must be on the same grid"
        )


def _check_regions(regions: Mapping[str, tuple[int, ...]]) -> None:
    if not regions:
        raise InputError("regions: expected at least one region, found none")
    for region, classes in regions.items():
        if not classes or min(classes) < 1:
            raise InputError(
                f"regions: {region} must be made of classes above 0 (background), "
                f"found {tuple(classes)}"
            )
