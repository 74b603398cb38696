"""Calibration and uncertainty of segmentations, from the run to the files of a prediction."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from brainjax import experiment, jobs
from brainjax.errors import InputError
from brainjax.evaluation import scale_probabilities
from brainjax.files import read_json, write_json
from brainjax.jobs.evaluate import evaluate
from brainjax.jobs.predictor import load_predictor
from brainjax.scans import read_image


def predict(run, output, *, overrides=None, checkpoints=(), case=None, **options) -> int:
    case = case or min((run / "phantoms").rglob("*_flair.nii*")).parent
    return jobs.run(
        "predict", config=None, overrides=overrides or {}, workdir=run, inputs=[case],
        output=output, checkpoints=checkpoints, **{"write_probabilities": False, **options},
    )  # fmt: skip


def test_a_run_calibrates_on_its_validation_cases(finished) -> None:
    summary = read_json(finished / "summary.json")
    calibration = read_json(finished / "calibration.json")
    assert calibration["temperature"] == summary["calibration/temperature"]
    assert calibration["step"] == summary["checkpoint/step"]
    for region in ("ET", "WT", "TC"):
        assert 0 <= summary[f"val/ece/{region}"] <= 1
    assert 0 <= summary["val/error_auroc_entropy"] <= 1
    assert load_predictor([finished]).temperature == calibration["temperature"]
    page = (finished / "report.html").read_text()
    assert 'id="calibration"' in page
    assert "probability of the region" in page


def test_written_probabilities_are_calibrated_and_the_labels_stay(finished, tmp_path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    told = read_json(run / "calibration.json")
    (run / "calibration.json").unlink()
    assert predict(run, tmp_path / "raw", write_probabilities=True) == 0
    write_json(run / "calibration.json", {**told, "temperature": 2.5})
    assert predict(run, tmp_path / "scaled", write_probabilities=True) == 0
    raw, scaled = (
        read_image(next((tmp_path / name).glob("*_probabilities.nii.gz")), ndim=4)[0]
        for name in ("raw", "scaled")
    )
    np.testing.assert_allclose(scaled, scale_probabilities(raw, 2.5), atol=1e-5)
    for one in (tmp_path / "raw").glob("*.nii.gz"):
        if "probabilities" not in one.name:
            before, _ = read_image(one)
            np.testing.assert_array_equal(before, read_image(tmp_path / "scaled" / one.name)[0])


def test_uncertainty_lies_beside_the_prediction(finished, tmp_path, capsys) -> None:
    assert predict(finished, tmp_path / "one", with_uncertainty=True) == 0
    assert "entropy only" in capsys.readouterr().out
    assert len(list((tmp_path / "one").glob("*_entropy.nii.gz"))) == 1
    assert not list((tmp_path / "one").glob("*_mutual_information.nii.gz"))

    overrides = {"inference.mirror": True, "inference.overlap": 0.0}
    assert predict(finished, tmp_path / "eight", overrides=overrides, with_uncertainty=True) == 0
    assert predict(finished, tmp_path / "plain", overrides=overrides) == 0
    (entropy,) = (tmp_path / "eight").glob("*_entropy.nii.gz")
    (information,) = (tmp_path / "eight").glob("*_mutual_information.nii.gz")
    entropy, grid = read_image(entropy)
    information, _ = read_image(information)
    name = next((tmp_path / "plain").glob("*.nii.gz")).name
    labels, plain_grid = read_image(tmp_path / "plain" / name)
    np.testing.assert_array_equal(grid.affine, plain_grid.affine)
    assert grid.shape == plain_grid.shape
    assert entropy.dtype == np.float32
    assert (information >= 0).all()
    assert (information <= entropy + 1e-6).all()
    assert 0 < entropy.max() <= 1
    again, _ = read_image(tmp_path / "eight" / name)
    assert np.mean(again == labels) > 0.999  # rounding may decide a voxel


def test_an_ensemble_s_disagreement_is_scored_too(finished, tmp_path) -> None:
    workdir = tmp_path / "both"
    shutil.copytree(finished, workdir)
    (workdir / "calibration.json").unlink()
    built = experiment.build(read_json(workdir / "config.json"))
    checkpoints = sorted(
        path for path in (finished / "checkpoints").iterdir() if path.name.isdigit()
    )
    evaluate(built, workdir, checkpoints=checkpoints[:2])
    summary = read_json(workdir / "summary.json")
    assert 0 <= summary["val/error_auroc_mutual_information"] <= 1
    assert not (workdir / "calibration.json").exists()  # it is of others, not of this run


def test_a_classifier_has_no_maps(classifier, tmp_path) -> None:
    with pytest.raises(InputError, match="--uncertainty is for segmentations"):
        predict(classifier, tmp_path, case=tmp_path, with_uncertainty=True)
