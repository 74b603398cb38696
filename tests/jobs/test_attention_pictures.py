"""Pictures of a trained network's attention, and of several networks side by side."""

from __future__ import annotations

import dataclasses

import nibabel as nib
import numpy as np
import pytest

from brainjax.errors import InputError
from brainjax.jobs import run
from brainjax.jobs.attention_pictures import draw_attention_pictures, patch_around
from brainjax.jobs.predictor import load_predictor
from brainjax.scans import find_cohort


@pytest.fixture(scope="module")
def phantom(finished):
    return find_cohort(finished / "phantoms", modalities=("flair", "t1ce", "t1", "t2")).cases[0]


def test_pictures_and_maps_of_a_case(finished, phantom, tmp_path):
    predictor = load_predictor([finished])
    pictures = draw_attention_pictures(predictor, phantom, tmp_path)
    names = ("attention_maps", "feature_maps", "segmentations", "confidence")
    assert pictures == [tmp_path / f"{phantom.case_id}_{name}.png" for name in names]
    assert all(picture.read_bytes().startswith(b"\x89PNG") for picture in pictures)
    scan = nib.load(phantom.images["flair"][0])
    maps = {
        name: nib.load(tmp_path / f"{phantom.case_id}_{name}.nii.gz")
        for name in ("attention", "attention_weights", "features_before", "features_after")
    }
    for image, count in zip(maps.values(), (4, 4, 5, 5), strict=True):
        assert image.shape == (*scan.shape, count)
        np.testing.assert_array_equal(image.affine, scan.affine)
    weights = maps["attention_weights"].get_fdata()
    brain = scan.get_fdata() != 0
    # Hard masks: each voxel's weights sum to one, wherever the network has looked.
    np.testing.assert_allclose(weights.sum(axis=-1)[brain], 1.0, atol=1e-3)
    assert np.ptp(maps["attention"].get_fdata()[brain]) > 0
    page = (tmp_path / f"{phantom.case_id}_attention.html").read_text()
    assert "attention: enhancing" in page


def test_a_network_without_attention_has_no_pictures_of_it(finished, phantom, tmp_path):
    predictor = load_predictor([finished])
    config = predictor.experiment.config
    baseline = dataclasses.replace(
        predictor.experiment,
        config=config | {"model": config["model"] | {"intra": False, "inter": False}},
    )
    changed = dataclasses.replace(predictor, experiment=baseline)
    assert draw_attention_pictures(changed, phantom, tmp_path / "out") == []
    assert not (tmp_path / "out").exists()


def test_patch_lies_around_the_mask_within_the_image():
    image = np.random.default_rng(0).uniform(1, 2, (10, 12, 4, 1))
    mask = np.zeros((10, 12, 4), bool)
    mask[9, 5:8, 1] = True
    patch = patch_around(image, mask, (4, 4, 8))
    np.testing.assert_array_equal(patch[:, :, :4], image[6:10, 4:8])
    assert not patch[:, :, 4:].any()


def compare(checkpoints, output, inputs=()):
    return run(
        "compare", config=None, overrides={}, workdir=None, inputs=inputs, output=output,
        checkpoints=checkpoints, write_probabilities=False,
    )  # fmt: skip


def test_compare_draws_runs_of_different_steps(finished, phantom, tmp_path, capsys):
    case = phantom.images["flair"][0].parent
    assert compare([finished, finished / "checkpoints" / "6"], tmp_path, [case]) == 0
    made = {path.name for path in tmp_path.iterdir()}
    assert {f"{phantom.case_id}_segmentations.png", "attention_loss.png"} <= made
    assert f"prototype_distances_{finished.name}.png" in made
    assert str(tmp_path / f"{phantom.case_id}_confidence.png") in capsys.readouterr().out


def test_compare_needs_checkpoints(tmp_path):
    with pytest.raises(InputError, match="compare needs --checkpoint=RUN"):
        compare([], tmp_path)
