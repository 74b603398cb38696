"""Several processes train as one, are stopped, lost and resumed, and find each other."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import jax
import numpy as np
import pytest

from brainjax.jobs.classifier import load_classifier
from brainjax.jobs.predictor import load_predictor
from brainjax.parallel import LOST
from brainjax.training import read_history
from tests.jobs.command_line import DEMO, TINY, CommandLine
from tests.parallel.processes import SLICES, Processes, free_port, run

LAST = 12
SCORES = ("val/loss", "val/accuracy")


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of one process that knows of no others."""
    workdir = tmp_path_factory.mktemp("alone")
    CommandLine()(*SLICES, f"--workdir={workdir}")
    return workdir


def assert_same_run(ours: Path, theirs: Path) -> None:
    """Parameters, histories and predictions agree within rounding."""
    one, other = (
        jax.tree.leaves(load_classifier([folder / "checkpoints" / str(LAST)]).variables[0])
        for folder in (ours, theirs)
    )
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=2e-5)
    histories = [read_history(folder / "metrics.jsonl") for folder in (ours, theirs)]
    assert [row["step"] for row in histories[0]] == [row["step"] for row in histories[1]]
    for name in ("train/loss", *SCORES):
        found = [[row[name] for row in history if name in row] for history in histories]
        np.testing.assert_allclose(*found, rtol=1e-4, err_msg=name)
    summaries = [json.loads((folder / "summary.json").read_text()) for folder in (ours, theirs)]
    for name in ("test/accuracy", "test/log_loss", "calibration/temperature"):
        assert summaries[0][name] == pytest.approx(summaries[1][name], rel=1e-3), name


def test_two_processes_train_as_one(alone: Path, tmp_path: Path) -> None:
    first, second = run(2, *SLICES, f"--workdir={tmp_path}")
    assert_same_run(tmp_path, alone)
    assert f"step {LAST}/{LAST}" in first
    assert "step" not in second


@pytest.mark.slow
def test_sigterm_to_one_of_two_saves_and_four_go_on(alone: Path, tmp_path: Path) -> None:
    processes = Processes(2, *SLICES, f"--workdir={tmp_path}")
    processes.wait_for("step 4/")
    processes.send(signal.SIGTERM, to=1)
    assert processes.codes() == [143, 143], processes.output
    assert "saved; run the same command" in processes.output[0]
    first = run(4, *SLICES, f"--workdir={tmp_path}")[0]
    assert "going on after step" in first
    assert_same_run(tmp_path, alone)


@pytest.mark.slow
@pytest.mark.parametrize("lost", [1, 0])
def test_a_lost_process_ends_the_other_and_one_goes_on(
    lost: int, alone: Path, tmp_path: Path
) -> None:
    processes = Processes(2, *SLICES, f"--workdir={tmp_path}")
    processes.wait_for("step 5/")
    processes.send(signal.SIGKILL, to=lost)
    codes = processes.codes(timeout=90)
    assert codes[lost] == -signal.SIGKILL
    if lost == 1:  # without the first, JAX itself may end the others before
        assert codes[0] == LOST, processes.output
        assert processes.output[0].count("error: ") == 1
        assert "run the same command to go on" in processes.output[0]
    assert codes[1 - lost] != 0
    CommandLine()(*SLICES, f"--workdir={tmp_path}")
    assert_same_run(tmp_path, alone)


@pytest.mark.slow
def test_slurm_variables_alone_join_two_processes(alone: Path, tmp_path: Path) -> None:
    port = str(free_port())
    environment = [
        {
            "SLURM_JOB_ID": "1", "SLURM_STEP_NODELIST": "localhost", "SLURM_NTASKS": "2",
            "SLURM_PROCID": str(number), "SLURM_LOCALID": str(number),
            "SLURM_STEP_NUM_NODES": "1", "JAX_COORDINATOR_PORT": port,
        }
        for number in range(2)
    ]  # fmt: skip
    processes = Processes(2, *SLICES, f"--workdir={tmp_path}", environment=environment)
    assert processes.codes() == [0, 0], processes.output
    assert "step" not in processes.output[1]
    assert_same_run(tmp_path, alone)


@pytest.mark.slow
def test_a_mistake_ends_all_with_one_line_each(tmp_path: Path) -> None:
    output = run(2, *SLICES, f"--workdir={tmp_path}", "--config.batches.batch_size=7", code=2)
    for text in output:
        assert text.count("error: ") == 1
        assert "Traceback" not in text
    assert "batches.batch_size 7 does not divide" in output[0]


@pytest.mark.slow
def test_two_processes_segment_as_one(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    # Adam would make the sign of rounding an update where a gradient is nearly zero.
    options = (*TINY, "--config.split.folds=2", "--config.optimizer.algorithm=sgd")
    CommandLine()(DEMO, f"--workdir={one}", *options)
    run(2, DEMO, f"--workdir={two}", *options)
    for a, b in zip(
        *(
            jax.tree.leaves(load_predictor([folder / "checkpoints" / "6"]).variables[0])
            for folder in (one, two)
        ),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=2e-5)
    summaries = [json.loads((folder / "summary.json").read_text()) for folder in (one, two)]
    assert summaries[0]["val/cases"] == summaries[1]["val/cases"] == 2
    assert summaries[0]["val/dice/WT"] == pytest.approx(summaries[1]["val/dice/WT"], abs=0.02)
    assert len(list((two / "segmentations" / "val").iterdir())) == 2
    run(2, "--mode=predict", f"--checkpoint={two}", f"--input={two / 'phantoms'}",
        f"--output={tmp_path / 'predicted'}")  # fmt: skip
    assert len(list((tmp_path / "predicted").glob("*.nii.gz"))) == 4


@pytest.mark.slow
def test_two_processes_classify_as_one(alone: Path, tmp_path: Path) -> None:
    images = alone / "made_up"
    options = ("--mode=predict", f"--checkpoint={alone}", f"--input={images}")
    CommandLine()(*options, f"--output={tmp_path / 'one'}")
    run(2, *options, f"--output={tmp_path / 'two'}", "--config=configs/kaggle4_baseline.py",
        "--config.evaluation.batch_size=8")  # fmt: skip
    one, two = (
        json.loads((tmp_path / name / "predictions.json").read_text()) for name in ("one", "two")
    )
    assert one == two
