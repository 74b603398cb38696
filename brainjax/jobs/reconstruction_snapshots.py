"""The networks of paper 2's saliency by U-Net as they were after every few epochs."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import jax

from brainjax.batches import batches_per_epoch
from brainjax.errors import InputError
from brainjax.experiment import ReconstructionExperiment
from brainjax.jobs.fit import CHECKPOINTS
from brainjax.jobs.slices import SliceData
from brainjax.training import Checkpoints, TrainState

AUTOENCODER, CLASSIFIER = "autoencoder", "classifier"
"""Folders of the two networks that are trained."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A network at one time.

    Attributes:
      epoch: how many epochs it had trained.
      variables: parameters and running statistics.
    """

    epoch: float
    variables: dict[str, Any]


def autoencoder_snapshots(
    built: ReconstructionExperiment, data: SliceData, folder: Path
) -> list[Snapshot]:
    """The autoencoder after every ``snapshot_every_epochs`` epochs and at its end.

    Raises:
      InputError: a checkpoint cannot be read, or there is none.
    """
    create = functools.partial(
        built.create_state, model=built.make_autoencoder(), steps_per_epoch=1
    )
    like = jax.eval_shape(create, jax.random.key(0))
    return _read(built, data, folder, like, built.options.snapshot_every_epochs)


def classifier_snapshots(
    built: ReconstructionExperiment, data: SliceData, folder: Path
) -> list[Snapshot]:
    """The classifier after every ``classifier_snapshot_every_epochs`` epochs and at its end.

    Raises:
      InputError: a checkpoint cannot be read, or there is none.
    """
    model = built.classification.make_model(len(data.class_names))
    like = built.classification.abstract_state(model)
    return _read(built, data, folder, like, built.options.classifier_snapshot_every_epochs)


def _read(
    built: ReconstructionExperiment,
    data: SliceData,
    folder: Path,
    like: TrainState,
    every_epochs: int,
) -> list[Snapshot]:
    size = built.classification.batches.batch_size
    steps_per_epoch = batches_per_epoch(len(data.training), batch_size=size)
    with Checkpoints(folder / CHECKPOINTS, read_only=True) as checkpoints:
        steps = [
            step
            for step in checkpoints.steps
            if step % (every_epochs * steps_per_epoch) == 0 or step == checkpoints.latest_step
        ]
        if not steps:
            raise InputError(f"{folder}: no checkpoint has been saved here yet")
        return [
            Snapshot(epoch=step / steps_per_epoch, variables=checkpoints.restore_model(step, like))
            for step in steps
        ]
