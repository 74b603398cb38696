"""The runs of ``benchmarks.costs``: configurations as ``jobs.fit`` takes them, on noise."""

from __future__ import annotations

import dataclasses
import functools
import runpy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from brainjax import experiment, training
from brainjax.jobs.fit import Training

CONFIGS = Path(__file__).parent.parent / "configs"
STEPS = 3
SCORE = "val/score"
VOLUME_CLASSES = 4
SLICE_CLASSES = {"image_folder": 4, "figshare": 3, "rsna": 2}

Built = experiment.Experiment | experiment.ClassificationExperiment


@dataclass(frozen=True, kw_only=True)
class Run:
    """A configuration, ready to be counted or trained for ``STEPS`` steps.

    Attributes:
      training: what ``jobs.fit`` takes; scores, and with them the factor of the learning
        rate, change after every step.
      inputs: of the network for a whole batch, by name.
      batch: as it comes from disk.
    """

    training: Training
    inputs: dict[str, jax.ShapeDtypeStruct]
    batch: dict[str, jax.ShapeDtypeStruct]


def build(name: str, **batches: Any) -> Built:
    """A configuration such as ``cga:paper``, some of its section ``batches`` replaced."""
    file, _, variant = name.partition(":")
    get_config = runpy.run_path(str(CONFIGS / f"{file}.py"))["get_config"]
    config = get_config(variant) if variant else get_config()
    config.batches.update(batches)
    return experiment.build(config)


def make_run(built: Built, *, frozen: bool = False) -> Run:
    """A run of an experiment on made-up batches.

    Args:
      built: the experiment.
      frozen: as with pretrained weights that ``weights.train`` keeps as they are.
    """
    if isinstance(built, experiment.Experiment):
        parts, one, classes = _volumes(built), {"image": built.patch}, VOLUME_CLASSES
        stored = {"image": jnp.float16, "labels": jnp.uint8}
        labels: tuple[int, ...] = built.patch.shape[1:-1]
    else:
        classes = SLICE_CLASSES[built.made_up.layout]
        parts, one, labels = _slices(built, classes, frozen=frozen), built.inputs, ()
        stored = {"image": jnp.uint8, "labels": jnp.int32}
    size = built.batches.batch_size
    inputs = {
        name: jax.ShapeDtypeStruct((size, *like.shape[1:]), like.dtype)
        for name, like in one.items()
    }
    read = {**inputs, "labels": jax.ShapeDtypeStruct((size, *labels), jnp.int32)}
    batch = {
        name: jax.ShapeDtypeStruct(like.shape, stored.get(name, like.dtype))
        for name, like in read.items()
    }
    loop = dataclasses.replace(
        built.loop, steps=STEPS, epochs=0, validate_every_steps=1, validate_every_epochs=0
    )
    return Run(
        training=Training(
            config=built.config,
            seed=built.seed,
            learning_rate=built.make_learning_rate(STEPS),
            average_decay=built.optimizer.average_decay,
            accumulate=built.accumulate,
            loop=loop,
            steps_per_epoch=STEPS,
            batch_size=size,
            open_batches=functools.partial(MadeUpBatches, batch, classes),
            validate=lambda state, stop_requested: {SCORE: float(state.step)},
            score_name=SCORE,
            shown=(),
            describe=lambda position, seconds: {"position": position, "seconds": seconds},
            rate_factor=lambda scores: 0.5 ** len(scores),
            **parts,
        ),
        inputs=inputs,
        batch=batch,
    )


def _volumes(built: experiment.Experiment) -> dict[str, Any]:
    model, optimizer = built.make_model(VOLUME_CLASSES), built.make_optimizer(STEPS)
    return {
        "model": model,
        "optimizer": optimizer,
        "objective": built.make_objective(STEPS),
        "augment": built.make_augment(),
        "create": functools.partial(
            training.create_state,
            image=built.patch,
            model=model,
            optimizer=optimizer,
            keep_average=built.optimizer.average_decay > 0,
        ),
    }


def _slices(
    built: experiment.ClassificationExperiment, classes: int, *, frozen: bool
) -> dict[str, Any]:
    model = built.make_model(classes, pretrained=frozen)
    return {
        "model": model,
        "optimizer": built.make_optimizer(STEPS, model=model, pretrained=frozen),
        "objective": built.make_objective(),
        "augment": built.make_augment(classes),
        "create": functools.partial(
            built.create_state, model=model, steps_per_epoch=STEPS, pretrained=frozen
        ),
    }


class MadeUpBatches:
    """Random batches of the shapes and types that a run reads, each other than the last.

    Attributes:
      waited_seconds: none are spent waiting.
    """

    waited_seconds = 0.0

    def __init__(self, batch: Mapping[str, jax.ShapeDtypeStruct], classes: int, start: int):
        self._batch = batch
        self._below = {"image": 256, "labels": classes}  # where they are whole numbers
        self._next = start

    @property
    def position(self) -> dict[str, int]:
        """The number of the next batch."""
        return {"batch": self._next}

    def __next__(self) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(self._next)
        self._next += 1
        return {
            name: (
                rng.integers(self._below[name], size=like.shape)
                if np.issubdtype(like.dtype, np.integer)
                else rng.standard_normal(like.shape)
            ).astype(like.dtype)
            for name, like in self._batch.items()
        }

    def close(self) -> None:
        """Nothing is open."""
