"""Rows under missing modalities and artefacts: resumed row by row, seeded, and as predicted."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest

from brainjax import experiment
from brainjax.augment import AugmentOptions, augment_batch, drop_modalities_randomly
from brainjax.errors import InputError
from brainjax.evaluation import read_case_table
from brainjax.files import read_json
from brainjax.jobs.predictor import load_predictor
from brainjax.jobs.robust_classifier import worsened_images
from brainjax.jobs.robustness import (
    Condition,
    artefact_conditions,
    conditions,
    evaluate_robustness,
    worsened,
)
from brainjax.scans import find_cohort, read_volume
from tests.jobs.classification import run_job

FOUR = ("flair", "t1ce", "t1", "t2")


def table(path: Path) -> list[dict[str, str]]:
    with path.open() as stream:
        return list(csv.DictReader(stream))


def test_fifteen_subsets_and_every_strength_have_a_row_of_their_own() -> None:
    found = conditions(FOUR)
    missing = [one for one in found if one.kind == "missing modalities"]
    assert len(missing) == 14  # the fifteenth is the first row: all are there
    assert {len(one.present) for one in missing} == {1, 2, 3}
    assert found[0].kind == "none"
    assert len(found) == 15 + len(artefact_conditions())
    assert len({one.slug for one in found}) == len(found)


def test_rows_are_kept_and_the_first_is_the_evaluation(finished, tmp_path, monkeypatch) -> None:
    workdir = tmp_path / "run"
    shutil.copytree(finished, workdir)
    built = experiment.build(read_json(workdir / "config.json"))
    few = [Condition(kind="none"), Condition(kind="missing modalities", present=("t2",)),
           Condition(kind="noise", strength=0.5)]  # fmt: skip
    monkeypatch.setattr("brainjax.jobs.robustness.conditions", lambda modalities: few)
    assert evaluate_robustness(built, workdir) == 0
    rows = table(workdir / "robustness.csv")
    assert [row["condition"] for row in rows] == ["as it is", "only t2", "noise 0.5"]
    summary = read_json(workdir / "summary.json")
    for region in ("ET", "WT", "TC", "mean"):
        # Another process compiles with other flags and adds up in another order.
        assert float(rows[0][f"dice/{region}"]) == pytest.approx(
            summary[f"val/dice/{region}"], abs=0.02
        )
    assert len(read_case_table(workdir / "robustness" / "noise_0.5.csv")) == 3
    page = (workdir / "robustness.html").read_text()
    assert "brain&#x27;s mean" in page
    assert "<svg" in page

    before = {path: path.stat().st_mtime_ns for path in (workdir / "robustness").glob("*.csv")}
    first, *others = sorted(before)
    first.unlink()  # as if it had been stopped before this row
    assert evaluate_robustness(built, workdir) == 0
    assert table(workdir / "robustness.csv") == rows
    assert all(path.stat().st_mtime_ns == before[path] for path in others)

    config = {**built.config, "inference": {**built.config["inference"], "overlap": 0.25}}
    assert evaluate_robustness(experiment.build(config), workdir) == 0
    assert all(path.stat().st_mtime_ns != before[path] for path in others)  # made anew


def test_a_missing_modality_is_0_after_normalisation(finished) -> None:
    predictor = load_predictor([finished])
    cohort = find_cohort(finished / "phantoms", "brats2020")
    volume = read_volume(cohort.cases[0], modalities=FOUR, label_convention="brats2020")
    same, after = worsened(volume, Condition(kind="missing modalities", present=("t1", "t2")))
    assert same is volume
    image = after(np.ones((2, 2, 2, 4), np.float32))
    np.testing.assert_array_equal(image[0, 0, 0], [0, 0, 1, 1])
    seen: list[np.ndarray] = []

    def keep(image: np.ndarray) -> np.ndarray:
        seen.append(after(image))
        return seen[-1]

    predictor.segment(volume, after_normalising=keep)
    assert not seen[0][..., :2].any()
    assert seen[0][..., 2:].any()


@pytest.mark.parametrize("condition", artefact_conditions()[7::3], ids=lambda one: one.slug)
def test_artefacts_leave_the_background_empty_and_the_scan_as_it_was(finished, condition) -> None:
    cohort = find_cohort(finished / "phantoms", "brats2020")
    volume = read_volume(cohort.cases[0], modalities=FOUR, label_convention="brats2020")
    before = volume.image.copy()
    first, _ = worsened(volume, condition)
    again, _ = worsened(volume, condition)
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(volume.image, before)
    assert not first.image[before.sum(axis=-1) == 0].any()
    assert not np.array_equal(first.image, before)


def test_classifiers_have_rows_too(classifier, kaggle, tmp_path) -> None:
    shutil.copytree(classifier, tmp_path / "run")
    changes = {"data.root": str(kaggle), "loop.epochs": 3}
    assert run_job("robustness", tmp_path / "run", changes) == 0
    rows = table(tmp_path / "run" / "robustness.csv")
    assert len(rows) == 1 + len(artefact_conditions())
    summary = read_json(tmp_path / "run" / "summary.json")
    for name in ("accuracy", "log_loss", "ece"):
        assert float(rows[0][name]) == pytest.approx(summary[f"test/{name}"], abs=1e-3)
    assert len({row["log_loss"] for row in rows}) > len(rows) // 2


def test_worsened_images_stay_images() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 12, 12, 1), np.uint8)
    names = ["a", "b", "c"]
    for condition in artefact_conditions():
        changed = worsened_images(images, names, condition)
        assert (changed.shape, changed.dtype) == (images.shape, np.uint8)
        reverse = worsened_images(images[::-1], names[::-1], condition)
        np.testing.assert_array_equal(changed, reverse[::-1])  # an image's own numbers
    assert worsened_images(images, names, Condition(kind="none")) is images


def test_dropped_modalities_are_0_and_one_always_stays() -> None:
    import jax

    image = jax.numpy.ones((3, 2, 2, 4))
    keys = jax.random.split(jax.random.key(0), 400)

    def kept(probability: float) -> np.ndarray:
        drop = lambda key: drop_modalities_randomly(key, image, probability=probability)  # noqa: E731
        found = np.asarray(jax.vmap(drop)(keys))  # [400, 3, 2, 2, 4]
        np.testing.assert_array_equal(found, found[:, :1, :1, :1] * np.ones_like(found))
        return found[:, 0, 0, 0]  # [400, 4]

    half, every, none = kept(0.5), kept(1.0), kept(0.0)
    assert (none == 1).all()
    assert (every.sum(axis=1) == 1).all()
    assert (every.mean(axis=0) > 0.15).all()  # which one stays is drawn evenly
    assert (half.sum(axis=1) >= 1).all()
    # Half of four stay, and where chance drops all (1 in 16) one more does.
    assert half.mean() == pytest.approx(0.5 + 1 / 64, abs=0.04)


def test_without_dropout_augmentation_draws_what_it_drew_before() -> None:
    import jax

    image = jax.random.normal(jax.random.key(1), (2, 4, 4, 4, 4))
    labels = jax.numpy.zeros((2, 4, 4, 4), jax.numpy.uint8)
    key = jax.random.key(2)
    plain, _ = augment_batch(key, image, labels, AugmentOptions())
    dropped, _ = augment_batch(key, image, labels, AugmentOptions(modality_dropout=0.5))
    empty = np.asarray(dropped == 0).all(axis=(1, 2, 3))  # [B, C]
    assert empty.any()
    np.testing.assert_array_equal(np.where(empty[:, None, None, None], 0, plain), dropped)
    with pytest.raises(InputError, match="modality_dropout: expected 0 to 1"):
        AugmentOptions(modality_dropout=1.5)


def test_a_run_from_before_modality_dropout_goes_on(finished) -> None:
    saved = read_json(finished / "config.json")
    del saved["augment"]["modality_dropout"]
    completed = experiment.complete_saved(saved)
    assert completed["augment"]["modality_dropout"] == 0.0
    assert experiment.build(completed) == experiment.build(read_json(finished / "config.json"))
