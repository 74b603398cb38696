"""The whole chain through the command line, whole and interrupted."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import jax
import nibabel as nib
import numpy as np
import pytest
import safetensors.numpy

from brainjax.jobs.predictor import load_predictor
from brainjax.models import CGAUNet
from brainjax.training import read_history
from brainjax.weights import cga_unet
from tests.jobs.command_line import DEMO, TINY

LASTING = ("train/loss", "train/dice_loss", "train/gradient_norm", "val/dice/mean")


def parameters(workdir: Path, step: int = 6) -> list[np.ndarray]:
    predictor = load_predictor([workdir / "checkpoints" / str(step)])
    return [np.asarray(leaf) for leaf in jax.tree.leaves(predictor.variables[0])]


def assert_same_run(first: Path, second: Path) -> None:
    for a, b in zip(parameters(first), parameters(second), strict=True):
        np.testing.assert_array_equal(a, b)
    rows = [
        [{name: row[name] for name in ("step", *LASTING) if name in row} for row in history]
        for history in (read_history(run / "metrics.jsonl") for run in (first, second))
    ]
    assert rows[0] == rows[1]


def test_a_run_leaves_scores_segmentations_and_a_report(finished: Path) -> None:
    summary = json.loads((finished / "summary.json").read_text())
    assert summary["train/steps"] == 6
    assert summary["val/cases"] == 1
    assert summary["val/patients_seen_in_training"] == 0
    for region in ("ET", "WT", "TC"):
        assert 0 <= summary[f"val/dice/{region}"] <= 1
    page = (finished / "report.html").read_text()
    assert "<html" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    [viewer] = (finished / "viewer").iterdir()
    assert f'href="viewer/{viewer.name}"' in page
    assert '"name": "reference"' in viewer.read_text()
    [segmentation] = (finished / "segmentations" / "val").iterdir()
    scan = next((finished / "phantoms").rglob(segmentation.name.replace(".nii", "_flair.nii")))
    written, read = nib.load(segmentation), nib.load(scan)
    assert written.shape == read.shape
    np.testing.assert_array_equal(written.affine, read.affine)
    assert set(np.unique(written.get_fdata())) <= {0, 1, 2, 4}


def test_killed_and_resumed_is_uninterrupted(finished, train, command, tmp_path) -> None:
    workdir = tmp_path / "killed"
    code, output = command.stop_at("step 3/6", signal.SIGKILL, DEMO, f"--workdir={workdir}", *TINY)
    assert code == -signal.SIGKILL, output
    output = train(workdir)
    assert "going on after step" in output or "step 1/6" in output
    assert_same_run(finished, workdir)


def test_sigterm_saves_first(finished, train, command, tmp_path) -> None:
    workdir = tmp_path / "stopped"
    code, output = command.stop_at("step 1/6", signal.SIGTERM, DEMO, f"--workdir={workdir}", *TINY)
    assert code == 143, output
    assert "saved" in output
    assert "going on after step" in train(workdir)
    assert_same_run(finished, workdir)


def test_a_finished_run_only_evaluates_again(finished, train) -> None:
    before = (finished / "summary.json").read_text()
    output = train(finished)
    assert "first step" not in output
    assert (finished / "summary.json").read_text() == before


def test_another_configuration_in_the_same_folder_is_refused(finished, train) -> None:
    output = train(finished, "--config.optimizer.learning_rate=0.5", code=2)
    assert "optimizer.learning_rate 0.003 -> 0.5" in output


def test_a_refused_command_touches_nothing(finished, train) -> None:
    before = {path: path.stat().st_mtime_ns for path in sorted(finished.rglob("*"))}
    for change, told in (
        ("--config.phantom.cases=6", "phantom.cases 4 -> 6"),
        ("--config.model.base_width=16", "model.base_width 8 -> 16"),
    ):
        assert told in train(finished, change, code=2)
    after = {path: path.stat().st_mtime_ns for path in sorted(finished.rglob("*"))}
    before.pop(finished / ".lock"), after.pop(finished / ".lock")
    assert after == before


def test_evaluate_refuses_another_split_of_the_same_run(finished, command) -> None:
    output = command(
        DEMO, f"--workdir={finished}", "--mode=evaluate", *TINY, "--config.split.fold=1", code=2
    )
    assert "split.fold 0 -> 1" in output


def test_evaluating_another_fold_counts_patients_seen(finished, command, tmp_path) -> None:
    command(
        DEMO, f"--workdir={tmp_path}", f"--checkpoint={finished}", "--mode=evaluate",
        *TINY, "--config.split.fold=1",
    )  # fmt: skip
    assert json.loads((tmp_path / "summary.json").read_text())["val/patients_seen_in_training"] == 1


def test_one_broken_case_does_not_hide_the_others(finished, command, tmp_path) -> None:
    cases = tmp_path / "cases"
    for number, source in enumerate(sorted((finished / "phantoms").rglob("*_flair.nii.gz"))[:2]):
        shutil.copytree(source.parent, cases / source.parent.name)
        if number == 0:
            broken = cases / source.parent.name / source.name
            broken.write_bytes(broken.read_bytes()[:2000])
    shutil.copytree(cases / source.parent.name, cases / "BraTS20_Incomplete")
    for file in (cases / "BraTS20_Incomplete").glob("*_t2.nii.gz"):
        file.unlink()
    for file in (cases / "BraTS20_Incomplete").iterdir():
        file.rename(file.with_name(f"BraTS20_Incomplete_{file.name.rsplit('_', 1)[1]}"))
    output = command(
        "--mode=predict", f"--checkpoint={finished}", f"--input={cases}",
        f"--output={tmp_path / 'out'}", code=1,
    )  # fmt: skip
    assert "1 written, 2 failed" in output
    assert len(list((tmp_path / "out").iterdir())) == 1


def test_a_damaged_checkpoint_is_one_line(finished, command, tmp_path) -> None:
    shutil.copytree(finished / "checkpoints", tmp_path / "checkpoints")
    for file in (tmp_path / "checkpoints").rglob("*"):
        if file.is_file() and "model" in file.parts:
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    output = command(
        "--mode=predict", f"--checkpoint={tmp_path}", f"--input={finished / 'phantoms'}",
        f"--output={tmp_path / 'out'}", code=2,
    )  # fmt: skip
    assert output.count("error: ") == 1
    assert "checkpoint cannot be read" in output


def test_evaluate_changes_inference_only(finished, command, tmp_path) -> None:
    output = command(
        DEMO, f"--workdir={tmp_path / 'again'}", f"--checkpoint={finished}", "--mode=evaluate",
        *TINY, "--config.inference.mirror=true", "--config.evaluation.convention=brats2023",
    )  # fmt: skip
    assert "brats2023" in output
    assert "val/dice/mean" in json.loads((tmp_path / "again" / "summary.json").read_text())


def test_predict_needs_only_the_checkpoint(finished, command, tmp_path) -> None:
    case = next((finished / "phantoms").rglob("*_flair.nii.gz")).parent
    command(
        "--mode=predict", f"--checkpoint={finished}", f"--input={case}",
        f"--output={tmp_path}", "--probabilities", "--viewer",
    )  # fmt: skip
    scan = nib.load(case / f"{case.name}_flair.nii.gz")
    labels = nib.load(tmp_path / f"{case.name}.nii.gz")
    probabilities = nib.load(tmp_path / f"{case.name}_probabilities.nii.gz")
    assert labels.shape == scan.shape
    assert probabilities.shape == (*scan.shape, 4)
    np.testing.assert_array_equal(labels.affine, scan.affine)
    np.testing.assert_allclose(probabilities.get_fdata().sum(-1), 1, atol=1e-3)
    viewer = (tmp_path / f"{case.name}.html").read_text()
    assert '"name": "prediction"' in viewer
    assert '"name": "probability of oedema"' in viewer


@pytest.mark.slow
def test_averaging_a_checkpoint_with_itself_changes_nothing(finished, command, tmp_path) -> None:
    case = next((finished / "phantoms").rglob("*_flair.nii.gz")).parent
    checkpoint = f"--checkpoint={finished / 'checkpoints' / '6'}"
    for name, checkpoints in (("one", [checkpoint]), ("two", [checkpoint, checkpoint])):
        command(
            "--mode=predict", f"--input={case}", f"--output={tmp_path / name}",
            *checkpoints, DEMO, "--config.inference.mirror=true",
        )  # fmt: skip
    one, two = (nib.load(tmp_path / name / f"{case.name}.nii.gz") for name in ("one", "two"))
    np.testing.assert_array_equal(one.get_fdata(), two.get_fdata())


def test_released_weights_segment(finished, command, tmp_path) -> None:
    model = CGAUNet(variant="released", num_classes=4)
    variables = jax.jit(model.init)(jax.random.key(0), np.zeros((1, 8, 8, 8, 4), np.float32))
    safetensors.numpy.save_file(cga_unet.export(variables), tmp_path / "theirs.safetensors")
    case = next((finished / "phantoms").rglob("*_flair.nii.gz")).parent
    command(
        "--mode=predict", "--config=configs/cga.py:released", f"--input={case}",
        f"--checkpoint={tmp_path / 'theirs.safetensors'}", f"--output={tmp_path}",
    )  # fmt: skip
    scan = nib.load(case / f"{case.name}_flair.nii.gz")
    assert nib.load(tmp_path / f"{case.name}.nii.gz").shape == scan.shape


def test_real_scans_train_and_predict(real_data, command, tmp_path) -> None:
    root = real_data / "msd" / "Task01_BrainTumour"
    workdir = tmp_path / "msd"
    output = command(
        DEMO, f"--workdir={workdir}", f"--config.data.root={root}",
        "--config.loop.steps=2", "--config.inference.patch_batch=8",
        "--config.batches.patch_shape=(32, 32, 32)", "--config.inference.overlap=0.0",
    )  # fmt: skip
    assert "only one patient" in output
    summary = json.loads((workdir / "summary.json").read_text())
    assert summary["val/patients_seen_in_training"] == 1
    written = nib.load(workdir / "segmentations" / "val" / "BRATS_009.nii.gz")
    scan = nib.load(root / "imagesTr" / "BRATS_009.nii.gz")
    assert written.shape == scan.shape[:3]
    np.testing.assert_array_equal(written.affine, scan.affine)
    case = real_data / "tcga" / "TCGA-FG-6692"
    command("--mode=predict", f"--checkpoint={workdir}", f"--input={case}", f"--output={tmp_path}")
    segmentation = nib.load(tmp_path / "TCGA-FG-6692.nii.gz")
    flair = nib.load(case / "TCGA-FG-6692_flair.nii.gz")
    assert segmentation.shape == flair.shape
    np.testing.assert_array_equal(segmentation.affine, flair.affine)
    for field in ("pixdim", "qform_code", "sform_code", "xyzt_units"):
        np.testing.assert_array_equal(segmentation.header[field], flair.header[field])


@pytest.mark.parametrize("number", [signal.SIGKILL])
def test_killed_while_preparing_starts_again(number, train, command, tmp_path) -> None:
    workdir = tmp_path / "early"
    command.stop_at("phantoms", number, DEMO, f"--workdir={workdir}", *TINY)
    train(workdir, "--mode=prepare")
    assert list((workdir / "records").iterdir())
