"""Predictions of a classifier as files: a CSV of cases, and scores for people in Markdown."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from brainjax.errors import InputError
from brainjax.evaluation.classification import ClassificationScores
from brainjax.evaluation.probabilities import (
    check_class_names,
    check_labels,
    check_probabilities,
    number_groups,
)
from brainjax.files import write_text

LEADING_COLUMNS = ("slice_id", "patient_id", "truth", "prediction")
PROBABILITY = "probability_"
OVERALL_TITLES = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "auroc/macro": "AUROC, macro",
    "average_precision/macro": "Average precision, macro",
    "precision/macro": "Precision, macro",
    "recall/macro": "Recall, macro",
    "f1/macro": "F1, macro",
    "precision/weighted": "Precision, weighted",
    "recall/weighted": "Recall, weighted",
    "f1/weighted": "F1, weighted",
    "log_loss": "Log loss",
    "brier": "Brier score",
    "ece": "Expected calibration error",
}
CLASS_TITLES = {
    "precision": "Precision",
    "recall": "Recall",
    "f1": "F1",
    "auroc": "AUROC",
    "average_precision": "Average precision",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class PredictionTable:
    """What a table of predictions holds.

    Attributes:
      slice_ids: names of the n cases.
      patient_ids: their patients; ``""`` where not known.
      class_names: names of the K classes.
      labels: true classes ``[n]``, -1 where not known.
      probabilities: float64 ``[n, K]``.
    """

    slice_ids: tuple[str, ...]
    patient_ids: tuple[str, ...]
    class_names: tuple[str, ...]
    labels: np.ndarray
    probabilities: np.ndarray

    @property
    def predictions(self) -> np.ndarray:
        """The most probable class of each case ``[n]``."""
        return self.probabilities.argmax(axis=1)


def write_prediction_table(
    path: str | os.PathLike[str],
    *,
    slice_ids: Sequence[str],
    patient_ids: Sequence[str] | None = None,
    labels: np.ndarray | None = None,
    probabilities: np.ndarray,
    class_names: Sequence[str],
) -> None:
    """Writes a CSV with one row per case, atomically.

    Columns are ``slice_id``, ``patient_id``, ``truth`` and ``prediction`` (class
    names), ``probability_<class>`` and ``correct`` (1 or 0). Truth and correct are
    empty where the true class is not known. Probabilities come back exactly in the
    number type that they had.

    Args:
      path: the file.
      slice_ids: n names, each once.
      patient_ids: n patient ids; None: not known.
      labels: true classes ``[n]``, -1 where not known; None: none is.
      probabilities: floats ``[n, K]`` whose rows sum to 1.
      class_names: K names.

    Raises:
      InputError: lengths, names, rows or labels are wrong.
    """
    values = check_probabilities(probabilities)
    cases, classes = values.shape
    names = check_class_names(class_names, classes)
    labels = _check_known_labels(labels, cases, classes)
    patients = [""] * cases if patient_ids is None else [str(name) for name in patient_ids]
    for title, ids in (("slice_ids", slice_ids), ("patient_ids", patients)):
        if len(ids) != cases:
            raise InputError(f"{title}: expected {cases}, one per case, found {len(ids)}")
    _check_distinct(slice_ids, "slice_ids")
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([*LEADING_COLUMNS, *(PROBABILITY + name for name in names), "correct"])
    rows = np.asarray(probabilities)
    for number, best in enumerate(values.argmax(axis=1)):
        known = labels[number] >= 0
        writer.writerow(
            [
                slice_ids[number],
                patients[number],
                names[labels[number]] if known else "",
                names[best],
                *(str(probability) for probability in rows[number]),
                int(labels[number] == best) if known else "",
            ]
        )
    write_text(path, stream.getvalue())


def read_prediction_table(path: str | os.PathLike[str]) -> PredictionTable:
    """Reads what ``write_prediction_table`` wrote.

    Raises:
      InputError: the file is missing, is not such a table, or a cell cannot be
        read; the message names the line.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: expected a CSV table of predictions ({error})") from error
    reader = csv.reader(io.StringIO(text), strict=True)
    columns = next(reader, [])
    chosen = columns[len(LEADING_COLUMNS) : -1]
    if (
        tuple(columns[: len(LEADING_COLUMNS)]) != LEADING_COLUMNS
        or columns[-1] != "correct"
        or not chosen
        or not all(name.startswith(PROBABILITY) for name in chosen)
    ):
        raise InputError(
            f"{path}: expected a table of predictions with columns {', '.join(LEADING_COLUMNS)}, "
            f"{PROBABILITY}<class> and correct, found {columns}"
        )
    names = check_class_names([name.removeprefix(PROBABILITY) for name in chosen], len(chosen))
    numbers = {name: number for number, name in enumerate(names)} | {"": -1}
    ids, patients, labels, rows = [], [], [], []
    try:
        for row in reader:
            where = f"{path}, line {reader.line_num}"
            if len(row) != len(columns):
                raise InputError(f"{where}: expected {len(columns)} cells, found {len(row)}")
            if row[2] not in numbers:
                raise InputError(
                    f"{where}: column truth should be one of {names}, found {row[2]!r}"
                )
            ids.append(row[0])
            patients.append(row[1])
            labels.append(numbers[row[2]])
            rows.append(_read_probabilities(row[len(LEADING_COLUMNS) : -1], where))
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: not a CSV table ({error})") from error
    if not rows:
        raise InputError(f"{path}: expected at least one prediction, found none")
    _check_distinct(ids, f"{path}: slice_id")
    return PredictionTable(
        slice_ids=tuple(ids),
        patient_ids=tuple(patients),
        class_names=names,
        labels=np.array(labels, np.int64),
        probabilities=check_probabilities(np.array(rows), where=str(path)),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class PatientPredictions:
    """Predictions of P patients.

    Attributes:
      probabilities: float64 ``[P, K]``.
      labels: true classes ``[P]``.
      patient_ids: P ids in their order; those without one come last, each ``""``.
    """

    probabilities: np.ndarray
    labels: np.ndarray
    patient_ids: tuple[str, ...]


def aggregate_by_patient(
    probabilities: np.ndarray, labels: np.ndarray, patient_ids: Sequence[str]
) -> PatientPredictions:
    """Averages the probabilities of each patient's slices.

    Args:
      probabilities: floats ``[n, K]`` whose rows sum to 1.
      labels: true classes ``[n]``.
      patient_ids: n patient ids; a slice without one (``""``) is a patient of its
        own.

    Raises:
      InputError: the predictions cannot be scored, or the slices of a patient have
        several labels.

    >>> rows = np.array([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]])
    >>> aggregate_by_patient(rows, np.array([0, 0, 1]), ["a", "a", "b"]).probabilities
    array([[0.75, 0.25],
           [0.  , 1.  ]])
    """
    values = check_probabilities(probabilities, labels)
    labels = np.asarray(labels)
    members = number_groups(patient_ids, len(values))
    patients = int(members.max()) + 1
    of_patient = np.empty(patients, labels.dtype)
    of_patient[members] = labels
    differing = of_patient[members] != labels
    if differing.any():
        raise InputError(
            f"patient_ids: expected one label per patient, found several for "
            f"{patient_ids[int(np.argmax(differing))]!r}; score slices one by one instead"
        )
    sums = np.zeros((patients, values.shape[1]))
    np.add.at(sums, members, values)
    names = np.empty(patients, dtype=object)
    names[members] = [str(name) for name in patient_ids]
    return PatientPredictions(
        probabilities=sums / np.bincount(members)[:, None],
        labels=of_patient,
        patient_ids=tuple(names),
    )


def classification_markdown(
    scores: ClassificationScores,
    intervals: Mapping[str, tuple[float, float]] | None = None,
    *,
    confidence: float = 0.95,
    permutation_p: float | None = None,
) -> str:
    """Describes the scores of a classifier in Markdown, for ``summary.md``.

    Three tables: overall scores, scores per class, and the confusion matrix.

    Args:
      scores: from ``score_classification``.
      intervals: from ``bootstrap_intervals`` with the same class names; None: none.
      confidence: the confidence of the intervals.
      permutation_p: p-value of a permutation test; None: not made.
    """
    intervals = intervals or {}
    numbers = scores.numbers("")
    head = f"{scores.cases} {'case' if scores.cases == 1 else 'cases'}"
    if intervals:
        head += f"; brackets are {100 * confidence:g} % bootstrap intervals"
    if permutation_p is not None:
        head += f"; permutation test against chance: p = {permutation_p:.3g}"
    lines = [head + ".", "", "| Metric | Value |", "|---|---:|"]
    for name, title in OVERALL_TITLES.items():
        lines.append(f"| {title} | {_cell(numbers['/' + name], intervals.get(name))} |")
    lines += [
        "",
        f"| Class | Cases | {' | '.join(CLASS_TITLES.values())} |",
        "|---|---:|" + "---:|" * len(CLASS_TITLES),
    ]
    for name, count in zip(scores.class_names, scores.counts, strict=True):
        cells = [
            _cell(numbers[f"/{metric}/{name}"], intervals.get(f"{metric}/{name}"))
            for metric in CLASS_TITLES
        ]
        lines.append(f"| {_escape(name)} | {count} | {' | '.join(cells)} |")
    titles = [_escape(name) for name in scores.class_names]
    lines += [
        "",
        f"| Truth, then prediction | {' | '.join(titles)} |",
        "|---|" + "---:|" * len(titles),
    ]
    for title, row in zip(titles, scores.confusion, strict=True):
        lines.append(f"| {title} | {' | '.join(str(count) for count in row)} |")
    return "\n".join(lines) + "\n"


def _check_known_labels(labels: np.ndarray | None, cases: int, classes: int) -> np.ndarray:
    """Labels ``[cases]`` in which -1 is one that is not known."""
    if labels is None:
        return np.full(cases, -1)
    labels = np.asarray(labels)
    if labels.shape == (cases,) and labels.dtype.kind in "iu":
        check_labels(np.where(labels == -1, 0, labels), cases, classes)
    else:
        check_labels(labels, cases, classes)
    return labels


def _check_distinct(names: Sequence[str], where: str) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InputError(f"{where}: expected each once, found {name!r} twice")
        seen.add(name)


def _read_probabilities(cells: Sequence[str], where: str) -> list[float]:
    try:
        return [float(cell) for cell in cells]
    except ValueError as error:
        raise InputError(f"{where}: expected probabilities, found {list(cells)}") from error


def _cell(value: float, interval: tuple[float, float] | None) -> str:
    """``0.9123 (0.8800 to 0.9400)``, or ``none`` for a score without a value."""
    if math.isnan(value):
        return "none"
    if interval is None or any(math.isnan(limit) for limit in interval):
        return f"{value:.4f}"
    return f"{value:.4f} ({interval[0]:.4f} to {interval[1]:.4f})"


def _escape(name: str) -> str:
    return name.replace("|", "\\|")
