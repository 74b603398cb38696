"""Images or DICOM series to a class, as a table and as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from brainjax import parallel
from brainjax.errors import InputError
from brainjax.evaluation import write_prediction_table
from brainjax.files import write_text
from brainjax.jobs.classifier import TrainedClassifier, load_classifier
from brainjax.jobs.predict import check_writable
from brainjax.records import fit_image, texture_features
from brainjax.scans import SliceFile, find_slices_to_predict, read_slice
from brainjax.training import ProgressPrinter

TABLE = "predictions.csv"
DETAILS = "predictions.json"


def classify(
    *,
    checkpoints: Sequence[Path],
    inputs: Sequence[Path],
    output: Path,
    overrides: Mapping[str, Any],
) -> int:
    """Classifies images and writes ``predictions.csv`` and ``predictions.json``.

    An image that cannot be read is told and passed over; the others are done.

    Returns:
      The exit code: 0, or 1 when an image failed.

    Raises:
      InputError: no usable checkpoint, or every image failed.
    """
    trained = load_classifier(checkpoints, overrides=overrides)
    found = find_slices_to_predict(inputs, options=trained.experiment.series)
    check_writable(output)
    told = ", ".join(f"{path} (step {step})" for path, step in
                     zip(checkpoints, trained.steps, strict=True))  # fmt: skip
    number = len(found.slices)
    if parallel.is_first():
        print(f"{number} image{'s' * (number != 1)} with {told}", flush=True)
    files, probabilities, failures = _classify(trained, found.slices)
    if not files:
        raise failures[0]
    if not parallel.is_first():
        return 1 if failures else 0
    _write(output, trained, files, probabilities)
    _tell(trained, files, probabilities)
    print(f"written: {output / TABLE}, {output / DETAILS}", flush=True)
    if failures:
        print(f"{len(files)} classified, {len(failures)} failed", flush=True)
    return 1 if failures else 0


def _classify(
    trained: TrainedClassifier, slices: Sequence[SliceFile]
) -> tuple[list[SliceFile], np.ndarray, list[InputError]]:
    """Probabilities [n, K] of the images that can be read, a batch in memory at a time.

    Every process takes some of the batches, and gets the results of all.
    """
    size = trained.experiment.evaluation.batch_size
    starts = parallel.own_share(list(range(0, len(slices), size)))
    progress = ProgressPrinter("classified", unit="images")
    batches = []
    for number, start in enumerate(starts, start=1):
        batches.append(_classify_batch(trained, slices[start : start + size]))
        progress(min(number * size, len(slices)), len(slices))
    together = parallel.in_order(parallel.gather(batches))
    rows = [rows for files, rows, _ in together if files]
    return (
        [file for files, _, _ in together for file in files],
        np.concatenate(rows) if rows else np.zeros((0, 0)),
        [failure for _, _, failures in together for failure in failures],
    )


def _classify_batch(
    trained: TrainedClassifier, slices: Sequence[SliceFile]
) -> tuple[list[SliceFile], np.ndarray, list[InputError]]:
    files: list[SliceFile] = []
    images: list[np.ndarray] = []
    failures: list[InputError] = []
    for file in slices:
        try:
            images.append(fit_image(read_slice(file).image, trained.experiment.images))
            files.append(file)
        except InputError as error:
            failures.append(error)
            print(f"failed: {error}", flush=True)
    if not images:
        return [], np.zeros((0, 0)), failures
    stack = np.stack(images)
    texture = texture_features(stack) if trained.experiment.data.texture else None
    return files, trained.probabilities(stack, range(len(stack)), texture), failures


def _write(
    output: Path,
    trained: TrainedClassifier,
    files: Sequence[SliceFile],
    probabilities: np.ndarray,
) -> None:
    write_prediction_table(
        output / TABLE,
        class_names=trained.class_names,
        slice_ids=[file.slice_id for file in files],
        patient_ids=[file.patient_id for file in files],
        probabilities=probabilities,
        labels=None,
    )
    rows = [
        {
            "slice_id": file.slice_id,
            "patient_id": file.patient_id,
            "files": [str(path) for path in file.files],
            "prediction": trained.class_names[int(row.argmax())],
            "probabilities": {
                name: round(float(value), 6)
                for name, value in zip(trained.class_names, row, strict=True)
            },
        }
        for file, row in zip(files, probabilities, strict=True)
    ]
    document = {
        "class_names": list(trained.class_names),
        "temperature": trained.temperature,
        "checkpoint_steps": list(trained.steps),
        "predictions": rows,
        "by_patient": _by_patient(trained, files, probabilities),
    }
    write_text(output / DETAILS, json.dumps(document, indent=1) + "\n")


def _by_patient(
    trained: TrainedClassifier, files: Sequence[SliceFile], probabilities: np.ndarray
) -> list[dict[str, Any]]:
    """Mean probability of each patient with several images."""
    rows_of: dict[str, list[int]] = {}
    for row, file in enumerate(files):
        if file.patient_id:
            rows_of.setdefault(file.patient_id, []).append(row)
    found = []
    for patient, rows in rows_of.items():
        mean = probabilities[rows].mean(axis=0)
        found.append(
            {
                "patient_id": patient,
                "images": len(rows),
                "prediction": trained.class_names[int(mean.argmax())],
                "probabilities": {
                    name: round(float(value), 6)
                    for name, value in zip(trained.class_names, mean, strict=True)
                },
            }
        )
    return found


SHOWN = 20


def _tell(
    trained: TrainedClassifier, files: Sequence[SliceFile], probabilities: np.ndarray
) -> None:
    for file, row in list(zip(files, probabilities, strict=True))[:SHOWN]:
        best = int(row.argmax())
        print(f"{file.slice_id}: {trained.class_names[best]} {row[best]:.3f}", flush=True)
    if len(files) > SHOWN:
        print(f"... and {len(files) - SHOWN} more", flush=True)
