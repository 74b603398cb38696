"""What a classifier says about one part of the data, with every score."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from brainjax.evaluation import (
    ClassificationScores,
    aggregate_by_patient,
    apply_temperature,
    bootstrap_intervals,
    expected_calibration_error,
    interval_numbers,
    permutation_p_value,
    score_classification,
)
from brainjax.experiment import ClassificationExperiment
from brainjax.jobs.slices import SliceData


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScoredSlices:
    """One part of the data with what the classifier says about it.

    Attributes:
      name: ``val`` or ``test``.
      numbers_of_images: in ``SliceData.images``.
      labels: int [n].
      probabilities: calibrated [n, K].
      uncalibrated: [n, K].
      scores: of the calibrated ones.
      intervals: bootstrap limits by metric.
      numbers: for ``summary.json``.
    """

    name: str
    numbers_of_images: tuple[int, ...]
    labels: np.ndarray
    probabilities: np.ndarray
    uncalibrated: np.ndarray
    scores: ClassificationScores
    intervals: dict[str, tuple[float, float]]
    numbers: dict[str, float]


def score_slices(
    built: ClassificationExperiment,
    data: SliceData,
    name: str,
    chosen: tuple[int, ...],
    log: np.ndarray,
    temperature: float,
) -> ScoredSlices:
    """Scores one part of the data, with intervals and by patient where that is asked for.

    Args:
      built: the experiment.
      data: its images.
      name: ``val`` or ``test``.
      chosen: numbers of the part's images.
      log: uncalibrated log-probabilities [n, K].
      temperature: divides them.
    """
    options = built.evaluation
    labels = data.labels[list(chosen)]
    uncalibrated = apply_temperature(log, 1.0)
    probabilities = apply_temperature(log, temperature)
    scores = score_classification(probabilities, labels, data.class_names)
    patients = data.patients(chosen)
    groups = patients if any(patients) else None
    intervals: dict[str, tuple[float, float]] = {}
    if options.bootstrap:
        intervals = bootstrap_intervals(
            probabilities, labels, class_names=data.class_names, groups=groups,
            samples=options.bootstrap, seed=built.seed,
        )  # fmt: skip
    p_value = None
    if options.permutations:
        p_value = permutation_p_value(
            probabilities, labels, permutations=options.permutations, seed=built.seed,
            groups=groups if _one_label_each(patients, labels) else None,
        )  # fmt: skip
    numbers = scores.numbers(name) | interval_numbers(intervals, name, permutation_p=p_value)
    numbers[f"{name}/ece_uncalibrated"] = expected_calibration_error(uncalibrated, labels)
    if options.by_patient and groups is not None and _one_label_each(patients, labels):
        whole = aggregate_by_patient(probabilities, labels, patients)
        by_patient = score_classification(whole.probabilities, whole.labels, data.class_names)
        numbers |= by_patient.numbers(f"{name}_by_patient")
    return ScoredSlices(
        name=name,
        numbers_of_images=chosen,
        labels=labels,
        probabilities=probabilities,
        uncalibrated=uncalibrated,
        scores=scores,
        intervals=intervals,
        numbers=numbers,
    )


def _one_label_each(patients: Sequence[str], labels: np.ndarray) -> bool:
    of_patient: dict[str, set[int]] = {}
    for patient, label in zip(patients, labels.tolist(), strict=True):
        if patient:
            of_patient.setdefault(patient, set()).add(label)
    return bool(of_patient) and all(len(found) == 1 for found in of_patient.values())
