"""Scores, calibration, tables and report of a trained classifier."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from brainjax import parallel
from brainjax.errors import InputError
from brainjax.evaluation import (
    classification_curves,
    classification_markdown,
    fit_temperature,
    write_prediction_table,
)
from brainjax.experiment import ClassificationExperiment
from brainjax.files import write_json, write_text
from brainjax.jobs.classifier import TrainedClassifier, load_classifier
from brainjax.jobs.evaluate import numbers_of_training
from brainjax.jobs.fit import latest_run
from brainjax.jobs.predictor import versions
from brainjax.jobs.saved_run import check_configuration
from brainjax.jobs.score_slices import ScoredSlices, score_slices
from brainjax.jobs.slices import SliceData, check_slice_data, find_slice_data
from brainjax.jobs.temperature import write_temperature
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


def evaluate_classifier(
    built: ClassificationExperiment,
    workdir: Path,
    *,
    checkpoints: Sequence[Path] = (),
    home: Path | None = None,
) -> None:
    """Scores the validation and test parts again and writes the report.

    Args:
      built: the experiment; its ``evaluation`` section counts, whatever the run's was.
      workdir: the run, and where the report goes.
      checkpoints: others to score instead, their probabilities averaged.
      home: folder of made-up images and of records; ``workdir`` when None.

    Raises:
      InputError: no checkpoint, or images that cannot be used.
    """
    own = latest_run(workdir) if not checkpoints else None
    if own is not None:
        check_configuration(built, own, workdir)
    trained = load_evaluated(built, list(checkpoints) or [workdir])
    if trained.experiment.images != built.images or (
        trained.experiment.data.texture != built.data.texture
    ):
        raise InputError(
            f"{checkpoints[0]}: trained on images of {trained.experiment.images}, the "
            f"configuration has {built.images}; give the configuration that it was trained with"
        )
    data = find_slice_data(built, home or workdir)
    if own is not None:
        check_slice_data(data, own, workdir)
    if trained.class_names != data.class_names:
        raise InputError(
            f"the classifier tells apart {', '.join(trained.class_names)}; "
            f"the images are of {', '.join(data.class_names)}"
        )
    numbers = {} if checkpoints else numbers_of_training(workdir)
    finish_classifier(
        trained, workdir, built=built, data=data, numbers=numbers, own=own is not None
    )


def load_evaluated(built: ClassificationExperiment, paths: Sequence[Path]) -> TrainedClassifier:
    """Reads checkpoints that predict as this experiment's ``evaluation`` section says."""
    settings = built.config["evaluation"].items()
    return load_classifier(
        paths, overrides={f"evaluation.{name}": value for name, value in settings}
    )


def finish_classifier(
    trained: TrainedClassifier,
    workdir: Path,
    *,
    built: ClassificationExperiment,
    data: SliceData,
    numbers: dict[str, float],
    own: bool = True,
) -> None:
    """Calibrates on the validation part, scores, and writes tables, summary and report.

    All processes predict; the first does the rest.

    Args:
      trained: what to score.
      workdir: where everything is written.
      built: the experiment.
      data: its images.
      numbers: of training, for ``summary.json``.
      own: whether it is the run in ``workdir``, which then keeps the temperature.
    """
    logs = {
        name: trained.log_probabilities(data.images, chosen, data.texture, shared=True)
        for name, chosen in (("val", data.split.validation), ("test", data.split.test))
        if chosen
    }
    if not parallel.is_first():
        return
    temperature = 1.0
    if built.evaluation.calibrate:
        temperature = fit_temperature(logs["val"], data.labels[list(data.split.validation)])
    if own:
        write_temperature(
            workdir, temperature, step=trained.steps[0], mirror=trained.experiment.evaluation.mirror
        )
    chosen_of = {"val": data.split.validation, "test": data.split.test}
    parts = [
        score_slices(built, data, name, chosen_of[name], log, temperature)
        for name, log in logs.items()
    ]
    summary = numbers | _numbers_of_run(trained, data, temperature)
    text = [f"# {built.config['model']['name']}\n"]
    text += [f"> {note}\n" for note in data.notes]
    for part in parts:
        summary |= part.numbers | _seen_in_training(trained, data, part)
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


_PARTS = {"val": "Validation", "test": "Test"}


def _seen_in_training(
    trained: TrainedClassifier, data: SliceData, part: ScoredSlices
) -> dict[str, float]:
    """How many patients of a part any of the networks was trained on, where they are known."""
    patients = {name for name in data.patients(part.numbers_of_images) if name}
    if not patients:
        return {}
    seen = len(patients & trained.training_patients)
    if seen:
        print(f"note: {seen} of {len(patients)} {part.name} patients were trained on", flush=True)
    return {f"{part.name}/patients_seen_in_training": float(seen)}


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
