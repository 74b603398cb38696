"""Paper 2's saliency by U-Net: from images on disk to the page with its figures."""

from __future__ import annotations

import re
import runpy
import shutil
import signal
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from brainjax import experiment, jobs
from brainjax.errors import InputError
from brainjax.experiment import ReconstructionExperiment
from brainjax.files import read_json
from brainjax.jobs import reconstruct
from brainjax.jobs.reconstruction_snapshots import autoencoder_snapshots, classifier_snapshots
from brainjax.jobs.slices import SliceData, find_slice_data
from brainjax.report.reconstruction_page import CAPTIONS
from brainjax.report.reconstruction_report import MAPS
from brainjax.scans import write_phantom_slices
from brainjax.training import read_history
from tests.jobs.command_line import ROOT, CommandLine

TINY: dict[str, Any] = {
    "images.image_size": (16, 16),
    "model.widths": (4, 8),
    "batches.batch_size": 8,
    "split.test_fraction": 0.4,
    "split.near_duplicates": False,
    "loop.epochs": 3,
    "loop.validate_every_epochs": 1,
    "reconstruction.epochs": 4,
    "reconstruction.snapshot_every_epochs": 2,
    "reconstruction.classifier_snapshot_every_epochs": 2,
    "evaluation.bootstrap": 20,
    "evaluation.permutations": 20,
}


def build(changes: dict[str, Any]) -> Any:
    config = runpy.run_path(str(ROOT / "configs" / "figshare_saliency_unet.py"))["get_config"]()
    config.update_from_flattened_dict({**TINY, **changes})
    return config


def run(mode: str, workdir: Path, changes: dict[str, Any], **options: Any) -> int:
    given = {"inputs": (), "output": None, "checkpoints": (), **options}
    return jobs.run(
        mode, config=build(changes), overrides={}, workdir=workdir, write_probabilities=False,
        **given,
    )  # fmt: skip


@pytest.fixture(scope="module")
def figshare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("figshare") / "mats"
    return write_phantom_slices(root, layout="figshare", slices_per_class=9, seed=0)


@pytest.fixture(scope="module")
def finished(figshare: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of all steps that was never interrupted; not to be changed."""
    workdir = tmp_path_factory.mktemp("saliency")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "brainjax.jobs.evaluate_classifier.write_classification_report", lambda *a, **k: ()
        )
        assert run("train", workdir, {"data.root": str(figshare)}) == 0
    return workdir


@pytest.fixture(scope="module")
def opened(finished: Path, figshare: Path) -> tuple[ReconstructionExperiment, SliceData]:
    built = experiment.build(build({"data.root": str(figshare)}))
    assert isinstance(built, ReconstructionExperiment)
    return built, find_slice_data(built.classification, finished)


def test_a_run_leaves_numbers_and_every_figure(finished: Path) -> None:
    summary = read_json(finished / "summary.json")
    for epoch in (2, 4):
        for side in ("autoencoder", "left_only", "right_only"):
            assert summary[f"{side}/mse/epoch_{epoch}"] > 0
    for epoch in (2, 3):
        assert 0 <= summary[f"classifier/test_accuracy/epoch_{epoch}"] <= 1
    for name in MAPS:
        low, value, high = (summary[f"saliency/auroc{end}/{name}"] for end in ("_low", "", "_high"))
        assert 0 <= low <= value <= high <= 1
    assert 0 < summary["saliency/cases"] <= summary["part/slices"]
    page = (finished / "report.html").read_text()
    for name, caption in CAPTIONS.items():
        assert (finished / "figures" / f"{name}.png").stat().st_size > 5000
        assert f'aria-label="{caption.replace(chr(39), "&#x27;")}"' in page, name
    assert "The paper&#x27;s judgement that neither of its maps localises the tumour is" in page
    assert set(re.findall(r'(?:src|href)="(.)', page)) <= {"#", "d"}  # here, or data:
    assert (finished / "classifier" / "predictions_test.csv").is_file()


def test_the_frozen_path_stays_and_the_rest_is_trained(finished: Path, opened) -> None:
    built, data = opened
    first, last = autoencoder_snapshots(built, data, finished / "autoencoder")
    create = partial(built.create_state, model=built.make_autoencoder(), steps_per_epoch=1)
    state = jax.jit(create)(jax.random.key(built.classification.seed))
    for snapshot in (first, last):
        np.testing.assert_array_equal(
            snapshot.variables["batch_stats"]["location"]["kernel"],
            state.batch_stats["location"]["kernel"],
        )
    for kind in ("params", "batch_stats"):
        for part in ("encoder", "decoder"):
            before, after = (jax.tree.leaves(s.variables[kind][part]) for s in (first, last))
            assert all(not np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def test_the_classifier_begins_from_the_autoencoder(finished, opened, figshare, tmp_path) -> None:
    """With a learning rate of 0 its encoder is the autoencoder's after training too."""
    shutil.copytree(finished / "autoencoder", tmp_path / "autoencoder")
    built, data = opened
    last = autoencoder_snapshots(built, data, tmp_path / "autoencoder")[-1].variables
    kept: dict[str, Any] = {}

    def look(*arguments: Any, body: Any, **options: Any) -> int:
        kept.update(body)
        return 143

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reconstruct, "train_classifier", look)
        assert run("train", tmp_path, {"data.root": str(figshare)}) == 143
    for kind in ("params", "batch_stats"):
        jax.tree.map(np.testing.assert_array_equal, kept[kind], last[kind]["encoder"])


def test_snapshots_are_those_asked_for_and_the_last(finished: Path, opened) -> None:
    built, data = opened
    found = [s.epoch for s in autoencoder_snapshots(built, data, finished / "autoencoder")]
    assert found == [2, 4]
    found = [s.epoch for s in classifier_snapshots(built, data, finished / "classifier")]
    assert found == [2, 3]
    history = read_history(finished / "autoencoder" / "metrics.jsonl")
    assert [row["epoch"] for row in history if "val/loss" in row] == [1, 2, 3, 4]


def test_finished_steps_are_kept(finished, figshare, tmp_path, capsys, monkeypatch) -> None:
    """A run that died between two steps, and one in which everything is done."""
    for place in ("evaluate_reconstruction.write_reconstruction_report",
                  "evaluate_classifier.write_classification_report"):  # fmt: skip
        monkeypatch.setattr(f"brainjax.jobs.{place}", lambda *a, **k: ())
    shutil.copytree(finished, tmp_path / "run")
    run("train", tmp_path / "run", {"data.root": str(figshare)})
    told = capsys.readouterr().out
    assert told.count("finished before; kept") == 2
    assert "first step" not in told
    assert read_json(tmp_path / "run" / "summary.json") == read_json(finished / "summary.json")

    shutil.rmtree(tmp_path / "run" / "classifier")
    run("train", tmp_path / "run", {"data.root": str(figshare)})
    told = capsys.readouterr().out
    assert told.count("finished before; kept") == 1
    assert told.count("first step") == 1
    assert read_json(tmp_path / "run" / "summary.json") == pytest.approx(
        read_json(finished / "summary.json"), abs=1e-4
    )


def test_the_classifier_is_a_run_like_any_other(finished, figshare, tmp_path) -> None:
    image = sorted(figshare.glob("[0-9]*.mat"))[:2]
    run("predict", finished, {}, inputs=image, output=tmp_path)
    assert len(read_json(tmp_path / "predictions.json")["predictions"]) == 2


def test_mistakes_are_one_line(finished, figshare, tmp_path) -> None:
    changes = {"data.root": str(figshare)}
    with pytest.raises(InputError, match=r"autoencoder holds a run.*snapshot_every_epochs 2 -> 1"):
        run("train", finished, {**changes, "reconstruction.snapshot_every_epochs": 1})
    with pytest.raises(InputError, match=r"holds a run of another.*optimizer\.learning_rate"):
        run("train", finished, {**changes, "optimizer.learning_rate": 0.1})
    with pytest.raises(InputError, match="autoencoder: not trained yet"):
        run("evaluate", tmp_path, changes)
    with pytest.raises(InputError, match=r"autoencoder; give the folder .classifier."):
        run("predict", finished / "autoencoder", {}, inputs=[figshare])
    with pytest.raises(InputError, match="encoder_from 'both': expected one of"):
        run("train", tmp_path, {"reconstruction.encoder_from": "both"})
    with pytest.raises(InputError, match="18x16 does not divide by 4"):
        run("train", tmp_path, {**changes, "images.image_size": (18, 16)})
    with pytest.raises(InputError, match=r"model\.name 'cnn'"):
        run("train", tmp_path, {"model.name": "cnn"})
    assert not (tmp_path / "autoencoder").exists()


@pytest.mark.slow
def test_killed_in_each_step_it_ends_as_if_uninterrupted(
    finished: Path, figshare: Path, command: CommandLine, tmp_path: Path
) -> None:
    arguments = [
        "--config=configs/figshare_saliency_unet.py", f"--workdir={tmp_path}",
        f"--config.data.root={figshare}", *(f"--config.{k}={v}" for k, v in TINY.items()),
        "--config.loop.save_every_steps=1",
    ]  # fmt: skip
    code, _ = command.stop_at("step 4/8", signal.SIGKILL, *arguments)
    assert code == -signal.SIGKILL
    code, told = command.stop_at("step 2/6  acc", signal.SIGKILL, *arguments)
    assert code == -signal.SIGKILL
    assert "going on after step" in told
    code, told = command.stop_at("first step", signal.SIGTERM, *arguments)
    assert code == 143
    assert told.count("finished before; kept") == 1
    told = command(*arguments)
    assert "going on after step" in told
    assert read_json(tmp_path / "summary.json") == pytest.approx(
        read_json(finished / "summary.json"), abs=1e-3
    )
