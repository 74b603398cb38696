"""A user's mistake with a classifier is one line that says what to do."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from brainjax.errors import InputError
from brainjax.weights import hub
from tests.jobs.classification import run_job


def told(*arguments, **options) -> str:
    with pytest.raises(InputError, match=r".") as caught:
        run_job(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"data.root": "/nowhere"}, "/nowhere"),
        ({"data.source": "kaggle"}, "expected auto or one of"),
        ({"data.split": "patient"}, "split=patient: expected the patient of each image"),
        ({"data.split": "/nowhere/folds.csv"}, "/nowhere/folds.csv"),
        ({"data.split": "random"}, "expected auto, patient"),
        ({"score": "val/auc"}, "expected one of val/loss, val/accuracy"),
        ({"score": "val/brier"}, "expected one of val/loss"),
        ({"smote.ratio": 0.5, "smote.classes": ("gliom",)}, "gliom is not among the classes"),
        ({"smote.ratio": 2.0}, "expected 0 (off) to 1"),
        ({"repeats": 0}, "expected 1 or more runs"),
        ({"variants": (("a", (("model.hiden", (4,)),)),)}, "changes the unknown model.hiden"),
        ({"model.name": "alexnet"}, "is not one of ['cnn'"),
        ({"model.hiden": (4,)}, "unknown key hiden"),
        ({"images.image_size": (4, 4)}, "model"),
        ({"images.fit": "crop"}, "crop"),
        ({"optimizer.schedule": "cosin"}, "cosin"),
        ({"optimizer.l2": 0.1, "optimizer.l2_layers": ("head/hiden/kernel",)}, "fits no parameter"),
        ({"objective.loss": "hinge"}, "hinge"),
        ({"objective.class_weights": (1.0, 2.0)}, "class_weights"),
        ({"weights.train": "body"}, "expected 'head' or 'all'"),
        ({"weights.pretrained": "torchvision/resnet19"}, "no such file, and no known weights"),
        ({"split.validation_fraction": 0.0}, "0 validation images"),
        ({"loop.steps": 5}, "set one of them"),
        (
            {"task": "regression"},
            "expected one of ('segmentation', 'classification', 'reconstruction')",
        ),
    ],
)
def test_training(changes, expected, kaggle, tmp_path) -> None:
    if changes.get("weights.pretrained"):
        changes = {**changes, "weights.from_scratch": False}
    changes = {"data.root": str(kaggle), "loop.epochs": 1, **changes}
    assert expected in told("train", tmp_path / "run", changes)


def test_weights_that_cannot_be_fetched(kaggle, tmp_path, monkeypatch, no_report, capsys) -> None:
    def no_network(*arguments, **options):
        raise OSError("Network is unreachable")

    monkeypatch.setattr(hub.urllib.request, "urlopen", no_network)
    monkeypatch.setenv("BRAINJAX_CACHE_DIR", str(tmp_path / "cache"))
    changes = {"data.root": str(kaggle), "weights.pretrained": "torchvision/resnet18",
               "weights.from_scratch": False, "loop.epochs": 1}  # fmt: skip
    line = told("train", tmp_path / "run", changes)
    assert "Network is unreachable" in line
    assert "--config.weights.from_scratch=true" in line
    assert not (tmp_path / "run" / "records").exists()
    run_job("train", tmp_path / "run", {**changes, "weights.from_scratch": True})
    assert "trains from scratch, as asked" in capsys.readouterr().out


def test_an_empty_class_is_told(kaggle, tmp_path) -> None:
    shutil.copytree(kaggle, tmp_path / "images")
    for path in (tmp_path / "images" / "Training" / "notumor").iterdir():
        path.unlink()
    line = told("train", tmp_path / "run", {"data.root": str(tmp_path / "images")})
    assert "notumor" in line


def test_a_truncated_image_is_told(kaggle, tmp_path) -> None:
    shutil.copytree(kaggle, tmp_path / "images")
    broken = sorted((tmp_path / "images" / "Training" / "glioma").iterdir())[0]
    broken.write_bytes(broken.read_bytes()[:500])
    assert broken.name in told("train", tmp_path / "run", {"data.root": str(tmp_path / "images")})


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [((), "--input=PATH"), (("/nowhere.png",), "/nowhere.png"), (("",), "nothing to classify")],
)
def test_predicting(inputs, expected, classifier, tmp_path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    paths = tuple(Path(path) if path else empty for path in inputs)
    assert expected in told("predict", classifier, inputs=paths, output=tmp_path / "out")


def test_predicting_changes_evaluation_alone(classifier, kaggle, tmp_path) -> None:
    line = told("predict", classifier, inputs=(kaggle,), overrides={"model.hidden": (3,)})
    assert "--config.model.hidden: a trained network's own settings stay" in line


def test_a_classifier_is_no_segmentation_network(classifier, finished, kaggle, tmp_path) -> None:
    scan = next((finished / "phantoms").rglob("*_flair.nii.gz"))
    assert scan.name in told("predict", classifier, inputs=(scan,), output=tmp_path / "out")
    line = told("predict", finished, inputs=(kaggle / "Testing",), output=tmp_path / "out")
    assert str(kaggle) in line
    for checkpoints in ((classifier, finished), (finished, classifier)):
        line = told("predict", None, checkpoints=checkpoints, inputs=(scan,), output=tmp_path)
        assert str(checkpoints[1]) in line
    assert "task segmentation -> classification" in told(
        "train", finished, {"data.root": str(kaggle)}
    )


def test_the_command_line_tells_in_one_line(command, tmp_path) -> None:
    output = command(
        "--config=configs/kaggle4_vgg16.py:model3", f"--workdir={tmp_path / 'run'}", code=2
    )
    [line] = [line for line in output.splitlines() if line.startswith("error: ")]
    assert "use model1, model2, model2_texture" in line
