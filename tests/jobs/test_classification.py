"""Classifiers from images on disk to report, tables and predictions."""

from __future__ import annotations

import csv
import json
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

from brainjax.errors import InputError
from brainjax.evaluation import apply_temperature
from brainjax.files import read_json, write_json
from brainjax.jobs.classifier import load_classifier
from brainjax.training import read_history
from tests.jobs.classification import CLASSES, COMMAND, TINY, parameters, run_job


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as stream:
        return list(csv.DictReader(stream))


def test_a_run_leaves_scores_tables_and_a_report(classifier: Path) -> None:
    summary = read_json(classifier / "summary.json")
    assert summary["train/steps"] == 12
    for name in ("accuracy", "balanced_accuracy", *(f"auroc/{one}" for one in CLASSES)):
        assert 0 <= summary[f"test/{name}"] <= 1
    assert summary["test/cases"] == 8
    assert all(row["slice_id"].startswith("Testing/") for row in
               rows(classifier / "predictions_test.csv"))  # fmt: skip
    assert all(row["slice_id"].startswith("Training/") for row in
               rows(classifier / "predictions_val.csv"))  # fmt: skip
    page = (classifier / "report.html").read_text()
    assert "Confusion matrix" in page
    assert len(list((classifier / "figures").glob("*.png"))) > 5
    calibration = read_json(classifier / "calibration.json")
    assert calibration["step"] == summary["checkpoint/step"]


def test_killed_then_stopped_then_finished_is_uninterrupted(
    classifier, kaggle, command, tmp_path
) -> None:
    arguments = (*COMMAND, f"--config.data.root={kaggle}", f"--workdir={tmp_path / 'run'}",
                 "--config.loop.save_every_steps=1")  # fmt: skip
    # Saving after every step makes the steps slow enough to be interrupted.
    code, output = command.stop_at("step 4/12", signal.SIGKILL, *arguments)
    assert code == -signal.SIGKILL, output
    code, output = command.stop_at("first step", signal.SIGTERM, *arguments)
    assert code == 143, output
    assert "saved" in output
    assert "going on after step" in command(*arguments)
    for a, b in zip(parameters(classifier, 12), parameters(tmp_path / "run", 12), strict=True):
        np.testing.assert_array_equal(a, b)
    scores = [
        [row["val/loss"] for row in read_history(run / "metrics.jsonl") if "val/loss" in row]
        for run in (classifier, tmp_path / "run")
    ]
    assert scores[0] == scores[1]


@pytest.fixture
def copy(classifier, tmp_path, no_report) -> Path:
    """A finished run that a test may change."""
    shutil.copytree(classifier, tmp_path / "copy")
    return tmp_path / "copy"


def test_a_finished_run_only_evaluates_again(copy, kaggle, capsys) -> None:
    before = read_json(copy / "summary.json")
    assert run_job("train", copy, {"data.root": str(kaggle), "loop.epochs": 3}) == 0
    assert "first step" not in capsys.readouterr().out
    # The fixture ran in a process of its own, which adds up in another order.
    assert read_json(copy / "summary.json") == pytest.approx(before, abs=1e-4)


def test_evaluate_predicts_as_it_is_told_to(copy, kaggle) -> None:
    before = read_json(copy / "summary.json")
    changes = {"data.root": str(kaggle), "loop.epochs": 3, "evaluation.mirror": True}
    run_job("evaluate", copy, changes)
    after = read_json(copy / "summary.json")
    assert after["val/log_loss"] != before["val/log_loss"]
    assert after["train/seconds"] == before["train/seconds"]
    assert read_json(copy / "calibration.json")["mirror"] is True


@pytest.mark.parametrize("change", [{"step": 1}, {"mirror": True}])
def test_a_temperature_of_other_predictions_is_not_used(copy, change, capsys) -> None:
    calibration = read_json(copy / "calibration.json")
    assert load_classifier([copy]).temperature == calibration["temperature"] != 1
    write_json(copy / "calibration.json", calibration | change)
    assert load_classifier([copy]).temperature == 1
    assert "not calibrated" in capsys.readouterr().out


def test_another_configuration_or_other_images_are_refused(classifier, kaggle, tmp_path) -> None:
    changes = {"data.root": str(kaggle), "loop.epochs": 3}
    with pytest.raises(InputError, match=r"optimizer\.learning_rate 0\.001 -> 0\.5"):
        run_job("train", classifier, {**changes, "optimizer.learning_rate": 0.5})
    shutil.copytree(kaggle, tmp_path / "more")
    next((tmp_path / "more" / "Testing" / "glioma").iterdir()).unlink()
    changed = {**changes, "data.root": str(tmp_path / "more"), "data.records": str(tmp_path / "r")}
    with pytest.raises(InputError, match=r"begun with other .*test images"):
        run_job("train", classifier, changed)


def test_predictions_are_those_of_the_test_table(classifier, kaggle, tmp_path) -> None:
    folders = (kaggle / "Testing" / "glioma", kaggle / "Testing" / "notumor")
    assert run_job("predict", classifier, inputs=folders, output=tmp_path) == 0
    known = {row["slice_id"]: row for row in rows(classifier / "predictions_test.csv")}
    found = {f"Testing/{row['slice_id']}": row for row in rows(tmp_path / "predictions.csv")}
    assert set(found) == {one for one in known if "glioma" in one or "notumor" in one}
    for name, row in found.items():
        for column in row:
            if column.startswith("probability"):
                assert float(row[column]) == pytest.approx(float(known[name][column]), abs=1e-4)
    details = json.loads((tmp_path / "predictions.json").read_text())
    assert details["class_names"] == list(CLASSES)
    assert details["temperature"] == read_json(classifier / "calibration.json")["temperature"]
    for prediction in details["predictions"]:
        shares = prediction["probabilities"]
        assert sum(shares.values()) == pytest.approx(1, abs=1e-4)
        assert prediction["prediction"] == max(shares, key=shares.get)


def test_one_broken_image_does_not_hide_the_others(classifier, kaggle, tmp_path, capsys) -> None:
    folder = tmp_path / "images"
    shutil.copytree(kaggle / "Testing" / "pituitary", folder)
    whole = sorted(folder.iterdir())
    (folder / "broken.jpg").write_bytes(whole[0].read_bytes()[:400])
    assert run_job("predict", classifier, inputs=(folder,), output=tmp_path / "out") == 1
    assert f"{len(whole)} classified, 1 failed" in capsys.readouterr().out
    assert len(rows(tmp_path / "out" / "predictions.csv")) == len(whole)
    with pytest.raises(InputError, match=r"broken\.jpg"):
        run_job("predict", classifier, inputs=(folder / "broken.jpg",), output=tmp_path / "out")


def test_batches_do_not_change_predictions(classifier, kaggle, tmp_path) -> None:
    for size in (3, 256):
        run_job(
            "predict", classifier, inputs=(kaggle / "Testing",), output=tmp_path / str(size),
            overrides={"evaluation.batch_size": size},
        )  # fmt: skip
    few, many = (rows(tmp_path / size / "predictions.csv") for size in ("3", "256"))
    assert [row["slice_id"] for row in few] == [row["slice_id"] for row in many]
    for a, b in zip(few, many, strict=True):
        assert [float(a[name]) for name in a if name.startswith("probability")] == pytest.approx(
            [float(b[name]) for name in b if name.startswith("probability")], abs=1e-5
        )


def test_evaluate_another_run_leaves_its_own_temperature_alone(
    classifier, kaggle, tmp_path, no_report
) -> None:
    changes = {"data.root": str(kaggle)}
    run_job("evaluate", tmp_path / "scored", changes, checkpoints=(classifier, classifier))
    one, two = (read_json(path / "summary.json") for path in (classifier, tmp_path / "scored"))
    assert two["test/log_loss"] == pytest.approx(one["test/log_loss"], abs=1e-5)
    assert "train/steps" not in two
    assert not (tmp_path / "scored" / "calibration.json").exists()


def test_only_classifiers_of_one_kind_are_averaged(classifier, kaggle, tmp_path, no_report) -> None:
    changes = {"data.root": str(kaggle), "model.hidden": (4,), "loop.epochs": 1}
    run_job("train", tmp_path / "other", changes)
    with pytest.raises(InputError, match="network differ from those of"):
        load_classifier([classifier, tmp_path / "other"])
    changes["images.image_size"] = (20, 20)
    with pytest.raises(InputError, match="trained on images of"):
        run_job("evaluate", tmp_path / "scored", changes, checkpoints=(classifier,))


def test_the_temperature_divides_the_log_probabilities(classifier) -> None:
    trained = load_classifier([classifier])
    images = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 1), np.uint8)
    np.testing.assert_allclose(
        trained.probabilities(images, [0, 1], None),
        apply_temperature(trained.log_probabilities(images, [0, 1], None), trained.temperature),
    )


def test_made_up_images_need_nothing(tmp_path, no_report) -> None:
    changes = {name: value for name, value in TINY.items() if name != "images.image_size"}
    assert run_job("prepare", tmp_path / "run", changes) == 0
    assert list((tmp_path / "run" / "records").iterdir())
    assert run_job("train", tmp_path / "run", changes) == 0
    assert "Made-up images" in (tmp_path / "run" / "summary.md").read_text()
