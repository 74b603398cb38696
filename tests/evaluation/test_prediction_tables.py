from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from brainjax.errors import InputError
from brainjax.evaluation.bootstrap import bootstrap_intervals
from brainjax.evaluation.classification import score_classification
from brainjax.evaluation.prediction_tables import (
    aggregate_by_patient,
    classification_markdown,
    read_prediction_table,
    write_prediction_table,
)

NAMES = ("glioma", "no, tumour")
IDS = ("Testing/glioma/1.jpg", 'odd "name", 2.png', "3")
PATIENTS = ("00001", "", "00001")
PROBABILITIES = np.array([[0.75, 0.25], [0.4, 0.6], [0.3, 0.7]])
LABELS = np.array([0, 1, 0])


def write(path: Path, **changes: object) -> None:
    options: dict = {
        "slice_ids": IDS,
        "patient_ids": PATIENTS,
        "labels": LABELS,
        "probabilities": PROBABILITIES,
        "class_names": NAMES,
        **changes,
    }
    write_prediction_table(path, **options)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_table_comes_back_exactly(tmp_path: Path, rng: np.random.Generator, dtype: type) -> None:
    path = tmp_path / "deep" / "predictions.csv"
    probabilities = rng.dirichlet((1, 1), 3).astype(dtype)
    write(path, probabilities=probabilities)
    table = read_prediction_table(path)
    assert table.slice_ids == IDS
    assert table.patient_ids == PATIENTS
    assert table.class_names == NAMES
    assert np.array_equal(table.labels, LABELS)
    assert np.array_equal(table.probabilities.astype(dtype), probabilities)
    assert np.array_equal(table.predictions, probabilities.argmax(axis=1))
    assert [entry.name for entry in path.parent.iterdir()] == ["predictions.csv"]


def test_table_has_a_row_per_case(tmp_path: Path) -> None:
    write(tmp_path / "predictions.csv")
    with (tmp_path / "predictions.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert rows[0] == {
        "slice_id": "Testing/glioma/1.jpg",
        "patient_id": "00001",
        "truth": "glioma",
        "prediction": "glioma",
        "probability_glioma": "0.75",
        "probability_no, tumour": "0.25",
        "correct": "1",
    }
    assert [row["prediction"] for row in rows] == ["glioma", "no, tumour", "no, tumour"]
    assert [row["correct"] for row in rows] == ["1", "1", "0"]


def test_cases_without_truth_or_patient(tmp_path: Path) -> None:
    path = tmp_path / "predictions.csv"
    write(path, labels=None, patient_ids=None)
    assert path.read_text().splitlines()[1] == "Testing/glioma/1.jpg,,,glioma,0.75,0.25,"
    table = read_prediction_table(path)
    assert table.labels.tolist() == [-1, -1, -1]
    assert table.patient_ids == ("", "", "")
    write(path, labels=np.array([0, -1, 1]))
    assert read_prediction_table(path).labels.tolist() == [0, -1, 1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": np.array([0, 2, 1])}, "labels: expected classes from 0 to 1, found 2"),
        ({"labels": np.array([0, -2, 1])}, "labels: expected classes from 0 to 1, found -2"),
        ({"labels": np.array([0.0, 1.0, 0.0])}, "labels: expected 3 integers"),
        ({"labels": np.array([0, 1])}, "labels: expected 3 integers"),
        ({"slice_ids": IDS[:2]}, "slice_ids: expected 3, one per case, found 2"),
        ({"slice_ids": ("a", "b", "a")}, "slice_ids: expected each once, found 'a' twice"),
        ({"patient_ids": PATIENTS[:1]}, "patient_ids: expected 3, one per case, found 1"),
        ({"probabilities": PROBABILITIES * 2}, "sum to 1"),
        ({"class_names": ("a", "a")}, "class_names: expected names that differ"),
    ],
)
def test_wrong_predictions_are_not_written(tmp_path: Path, changes: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        write(tmp_path / "predictions.csv", **changes)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("slice_id,", "case_id,", "expected a table of predictions with columns slice_id"),
        (",correct", "", "expected a table of predictions with columns slice_id"),
        ("0.75", "high", "line 2: expected probabilities, found .*'high'"),
        ("0.75", "0.5", "expected rows of numbers from 0 to 1 that sum to 1"),
        ("0.75", "nan", "expected finite numbers"),
        ("00001,glioma", "00001,other", "line 2: column truth should be one of .* found 'other'"),
        (",0.75", "", "line 2: expected 7 cells, found 6"),
        ("\n3,", "\nTesting/glioma/1.jpg,", "expected each once, found 'Testing/glioma/1.jpg'"),
        ('"odd', '"odd" ', "line .: not a CSV table"),
    ],
)
def test_what_cannot_be_read_says_where(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "predictions.csv"
    write(path)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(InputError, match=message) as caught:
        read_prediction_table(path)
    assert "predictions.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_files_are_no_tables(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_prediction_table(tmp_path / "absent.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="expected a CSV table of predictions"):
        read_prediction_table(tmp_path / "binary.csv")
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(InputError, match="expected a table of predictions with columns"):
        read_prediction_table(tmp_path / "empty.csv")
    write(tmp_path / "head.csv")
    head = (tmp_path / "head.csv").read_text().splitlines()[0]
    (tmp_path / "head.csv").write_text(head + "\n")
    with pytest.raises(InputError, match="expected at least one prediction"):
        read_prediction_table(tmp_path / "head.csv")


def test_slices_of_a_patient_are_averaged() -> None:
    rows = np.array([[0.5, 0.5], [0.9, 0.1], [0.2, 0.8], [0.1, 0.9], [0.6, 0.4]])
    found = aggregate_by_patient(rows, np.array([1, 0, 1, 1, 0]), ["b", "a", "b", "b", ""])
    assert found.patient_ids == ("a", "b", "")
    assert found.labels.tolist() == [0, 1, 0]
    np.testing.assert_allclose(found.probabilities, [[0.9, 0.1], [0.8 / 3, 2.2 / 3], [0.6, 0.4]])


def test_the_order_of_slices_does_not_matter(rng: np.random.Generator) -> None:
    patients = rng.integers(0, 6, 40)
    rows, labels = rng.dirichlet((1, 1, 1), 40), patients % 3
    first = aggregate_by_patient(rows, labels, patients.astype(str))
    order = rng.permutation(40)
    second = aggregate_by_patient(rows[order], labels[order], patients.astype(str)[order])
    np.testing.assert_allclose(first.probabilities, second.probabilities)
    assert np.array_equal(first.labels, second.labels)
    assert first.patient_ids == second.patient_ids


def test_patients_with_several_labels_cannot_be_averaged() -> None:
    with pytest.raises(InputError, match="expected one label per patient, found several for 'p1'"):
        aggregate_by_patient(PROBABILITIES, LABELS, ["p0", "p1", "p1"])
    with pytest.raises(InputError, match="expected 3 patient ids, found 1"):
        aggregate_by_patient(PROBABILITIES, LABELS, ["p0"])


def test_markdown_has_scores_with_intervals_and_the_confusion_matrix() -> None:
    names = ("a|b", "c")
    scores = score_classification(PROBABILITIES, LABELS, names)
    intervals = {"accuracy": (0.25, 1.0), "auroc/a|b": (0.5, 0.875)}
    text = classification_markdown(scores, intervals, confidence=0.9, permutation_p=0.01234)
    lines = text.splitlines()
    assert lines[0] == (
        "3 cases; brackets are 90 % bootstrap intervals; "
        "permutation test against chance: p = 0.0123."
    )
    assert "| Accuracy | 0.6667 (0.2500 to 1.0000) |" in lines
    assert "| Balanced accuracy | 0.7500 |" in lines
    assert "| a\\|b | 2 | 1.0000 | 0.5000 | 0.6667 | 0.5000 (0.5000 to 0.8750) | 0.8333 |" in lines
    assert lines[-2:] == ["| a\\|b | 1 | 1 |", "| c | 0 | 1 |"]


def test_markdown_without_intervals_and_with_scores_that_have_no_value() -> None:
    scores = score_classification(PROBABILITIES[:1], LABELS[:1], NAMES)
    text = classification_markdown(scores)
    assert text.startswith("1 case.\n")
    assert "| glioma | 1 | 1.0000 | 1.0000 | 1.0000 | none | 1.0000 |" in text
    assert "| no, tumour | 0 | none | none | none | none | none |" in text
    intervals = bootstrap_intervals(PROBABILITIES[:1], LABELS[:1], class_names=NAMES, samples=5)
    assert "| AUROC, macro | none |" in classification_markdown(scores, intervals)
