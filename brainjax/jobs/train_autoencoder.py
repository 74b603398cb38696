"""The first step of paper 2's saliency by U-Net: an autoencoder that is saved as it learns."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp

from brainjax.batches import batches_per_epoch, evaluation_batches, slice_batches
from brainjax.experiment import ReconstructionExperiment
from brainjax.explain import compiled_reconstruct
from brainjax.jobs.fit import INTERRUPTED, Training, Validate, fit, latest_run
from brainjax.jobs.predictor import versions
from brainjax.jobs.saved_run import check_configuration
from brainjax.jobs.slices import SliceData, check_slice_data, describe_classifier_run
from brainjax.losses import reconstruction_loss
from brainjax.models import SaliencyUNet
from brainjax.training import Augment, TrainState

SCORE = "val/loss"


def train_autoencoder(built: ReconstructionExperiment, data: SliceData, workdir: Path) -> int:
    """Trains, or goes on training, in ``workdir``.

    Returns:
      0, or ``INTERRUPTED`` when asked to stop and the state is saved.

    Raises:
      InputError: the folder holds a run of another configuration or of other images.
    """
    found = latest_run(workdir)
    if found is not None:
        check_configuration(built, found, workdir)
        check_slice_data(data, found, workdir)
    images = built.classification
    model = built.make_autoencoder()
    steps_per_epoch = batches_per_epoch(len(data.training), batch_size=images.batches.batch_size)
    result, _ = fit(
        Training(
            config=built.config,
            seed=images.seed,
            model=model,
            objective=reconstruction_loss,
            optimizer=built.make_optimizer(steps_per_epoch),
            learning_rate=built.make_learning_rate(steps_per_epoch),
            augment=_aim_at_the_input(images.make_augment(len(data.class_names))),
            average_decay=built.optimizer.average_decay,
            accumulate=images.accumulate,
            loop=built.loop.logged_every_epoch(steps_per_epoch),
            steps_per_epoch=steps_per_epoch,
            batch_size=images.batches.batch_size,
            create=functools.partial(
                built.create_state, model=model, steps_per_epoch=steps_per_epoch
            ),
            open_batches=lambda start: slice_batches(
                data.images, data.labels, data.training, images.batches, start_step=start
            ),
            validate=_make_validation(built, data, model),
            score_name=SCORE,
            shown=(SCORE,),
            describe=functools.partial(describe_classifier_run, built, data, versions(), False),
            keep_every_epochs=built.options.snapshot_every_epochs,
            parallel=images.parallel,
        ),
        workdir,
    )
    return INTERRUPTED if result.stopped == "interrupted" else 0


def _aim_at_the_input(augment: Augment) -> Augment:
    """The augmented image is what the network gets and what it has to give."""

    def both(key: jax.Array, batch: dict[str, jax.Array]) -> tuple[dict[str, jax.Array], jax.Array]:
        inputs, _ = augment(key, batch)
        return inputs, inputs["image"]

    return both


def _make_validation(
    built: ReconstructionExperiment, data: SliceData, model: SaliencyUNet
) -> Validate:
    reconstruct = compiled_reconstruct(model)
    size = built.classification.evaluation.batch_size

    @jax.jit
    def errors(variables, image):
        target = image.astype(jnp.float32) / 255.0
        return jnp.mean((reconstruct(variables, image).image - target) ** 2, axis=(1, 2, 3))

    def validate(state: TrainState, stop_requested: Callable[[], bool]) -> dict[str, float]:
        if stop_requested():
            return {}
        total = 0.0
        for batch in evaluation_batches(data.images, data.labels, data.split.validation, size):
            valid = int(batch["valid"])
            total += float(errors(state.variables(), batch["image"])[:valid].sum())
        return {SCORE: total / len(data.split.validation)}

    return validate
