"""Folds that are really trained, tiny: together, apart, killed, and averaged to predict."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from brainjax.errors import InputError
from brainjax.files import read_json
from brainjax.jobs.predictor import load_predictor
from brainjax.jobs.several import runs_in
from brainjax.scans import write_phantom_cohort
from tests.jobs.command_line import DEMO, CommandLine
from tests.jobs.segmentation_runs import TINY, run_job

WORDS = tuple(f"--config.{name}={value}" for name, value in TINY.items())


@pytest.fixture(scope="module")
def folds(command: CommandLine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folds and their report; not to be changed."""
    workdir = tmp_path_factory.mktemp("folds")
    command(DEMO, "--mode=crossvalidate", *WORDS, f"--workdir={workdir}")
    return workdir


def test_every_case_is_scored_by_a_network_that_had_not_seen_it(folds: Path) -> None:
    summary = read_json(folds / "summary.json")
    assert summary["cv/cases"] == 4
    assert summary["cv/train_steps"] == 4
    held_out = []
    for number, fold in enumerate(runs_in(folds)):
        own = read_json(fold / "summary.json")
        assert own["val/patients_seen_in_training"] == 0
        assert own["val/dice/WT"] == summary[f"fold_{number}/dice/WT"]
        held_out.append({path.name for path in (fold / "segmentations" / "val").iterdir()})
        assert not (fold / "records").exists()
        assert not (fold / "phantoms").exists()
    assert not held_out[0] & held_out[1]
    predictions = sorted((folds / "segmentations" / "out_of_fold").iterdir())
    assert {path.name for path in predictions} == held_out[0] | held_out[1]
    for written in predictions:
        scan = next(folds.rglob(written.name.replace(".nii", "_flair.nii")))
        np.testing.assert_array_equal(nib.load(written).affine, nib.load(scan).affine)
        assert nib.load(written).shape == nib.load(scan).shape
    page = (folds / "report.html").read_text()
    assert "Validation Dice of each fold" in page
    assert "Made-up heads (phantoms)" in page


@pytest.mark.slow
def test_predict_averages_the_folds(folds: Path, tmp_path: Path) -> None:
    raw = tmp_path / "raw"  # each fold has a temperature of its own, the average one of theirs
    shutil.copytree(folds, raw, ignore=shutil.ignore_patterns("calibration.json"))
    case = next((folds / "phantoms").rglob("*_flair.nii.gz")).parent
    options = {"inputs": [case], "write_probabilities": True}
    for name, run in (("both", raw), ("one", raw / "fold_0"), ("two", raw / "fold_1")):
        run_job("predict", run, output=tmp_path / name, **options)
    mean, one, two = (
        nib.load(next((tmp_path / name).glob("*_probabilities.nii.gz"))).get_fdata()
        for name in ("both", "one", "two")
    )
    assert not np.allclose(one, two, atol=1e-3)
    np.testing.assert_allclose(mean, (one + two) / 2, atol=2e-3)


def test_another_configuration_in_the_same_folder_is_refused(folds: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in folds.rglob("*")}
    with pytest.raises(InputError, match=r"fold_0 holds a run of another.*learning_rate"):
        run_job("crossvalidate", folds, {"optimizer.learning_rate": 0.5})
    assert before == {path: path.stat().st_mtime_ns for path in folds.rglob("*")}
    with pytest.raises(InputError, match="holds several runs"):
        run_job("train", folds)


def test_half_an_ensemble_does_not_predict(folds: Path, tmp_path: Path) -> None:
    shutil.copytree(folds / "fold_1", tmp_path / "fold_1")
    with pytest.raises(InputError, match="1 of its 2 folds are finished"):
        runs_in(tmp_path)
    assert runs_in(tmp_path / "fold_1") == [tmp_path / "fold_1"]


def test_phantoms_that_another_process_was_quicker_to_make(monkeypatch, tmp_path) -> None:
    """The other's folder stays: that process may be reading it."""
    from brainjax.scans import phantom_folder

    root, kept = tmp_path / "phantoms", []
    make = phantom_folder._put_in_place

    def late(growing: Path, place: Path, wanted: dict) -> None:
        shutil.copytree(growing, place)
        kept.append(place.stat().st_ino)
        make(growing, place, wanted)

    monkeypatch.setattr(phantom_folder, "_put_in_place", late)
    write_phantom_cohort(root, cases=1, shape=(24, 24, 24), seed=0)
    assert [root.stat().st_ino] == kept
    assert [path.name for path in tmp_path.iterdir()] == ["phantoms"]


def weights(run: Path) -> list[np.ndarray]:
    import jax

    return [np.asarray(leaf) for leaf in jax.tree.leaves(load_predictor([run]).variables[0])]


@pytest.mark.slow
def test_killed_and_resumed_repeats_nothing(command, tmp_path) -> None:
    longer = (*WORDS, "--config.loop.steps=6", "--config.loop.validate_every_steps=6")
    words = (DEMO, "--mode=crossvalidate", *longer)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    command(*words, f"--workdir={whole}")
    code, output = command.stop_at("fold_1", signal.SIGKILL, *words, f"--workdir={killed}")
    assert code == -signal.SIGKILL
    assert output.count("first step after") == 1
    code, output = command.stop_at("step 3/6", signal.SIGTERM, *words, f"--workdir={killed}")
    assert code == 143
    assert "finished before; kept" in output
    output = command(*words, f"--workdir={killed}")
    assert output.count("finished before; kept") == 1
    assert "going on after step" in output
    assert "step 1/6" not in output
    for fold in ("fold_0", "fold_1"):
        for one, other in zip(weights(whole / fold), weights(killed / fold), strict=True):
            np.testing.assert_array_equal(one, other)
    assert "first step after" not in command(*words, f"--workdir={killed}")


@pytest.mark.slow
def test_two_processes_share_the_work(command, tmp_path) -> None:
    """Both begin in an empty folder: phantoms and records are made once and stay whole."""
    words = (DEMO, "--mode=crossvalidate", *WORDS, f"--workdir={tmp_path}")
    both = [command.start(*words, f"--fold={fold}") for fold in (0, 1)]
    outputs = [process.communicate(timeout=900) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert sum(out.count("records written") for out, _ in outputs) == 1
    assert len(list((tmp_path / "records").glob("records-*"))) == 1
    assert read_json(tmp_path / "summary.json")["cv/cases"] == 4
