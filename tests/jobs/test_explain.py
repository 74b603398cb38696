"""``--mode=explain`` on classifiers and segmentation networks that take seconds."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest

from brainjax.errors import InputError
from brainjax.explain import METHODS
from brainjax.files import read_json
from brainjax.jobs.explain_volumes import explain_volumes
from brainjax.scans import read_image
from tests.jobs.classification import run_job

SMALL = {
    "explain.count": 3, "explain.pictures": 2, "explain.samples": 2, "explain.steps": 2,
    "explain.window": 0.5, "explain.curve_steps": 2, "explain.sanity_cases": 1,
    "explain.bootstrap": 20,
}  # fmt: skip


@pytest.fixture(scope="module")
def figshare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier of made-up ``.mat`` files, trained for two epochs."""
    workdir = tmp_path_factory.mktemp("figshare")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "brainjax.jobs.evaluate_classifier.write_classification_report", lambda *a, **k: ()
        )
        run_job("train", workdir, name="figshare_cnn")
    return workdir


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as stream:
        return list(csv.DictReader(stream))


def test_a_classifier_is_explained(figshare: Path, tmp_path: Path, capsys) -> None:
    assert run_job("explain", figshare, name="figshare_cnn", overrides=SMALL, output=tmp_path) == 0
    told = capsys.readouterr().out
    assert "no better than chance" in told or "better than chance" in told or "worse" in told
    scores = rows(tmp_path / "scores.csv")
    assert len(scores) == 3 * (len(METHODS) + 3)
    assert {row["method"] for row in scores} == {*METHODS, "uniform", "centre", "intensity"}
    for row in scores:
        assert 0 <= float(row["auroc"]) <= 1
        if row["method"] == "uniform":
            assert (row["ratio"], row["auroc"], row["flat"]) == ("1", "0.5", "1")
    summary = read_json(tmp_path / "summary.json")
    assert summary["cases"] == 3
    assert summary["verdict/uniform"] == "baseline"
    assert summary["rank_correlation/gradient/body/conv0"] < 0.99
    assert len(list((tmp_path / "cases").glob("*.png"))) == 2
    page = (tmp_path / "explanation.html").read_text()
    assert page.count("data:image/png") == 2
    assert "Do they depend on the network?" in page


def test_chosen_images_of_ones_own_without_a_region(figshare: Path, tmp_path: Path, kaggle) -> None:
    folder = kaggle / "Testing" / "glioma"
    name = sorted(path.name for path in folder.iterdir())[0]
    chosen = SMALL | {"explain.cases": (name,), "explain.methods": ("gradient",)}
    run_job(
        "explain", figshare, name="figshare_cnn", overrides=chosen | {"explain.sanity_cases": 0},
        inputs=(folder,), output=tmp_path,
    )  # fmt: skip
    (own, *_) = rows(tmp_path / "scores.csv")
    assert (own["case_id"], own["auroc"]) == (name, "")
    assert float(own["insertion"]) > 0
    summary = read_json(tmp_path / "summary.json")
    assert summary["verdict/gradient"] == "not scored"
    assert "1 of 1 images have no box or mask" in " ".join(summary["notes"])
    with pytest.raises(InputError, match=r"explain\.cases: nobody not among"):
        run_job(
            "explain", figshare, name="figshare_cnn", inputs=(folder,), output=tmp_path,
            overrides={"explain.cases": ("nobody",)},
        )  # fmt: skip


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"explain.methods": ("magic",)}, "explain: methods: magic is none of gradient"),
        ({"explain.region": "XX"}, "explain: region 'XX'"),
        ({"model.widths": (4,)}, "a trained network's own settings stay"),
    ],
)
def test_mistakes_are_told(figshare: Path, tmp_path: Path, overrides, message) -> None:
    with pytest.raises(InputError, match=message):
        run_job("explain", figshare, name="figshare_cnn", overrides=overrides, output=tmp_path)


@pytest.mark.slow
def test_permuted_labels_are_a_control(figshare: Path, tmp_path: Path, no_report) -> None:
    changes = {"permute_labels": True, "data.records": str(figshare / "records")}
    shutil.copytree(figshare / "made_up", tmp_path / "run" / "made_up")
    run_job("train", tmp_path / "run", changes, name="figshare_cnn")
    compare = SMALL | {"explain.methods": ("gradient",), "explain.count": 1}
    run_job(
        "explain", figshare, name="figshare_cnn", output=tmp_path / "out",
        overrides=compare | {"explain.compare": str(tmp_path / "run")},
    )  # fmt: skip
    assert (
        -1 <= read_json(tmp_path / "out" / "summary.json")["control_rank_correlation/gradient"] < 1
    )
    with pytest.raises(InputError, match="was not trained with permute_labels"):
        run_job(
            "explain", figshare, name="figshare_cnn", output=tmp_path / "out",
            overrides=compare | {"explain.compare": str(figshare)},
        )  # fmt: skip


def test_a_segmentation_is_explained_on_the_scans_grid(finished: Path, tmp_path: Path) -> None:
    methods = ("gradient",)
    code = explain_volumes(
        finished, inputs=(), output=tmp_path,
        overrides=SMALL | {"explain.methods": methods, "explain.pictures": 1,
                           "explain.curve_steps": 0, "explain.sanity_cases": 0},
    )  # fmt: skip
    assert code == 0
    case = next((tmp_path / "cases").glob("*_attention_maps.png")).name.removesuffix(
        "_attention_maps.png"
    )
    scan, grid = read_image(next((finished / "phantoms").rglob(f"{case}*flair*.nii.gz")))
    for name in methods:
        values, written = read_image(tmp_path / "cases" / f"{case}_{name}.nii.gz")
        assert values.shape == scan.shape
        np.testing.assert_array_equal(written.affine, grid.affine)
        inside = np.argwhere(values != 0)
        assert (np.ptp(inside, axis=0) < 16).all()  # the window of the training patch's size
    page = (tmp_path / "explanation.html").read_text()
    assert page.count("data:image/png") == 5  # maps, attention, features, segmentations, confidence
