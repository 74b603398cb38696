"""Scores, calibration, tables and report of a trained classifier."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from brainjax.errors import InputError
from brainjax.evaluation import (
    ClassificationScores,
    aggregate_by_patient,
    apply_temperature,
    bootstrap_intervals,
    classification_curves,
    classification_markdown,
    expected_calibration_error,
    fit_temperature,
    interval_numbers,
    permutation_p_value,
    score_classification,
    write_prediction_table,
)
from brainjax.experiment import ClassificationExperiment
from brainjax.files import write_json, write_text
from brainjax.jobs.classifier import CALIBRATION, TrainedClassifier, load_classifier
from brainjax.jobs.evaluate import numbers_of_training
from brainjax.jobs.fit import latest_run
from brainjax.jobs.predictor import versions
from brainjax.jobs.saved_run import check_configuration
from brainjax.jobs.slices import SliceData, check_slice_data, find_slice_data
from brainjax.report import (
    ClassificationReport,
    EvaluatedPart,
    SampleImage,
    select_extremes,
    write_classification_report,
)
from brainjax.training import read_history

SAMPLES_PER_CLASS = 5
PICTURES = 12


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


def evaluate_classifier(
    built: ClassificationExperiment, workdir: Path, *, checkpoints: Sequence[Path] = ()
) -> None:
    """Scores the validation and test parts again and writes the report.

    Raises:
      InputError: no checkpoint, or images that cannot be used.
    """
    found = latest_run(workdir)
    if found is not None and not checkpoints:
        check_configuration(built, found, workdir)
    trained = load_classifier(list(checkpoints) or [workdir])
    data = find_slice_data(built, workdir)
    if found is not None and not checkpoints:
        check_slice_data(data, found, workdir)
    if trained.class_names != data.class_names:
        raise InputError(
            f"the classifier tells apart {', '.join(trained.class_names)}; "
            f"the images are of {', '.join(data.class_names)}"
        )
    finish_classifier(
        trained, workdir, built=built, data=data, numbers=numbers_of_training(workdir)
    )


def finish_classifier(
    trained: TrainedClassifier,
    workdir: Path,
    *,
    built: ClassificationExperiment,
    data: SliceData,
    numbers: dict[str, float],
) -> dict[str, float]:
    """Calibrates on the validation part, scores, and writes tables, summary and report.

    Returns:
      What ``summary.json`` holds.
    """
    logs = {
        name: trained.log_probabilities(data.images, chosen, data.texture)
        for name, chosen in (("val", data.split.validation), ("test", data.split.test))
        if chosen
    }
    temperature = 1.0
    if built.evaluation.calibrate:
        temperature = fit_temperature(logs["val"], data.labels[list(data.split.validation)])
    write_json(workdir / CALIBRATION, {"temperature": temperature, "step": float(trained.steps[0])})
    chosen_of = {"val": data.split.validation, "test": data.split.test}
    parts = [
        _score(built, data, name, chosen_of[name], log, temperature) for name, log in logs.items()
    ]
    summary = numbers | _numbers_of_run(trained, data, temperature)
    text = [f"# {built.config['model']['name']}\n"]
    text += [f"> {note}\n" for note in data.notes]
    for part in parts:
        summary |= part.numbers
        text += [f"\n## {_PARTS[part.name]}\n"]
        text += [classification_markdown(part.scores, part.intervals)]
        _write_table(workdir / f"predictions_{part.name}.csv", data, part)
    write_json(workdir / "summary.json", summary)
    write_text(workdir / "summary.md", "\n".join(text) + "\n")
    write_classification_report(
        workdir / "report.html",
        _report(built, workdir, data, parts, summary),
        figures_folder=workdir / "figures",
    )
    last = parts[-1]
    print(f"\n{classification_markdown(last.scores, last.intervals)}\n", flush=True)
    for part in parts:
        for metric in ("accuracy", "balanced_accuracy"):
            name = f"{part.name}/{metric}"
            print(f"{name} {summary[name]:.4f}", flush=True)
    print(f"report: {workdir / 'report.html'}", flush=True)
    return summary


_PARTS = {"val": "Validation", "test": "Test"}


def _numbers_of_run(
    trained: TrainedClassifier, data: SliceData, temperature: float
) -> dict[str, float]:
    split = data.split
    numbers = {
        "model/parameters": float(
            sum(leaf.size for leaf in jax.tree.leaves(trained.variables[0]["params"]))
        ),
        "checkpoint/step": float(trained.steps[0]),
        "calibration/temperature": temperature,
        "train/cases": float(len(split.training)),
        "train/cases_with_smote": float(len(data.training)),
        "data/duplicates_across": float(split.duplicates_across),
        "data/near_duplicates_across": float(split.near_duplicates_across),
        "data/dropped": float(split.dropped),
    }
    if split.patients_on_both_sides is not None:
        numbers["data/patients_on_both_sides"] = float(split.patients_on_both_sides)
    return numbers


def _score(
    built: ClassificationExperiment,
    data: SliceData,
    name: str,
    chosen: tuple[int, ...],
    log: np.ndarray,
    temperature: float,
) -> ScoredSlices:
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


def _write_table(path: Path, data: SliceData, part: ScoredSlices) -> None:
    slices = [data.records.slices[n] for n in part.numbers_of_images]
    write_prediction_table(
        path,
        class_names=data.class_names,
        slice_ids=[one.slice_id for one in slices],
        patient_ids=[one.patient_id for one in slices],
        probabilities=part.probabilities,
        labels=part.labels,
    )


def _report(
    built: ClassificationExperiment,
    workdir: Path,
    data: SliceData,
    parts: Sequence[ScoredSlices],
    summary: Mapping[str, float],
) -> ClassificationReport:
    last = parts[-1]
    wrong, unsure = select_extremes(last.labels, last.probabilities, count=PICTURES)
    title = f"{built.config['model']['name']}: {workdir.name}"
    return ClassificationReport(
        title=title,
        command=shlex.join(["python", "-m", "brainjax.main", *sys.argv[1:]]),
        config=built.config,
        history=read_history(workdir / "metrics.jsonl"),
        summary=summary,
        class_names=data.class_names,
        parts=tuple(_evaluated(part, data.class_names, built) for part in parts),
        class_counts=data.class_counts(),
        samples=_samples(data),
        mistakes=tuple(_picture(data, last, int(row)) for row in wrong),
        uncertain=tuple(_picture(data, last, int(row)) for row in unsure),
        published=tuple((name, value, "the paper") for name, value in built.published),
        duplicates={
            "exact duplicates across parts": data.split.duplicates_across,
            "near duplicates across parts": data.split.near_duplicates_across,
            "images dropped as duplicates": data.split.dropped,
        },
        environment=versions(),
        notes=data.notes,
    )


def _evaluated(
    part: ScoredSlices, class_names: Sequence[str], built: ClassificationExperiment
) -> EvaluatedPart:
    curves = classification_curves(part.probabilities, part.labels, class_names)
    return EvaluatedPart(
        name=part.name,
        labels=part.labels,
        probabilities=part.probabilities,
        uncalibrated=part.uncalibrated if built.evaluation.calibrate else None,
        confusion=part.scores.confusion,
        roc={name: (curve.fpr, curve.tpr) for name, curve in curves.items()},
        precision_recall={name: (curve.recall, curve.precision) for name, curve in curves.items()},
    )


def _samples(data: SliceData) -> tuple[SampleImage, ...]:
    training = np.asarray(data.split.training)
    found = []
    for label, name in enumerate(data.class_names):
        of_class = training[data.labels[training] == label]
        places = np.linspace(0, len(of_class) - 1, min(SAMPLES_PER_CLASS, len(of_class)))
        for number in of_class[places.astype(int)]:
            found.append(
                SampleImage(
                    image=_shown(data.images[number]),
                    title=data.records.slices[number].slice_id,
                    truth=name,
                )
            )
    return tuple(found)


def _picture(data: SliceData, part: ScoredSlices, row: int) -> SampleImage:
    number = part.numbers_of_images[row]
    predicted = int(part.probabilities[row].argmax())
    return SampleImage(
        image=_shown(data.images[number]),
        title=data.records.slices[number].slice_id,
        truth=data.class_names[int(part.labels[row])],
        prediction=data.class_names[predicted],
        probability=float(part.probabilities[row, predicted]),
    )


def _shown(image: Any) -> np.ndarray:
    """The first channel [H, W] of an image whose channels need not be colours."""
    return np.asarray(image[..., 0])
