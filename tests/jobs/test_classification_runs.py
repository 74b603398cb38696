"""Several runs of one classifier, and where its weights come from."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import numpy as np
import pytest

from brainjax import experiment
from brainjax.errors import InputError
from brainjax.files import read_json
from brainjax.jobs.classifier import load_classifier
from brainjax.jobs.repeat import _plan
from brainjax.jobs.several import runs_in
from brainjax.scans import write_phantom_slices
from brainjax.training import read_history
from tests.jobs.classification import CLASSES, run_job, tiny_config


@pytest.fixture(scope="module")
def figshare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("figshare") / "mats"
    return write_phantom_slices(root, layout="figshare", slices_per_class=12, seed=0)


@pytest.fixture(scope="module")
def repeated(kaggle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds and their common report."""
    workdir = tmp_path_factory.mktemp("repeated")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "brainjax.jobs.evaluate_classifier.write_classification_report", lambda *a, **k: ()
        )
        run_job("train", workdir, {"data.root": str(kaggle), "repeats": 2})
    return workdir


def test_repeats_give_mean_and_sd(repeated) -> None:
    seeds = [read_json(repeated / f"seed_{seed}" / "summary.json") for seed in (0, 1)]
    whole = read_json(repeated / "summary.json")
    for name in ("test/accuracy", "test/balanced_accuracy", "test/log_loss",
                 *(f"test/auroc/{one}" for one in CLASSES)):  # fmt: skip
        values = [one[name] for one in seeds]
        prefix, metric, *rest = name.split("/")
        assert whole[name] == pytest.approx(np.mean(values))
        for kind, value in (("mean", np.mean(values)), ("sd", np.std(values, ddof=1))):
            assert whole["/".join([prefix, f"{metric}_{kind}", *rest])] == pytest.approx(value)
    assert seeds[0]["test/log_loss"] != seeds[1]["test/log_loss"]
    assert whole["repeats"] == 2
    assert "±" in (repeated / "summary.md").read_text()
    assert "<html" in (repeated / "report.html").read_text()
    assert not (repeated / "seed_0" / "records").exists()


def test_a_finished_seed_is_kept_and_another_is_added(repeated, kaggle, capsys, no_report) -> None:
    before = (repeated / "seed_1" / "summary.json").stat().st_mtime_ns
    run_job("train", repeated, {"data.root": str(kaggle), "repeats": 2})
    assert capsys.readouterr().out.count("finished before; kept") == 2
    assert (repeated / "seed_1" / "summary.json").stat().st_mtime_ns == before
    run_job("evaluate", repeated, {"data.root": str(kaggle), "repeats": 2})
    assert (repeated / "seed_1" / "summary.json").stat().st_mtime_ns > before


def test_a_repeated_run_predicts_with_all_seeds(repeated, kaggle, tmp_path) -> None:
    inputs = (kaggle / "Testing" / "glioma",)
    run_job("predict", repeated, inputs=inputs, output=tmp_path)
    assert len(json.loads((tmp_path / "predictions.json").read_text())["checkpoint_steps"]) == 2
    images = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 1), np.uint8)
    one, two = (load_classifier([path]) for path in runs_in(repeated))
    both = load_classifier(runs_in(repeated))
    mean = sum(np.exp(each.log_probabilities(images, [0, 1], None)) for each in (one, two)) / 2
    np.testing.assert_allclose(
        np.exp(both.log_probabilities(images, [0, 1], None)), mean, rtol=1e-5
    )


def test_one_run_and_several_are_told_apart(repeated, classifier, kaggle) -> None:
    changes = {"data.root": str(kaggle)}
    with pytest.raises(InputError, match="holds several runs"):
        run_job("evaluate", repeated, changes)
    with pytest.raises(InputError, match="holds a single run"):
        run_job("train", classifier, {**changes, "repeats": 2})
    with pytest.raises(InputError, match=r"optimizer\.learning_rate"):
        run_job("train", repeated, {**changes, "repeats": 2, "optimizer.learning_rate": 0.5})
    with pytest.raises(InputError, match="not trained yet"):
        run_job("evaluate", repeated, {**changes, "repeats": 3})


def test_a_slice_split_stands_beside_a_patient_split(figshare, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(
        "brainjax.jobs.evaluate_classifier.write_classification_report", lambda *a, **k: ()
    )
    changes = {
        "data.root": str(figshare), "data.split": "slice", "split.test_fraction": 0.3,
        "images.channels": 1, "loop.epochs": 1, "optimizer.l2": 0.0, "optimizer.l2_layers": (),
    }  # fmt: skip
    run_job("train", tmp_path, changes, name="figshare_cnn")
    summary = read_json(tmp_path / "summary.json")
    assert summary["data/patients_on_both_sides"] > 0
    assert summary["test/patients_seen_in_training"] > 0
    assert summary["split_by_patient/data/patients_on_both_sides"] == 0
    assert summary["split_by_patient/test/patients_seen_in_training"] == 0
    assert "split_by_patient/test/accuracy" in summary
    page = (tmp_path / "report.html").read_text()
    assert "split by slice" in page
    assert "split by patient" in page
    with pytest.raises(InputError, match="holds several experiments"):
        run_job("predict", tmp_path, inputs=(figshare,))
    run_job("predict", None, checkpoints=(tmp_path / "split_by_patient",), inputs=(figshare,),
            output=tmp_path / "out")  # fmt: skip
    details = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert len(details["predictions"]) == 36


def test_without_patients_a_slice_split_stands_alone(kaggle, tmp_path, no_report) -> None:
    changes = {"data.root": str(kaggle), "data.split": "slice", "loop.epochs": 1}
    run_job("train", tmp_path, changes)
    assert (tmp_path / "checkpoints").is_dir()


def test_a_table_of_folds_divides(figshare, kaggle, tmp_path, no_report) -> None:
    del figshare
    files = sorted((kaggle / "Training").rglob("*.*"))
    lines = [
        f"{path.relative_to(kaggle)},{path.parent.name},{1 + number % 2}"
        for number, path in enumerate(files)
    ]
    table = tmp_path / "folds.csv"
    table.write_text("\n".join(["file,label,fold", *lines]) + "\n")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "Training").symlink_to(kaggle / "Training")
    changes = {"data.root": str(tmp_path / "images"), "data.split": str(table),
               "split.duplicates": "ignore", "loop.epochs": 1}  # fmt: skip
    run_job("train", tmp_path / "run", changes)
    assert read_json(tmp_path / "run" / "summary.json")["test/cases"] == len(files) // 2


def test_the_ablation_is_four_variants_of_five_seeds(tmp_path) -> None:
    built = experiment.build(tiny_config("kaggle4_improved", variant="ablation"))
    runs = _plan(built, tmp_path)
    assert len({run.folder for run in runs}) == 20
    asked = {
        run.label: (run.experiment.make_objective().loss, run.experiment.smote.ratio)
        for run in runs
    }
    assert asked == {
        "focal + SMOTE": ("focal", 0.85),
        "cross-entropy": ("cross_entropy", 0.0),
        "focal": ("focal", 0.0),
        "cross-entropy + SMOTE": ("cross_entropy", 0.85),
    }


def test_smote_adds_to_training_alone(kaggle, tmp_path, no_report) -> None:
    changes = {"data.root": str(kaggle), "smote.ratio": 1.0, "smote.neighbours": 2,
               "loop.epochs": 1, "split.duplicates": "ignore"}  # fmt: skip
    for path in sorted((kaggle / "Training").rglob("*.*")):
        if path.parent.name != "glioma" or not path.name.endswith("1.jpg"):
            target = tmp_path / "images" / path.relative_to(kaggle)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(path)
    (tmp_path / "images" / "Testing").symlink_to(kaggle / "Testing")
    run_job("train", tmp_path / "run", {**changes, "data.root": str(tmp_path / "images")})
    summary = read_json(tmp_path / "run" / "summary.json")
    assert summary["train/cases_with_smote"] > summary["train/cases"]
    assert summary["test/cases"] == 8


def test_the_rate_falls_on_a_plateau(kaggle, tmp_path, no_report) -> None:
    changes = {
        "data.root": str(kaggle), "optimizer.schedule": "plateau", "loop.epochs": 5,
        "optimizer.plateau_patience": 1, "optimizer.plateau_threshold": 1.0,
        "optimizer.final_fraction": 0.01,
    }  # fmt: skip
    run_job("train", tmp_path, changes)
    rates = [row["train/learning_rate"] for row in read_history(tmp_path / "metrics.jsonl")
             if "train/learning_rate" in row]  # fmt: skip
    np.testing.assert_allclose(rates[:2], 1e-3)
    np.testing.assert_allclose(rates[2:], [1e-4, 1e-5, 1e-5], rtol=1e-5)


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file as torchvision would write it, of a narrow ResNet-10 and 1000 classes."""
    torch = pytest.importorskip("torch")
    from benchmarks.torch_reference.resnet import STAGES, ResNet

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "resnet.pth"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(STAGES, 10, (1, 1, 1, 1))
        torch.save(ResNet(depth=10, width=4).state_dict(), path)
    return path


NARROW = {
    "model.depth": 0, "model.stage_sizes": (1, 1, 1, 1), "model.block": "basic", "model.width": 4
}  # fmt: skip


@pytest.mark.parametrize(("train", "body_rate"), [("head", 1.0), ("all", 0.5)])
def test_pretrained_bodies(train, body_rate, pretrained, kaggle, tmp_path, no_report) -> None:
    torch = pytest.importorskip("torch")
    changes = {
        "data.root": str(kaggle), "images.image_size": (32, 32), "images.channels": 3,
        "weights.pretrained": str(pretrained), "weights.train": train,
        "optimizer.body_rate": body_rate, "loop.epochs": 1, **NARROW,
    }  # fmt: skip
    run_job("train", tmp_path, changes, name="mgmt_resnet18")
    [found] = load_classifier([tmp_path]).variables
    theirs = torch.load(pretrained)["conv1.weight"].numpy().transpose(2, 3, 1, 0)
    ours = next(
        np.asarray(leaf) for leaf in jax.tree.leaves(found["params"]["body"])
        if leaf.shape == theirs.shape
    )  # fmt: skip
    assert np.array_equal(ours, theirs) == (train == "head")
    np.testing.assert_allclose(ours, theirs, atol=0.05)
    if train == "head":
        assert run_job("train", tmp_path, {**changes, "loop.epochs": 2}, name="mgmt_resnet18") == 0


def test_series_train_and_predict(tmp_path, no_report) -> None:
    changes = {
        "made_up.patients": 6, "made_up.slices_per_series": 4, "made_up.image_size": (32, 32),
        "made_up.epochs": 1, **NARROW, "series.slices_per_series": 4,
        "evaluation.by_patient": True,
    }  # fmt: skip
    run_job("train", tmp_path / "run", changes, name="mgmt_resnet18")
    summary = read_json(tmp_path / "run" / "summary.json")
    assert summary["data/patients_on_both_sides"] == 0
    assert "test_by_patient/accuracy" in summary
    case = next(path for path in sorted((tmp_path / "run" / "made_up").rglob("FLAIR"))).parent
    run_job("predict", tmp_path / "run", inputs=(case,), output=tmp_path / "out")
    details = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert details["by_patient"][0]["patient_id"] == case.name
    assert details["by_patient"][0]["images"] == len(details["predictions"]) == 4
    with pytest.raises(InputError, match="FLAIR"):
        run_job("predict", tmp_path / "run", inputs=(case / "FLAIR",), output=tmp_path / "out")
