"""Classifiers that train within seconds, in this process."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import jax
import numpy as np

from brainjax import jobs
from brainjax.jobs.classifier import load_classifier
from tests.jobs.command_line import ROOT

TINY: dict[str, Any] = {
    "images.image_size": (16, 16),
    "batches.batch_size": 8,
    "model.widths": (4, 8),
    "model.hidden": (8,),
    "loop.epochs": 2,
    "evaluation.bootstrap": 20,
    "evaluation.permutations": 20,
    "made_up.slices_per_class": 6,
    "made_up.image_size": (16, 16),
    "made_up.epochs": 2,
    "published": {},
}


def tiny_config(
    name: str = "kaggle4_baseline", changes: dict[str, Any] | None = None, *, variant: str = ""
) -> Any:
    """A configuration file's contents with a tiny network on tiny images."""
    get_config = runpy.run_path(str(ROOT / "configs" / f"{name}.py"))["get_config"]
    config = get_config(variant) if variant else get_config()
    for dotted, value in {**TINY, **(changes or {})}.items():
        *sections, key = dotted.split(".")
        part = config
        for section in sections:
            part = part[section]
        if name == "mgmt_resnet18" and dotted in ("model.widths", "model.hidden"):
            continue
        with part.unlocked(), part.ignore_type():
            part[key] = value
    return config


def run_job(
    mode: str,
    workdir: Path | None,
    changes: dict[str, Any] | None = None,
    *,
    name: str = "kaggle4_baseline",
    variant: str = "",
    overrides: dict[str, Any] | None = None,
    inputs: tuple[Path, ...] = (),
    output: Path | None = None,
    checkpoints: tuple[Path, ...] = (),
) -> int:
    """What the command line does once its words are read."""
    return jobs.run(
        mode, config=tiny_config(name, changes, variant=variant), overrides=overrides or {},
        workdir=workdir, inputs=inputs, output=output, checkpoints=checkpoints,
        write_probabilities=False,
    )  # fmt: skip


CLASSES = ("glioma", "meningioma", "notumor", "pituitary")

COMMAND = (
    "--config=configs/kaggle4_baseline.py", "--config.images.image_size=(16, 16)",
    "--config.batches.batch_size=8", "--config.model.widths=(4, 8)",
    "--config.model.hidden=(8,)", "--config.loop.epochs=3", "--config.evaluation.bootstrap=20",
    "--config.evaluation.permutations=20", "--config.made_up.slices_per_class=6",
    "--config.made_up.image_size=(16, 16)", "--config.made_up.epochs=2",
)  # fmt: skip
"""The tiny baseline for three epochs on the command line."""


def parameters(workdir: Path, step: int) -> list[np.ndarray]:
    """Those that a run saved after so many steps."""
    trained = load_classifier([workdir / "checkpoints" / str(step)])
    return [np.asarray(leaf) for leaf in jax.tree.leaves(trained.variables[0])]
