"""Region-wise training with deep supervision through the command line."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from brainjax.errors import InputError
from brainjax.jobs.predictor import load_predictor
from tests.jobs.command_line import ROOT, TINY

NARROW = (
    "--config=configs/comparators.py:nnunet", "--config.objective.target=regions",
    "--config.model.base_width=4", "--config.model.stages=3",
)  # fmt: skip


def test_a_comparator_trains_regions_and_predicts_labels(command, tmp_path: Path) -> None:
    run, out = tmp_path / "run", tmp_path / "out"
    command(*NARROW, *TINY, f"--workdir={run}")
    summary = json.loads((run / "summary.json").read_text())
    assert summary["train/steps"] == 6
    assert 0 <= summary["val/dice/WT"] <= 1
    case = next(path for path in (run / "phantoms").rglob("*_flair.nii.gz")).parent
    command(
        "--mode=predict", f"--workdir={run}", f"--input={case}", f"--output={out}",
        "--probabilities",
    )  # fmt: skip
    labels = nib.load(out / f"{case.name}.nii.gz").get_fdata()
    assert set(np.unique(labels)) <= {0, 1, 2, 4}
    found = nib.load(out / f"{case.name}_probabilities.nii.gz").get_fdata()
    assert found.shape == (*labels.shape, 4)  # outside, WT, TC, ET
    np.testing.assert_array_equal(labels == 4, found[..., 3] > 0.5)
    np.testing.assert_array_equal(labels > 0, (found[..., 1:] > 0.5).any(axis=-1))
    assert (found[..., 0] <= 1 - found[..., 1:].max(axis=-1) + 1e-5).all()
    changed = command(*NARROW[:1], *NARROW[2:], *TINY, f"--workdir={run}", code=2)
    assert "objective.target regions -> classes" in changed


def test_released_weights_are_of_classes() -> None:
    config = runpy.run_path(str(ROOT / "configs" / "cga.py"))["get_config"]("released")
    config.objective.target = "regions"
    with pytest.raises(InputError, match=r"model.pth: .* set objective.target=classes"):
        load_predictor([Path("model.pth")], config=config)
