"""Runs whose batches are split: trained, told apart, and refused where devices do not fit."""

from __future__ import annotations

import dataclasses
import json
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from brainjax import experiment, parallel
from brainjax.errors import InputError
from brainjax.jobs.fit import Training, fit
from brainjax.jobs.saved_run import as_json, check_configuration
from brainjax.training import read_history
from tests.jobs.command_line import ROOT


def build(accumulate: int) -> experiment.Experiment:
    config = runpy.run_path(str(ROOT / "configs" / "cga.py"))["get_config"]()
    config.batches.accumulate = accumulate
    return experiment.build(config)


def test_a_split_run_trains_and_goes_on_only_so(finished: Path, train, tmp_path) -> None:
    split = tmp_path / "split"
    train(split, "--config.batches.accumulate=2")
    [whole, ours] = (read_history(run / "metrics.jsonl") for run in (finished, split))
    assert json.loads((split / "config.json").read_text())["batches"]["accumulate"] == 2
    assert ours[0]["step"] == whole[0]["step"] == 1
    # The attention map's loss is a mean over voxels and has no dropout before the first update.
    assert ours[0]["train/attention_loss"] == pytest.approx(whole[0]["train/attention_loss"], 1e-4)
    assert ours[0]["train/dice_loss"] != whole[0]["train/dice_loss"]
    assert "batches.accumulate 2 -> 1" in train(split, code=2)


def test_a_run_from_before_micro_batches_goes_on() -> None:
    saved: Any = as_json(build(1).config)
    del saved["batches"]["accumulate"]
    check_configuration(build(1), {"config": saved}, Path("run"))
    with pytest.raises(InputError, match=r"batches\.accumulate 1 -> 2"):
        check_configuration(build(2), {"config": saved}, Path("run"))


def test_every_device_has_a_share_of_every_micro_batch(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(parallel, "make_mesh", lambda *given: SimpleNamespace(shape={"data": 2}))
    unused: dict[str, Any] = {field.name: None for field in dataclasses.fields(Training)}
    run = Training(**{**unused, "batch_size": 4, "accumulate": 4})
    with pytest.raises(InputError, match=r"micro-batches of 1, .* 2 devices here; try .* 8"):
        fit(run, tmp_path)
