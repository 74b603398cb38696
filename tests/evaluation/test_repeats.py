from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brainjax.errors import InputError
from brainjax.evaluation.repeats import repeats_markdown, summarise_repeats

RUNS = [
    {"test/accuracy": 0.8, "test/recall/glioma": 0.5},
    {"test/accuracy": 0.9, "test/recall/glioma": math.nan},
    {"test/accuracy": 1.0, "test/recall/glioma": 0.7},
]


def test_mean_and_standard_deviation_of_a_sample() -> None:
    summary = summarise_repeats(RUNS)
    assert summary == pytest.approx(
        {
            "repeats": 3.0,
            "test/accuracy_mean": 0.9,
            "test/accuracy_sd": 0.1,
            "test/recall_mean/glioma": 0.6,
            "test/recall_sd/glioma": math.sqrt(0.02),
            "test/recall_defined/glioma": 2.0,
        }
    )
    assert all(type(value) is float for value in summary.values())


def test_one_run_has_no_deviation() -> None:
    summary = summarise_repeats(RUNS[:1])
    assert summary["test/accuracy_mean"] == 0.8
    assert math.isnan(summary["test/accuracy_sd"])
    assert summary["repeats"] == 1


def test_numbers_that_runs_lack() -> None:
    runs = [{"loss": 1, "test/auroc/x": None}, {"test/auroc/x": math.nan}, {"loss": np.float32(2)}]
    summary = summarise_repeats(runs)
    assert summary["loss_mean"] == 1.5
    assert summary["loss_defined"] == 2
    assert math.isnan(summary["test/auroc_mean/x"])
    assert math.isnan(summary["test/auroc_sd/x"])
    assert summary["test/auroc_defined/x"] == 0


def test_what_is_no_number_is_left_out() -> None:
    runs = [{"name": "cnn", "done": True, "test/accuracy": 0.5}] * 2
    assert set(summarise_repeats(runs)) == {"repeats", "test/accuracy_mean", "test/accuracy_sd"}


def test_class_names_may_have_slashes() -> None:
    assert "test/f1_mean/a/b" in summarise_repeats([{"test/f1/a/b": 1.0}])


def test_no_runs_are_refused() -> None:
    with pytest.raises(InputError, match="summaries: expected at least one run"):
        summarise_repeats([])


@settings(max_examples=40, deadline=None)
@given(values=st.lists(st.floats(-10, 10), min_size=2, max_size=8), shift=st.floats(-5, 5))
def test_order_does_not_matter_and_a_shift_moves_the_mean(
    values: list[float], shift: float
) -> None:
    summary = summarise_repeats([{"a": value} for value in values])
    assert summary == pytest.approx(summarise_repeats([{"a": value} for value in values[::-1]]))
    moved = summarise_repeats([{"a": value + shift} for value in values])
    assert moved["a_mean"] == pytest.approx(summary["a_mean"] + shift, abs=1e-9)
    assert moved["a_sd"] == pytest.approx(summary["a_sd"], abs=1e-9)


def test_table_has_a_row_per_experiment() -> None:
    rows = {"focal | SMOTE": RUNS, "baseline": RUNS[:1], "stopped": []}
    table = repeats_markdown(rows, ("test/accuracy", "test/recall/glioma"), digits=3)
    assert table.splitlines() == [
        "| Experiment | test/accuracy | test/recall/glioma |",
        "|---|---:|---:|",
        "| focal \\| SMOTE | 0.900 ± 0.100 (3) | 0.600 ± 0.141 (2) |",
        "| baseline | 0.800 (1) | 0.500 (1) |",
        "| stopped | none | none |",
    ]


def test_columns_may_have_titles() -> None:
    table = repeats_markdown({"a": RUNS}, {"test/accuracy": "Accuracy"})
    assert table.splitlines()[0] == "| Experiment | Accuracy |"
    assert table.splitlines()[2] == "| a | 0.9000 ± 0.1000 (3) |"
