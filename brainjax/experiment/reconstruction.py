"""Paper 2's saliency by U-Net as checked objects."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from brainjax.errors import InputError
from brainjax.experiment.classification import ClassificationExperiment, build_classification
from brainjax.experiment.sections import check_keys, make_section
from brainjax.models import SaliencyUNet
from brainjax.training import (
    LoopOptions,
    OptimizerOptions,
    TrainState,
    create_state,
    learning_rate_schedule,
    make_optimizer,
)

ENCODER_STARTS = ("autoencoder", "random")

_MODEL_KEYS = {"name", "widths", "dtype"}

_FIXED: dict[str, Any] = {
    "permute_labels": False,
    "repeats": 1,
    "variants": (),
    "smote": {"ratio": 0.0, "classes": (), "neighbours": 5},
    "weights": {"pretrained": "", "sha256": "", "train": "all", "from_scratch": True},
    "published": {},
}
"""Sections of a classification that this method has no use for."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReconstructionOptions:
    """The steps of the method that a classification has not.

    Attributes:
      epochs: of the autoencoder.
      snapshot_every_epochs: how often it is saved to be looked at.
      classifier_snapshot_every_epochs: the same for the encoder as a classifier.
      encoder_from: where the classifier's encoder begins: ``autoencoder``, or ``random``.
      pictures: slices of each class in the figures; the first in figures 8 to 10 and 13.
    """

    epochs: int
    snapshot_every_epochs: int
    classifier_snapshot_every_epochs: int
    encoder_from: str
    pictures: int

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value, least = getattr(self, field.name), 2 if field.name == "pictures" else 1
            if field.type == "int" and value < least:
                raise ValueError(f"{field.name} {value}: expected {least} or more")
        if self.encoder_from not in ENCODER_STARTS:
            raise ValueError(
                f"encoder_from {self.encoder_from!r}: expected one of {ENCODER_STARTS}"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReconstructionExperiment:
    """One experiment as checked objects.

    Attributes:
      config: what it was made from.
      options: of the autoencoder and of what is shown.
      classification: the images, their split, and the encoder as their classifier.
    """

    config: dict[str, Any]
    options: ReconstructionOptions
    classification: ClassificationExperiment

    @property
    def loop(self) -> LoopOptions:
        """How long the autoencoder trains, and what happens how often."""
        return dataclasses.replace(
            self.classification.loop, steps=0, epochs=self.options.epochs, patience=0
        )

    @property
    def optimizer(self) -> OptimizerOptions:
        """The classifier's, without what is said of its layers by name."""
        return dataclasses.replace(
            self.classification.optimizer, l2=0.0, l2_layers=(), body_rate=1.0
        )

    def make_autoencoder(self) -> SaliencyUNet:
        """The whole U-Net, whose encoder is the classifier's body."""
        classifier: Any = self.classification.make_model(num_classes=2)
        return SaliencyUNet(widths=tuple(classifier.widths), dtype=classifier.dtype)

    def create_state(
        self, key: jax.Array, *, model: SaliencyUNet, steps_per_epoch: int
    ) -> TrainState:
        """A fresh state of the autoencoder."""
        images = self.classification.images
        shape = (1, *images.image_size, images.channels)
        return create_state(
            key,
            jax.ShapeDtypeStruct(shape, jnp.float32),
            model=model,
            optimizer=self.make_optimizer(steps_per_epoch),
            keep_average=self.optimizer.average_decay > 0,
        )

    def make_optimizer(self, steps_per_epoch: int) -> optax.GradientTransformation:
        """The autoencoder's optimiser over its whole run."""
        steps = self.loop.total_steps(steps_per_epoch)
        return make_optimizer(self.optimizer, steps=steps, steps_per_epoch=steps_per_epoch)

    def make_learning_rate(self, steps_per_epoch: int) -> optax.Schedule:
        """Its learning rate as a function of the step."""
        steps = self.loop.total_steps(steps_per_epoch)
        return learning_rate_schedule(self.optimizer, steps=steps, steps_per_epoch=steps_per_epoch)


def build_reconstruction(plain: Mapping[str, Any]) -> ReconstructionExperiment:
    """Checks a configuration and makes an experiment of it.

    Raises:
      InputError: a section or a key is missing or unknown, or a value is refused.
    """
    sections = {"task", "seed", "score", "data", "made_up", "series", "images", "split", "batches",
                "augment", "model", "objective", "optimizer", "loop", "evaluation", "explain",
                "parallel", "reconstruction"}  # fmt: skip
    check_keys("config", plain, sections, needed=sections)
    options = make_section(ReconstructionOptions, "reconstruction", plain["reconstruction"])
    check_keys("model", plain["model"], _MODEL_KEYS, needed=_MODEL_KEYS)
    if plain["model"]["name"] != "saliency_encoder":
        raise InputError(
            f"model.name {plain['model']['name']!r}: expected 'saliency_encoder', whose mirror "
            "image is the decoder"
        )
    shared = {name: value for name, value in plain.items() if name != "reconstruction"}
    data = {"texture": False, **shared["data"]}
    if data["texture"]:
        raise InputError("data.texture: the autoencoder has no use for it; leave it out")
    classification = build_classification(
        {**shared, **_FIXED, "task": "classification", "data": data}
    )
    changed = {name: classification.config[name] for name in ("images", "loop")}  # if made up
    built = ReconstructionExperiment(
        config={**plain, **changed}, options=options, classification=classification
    )
    built.make_optimizer(steps_per_epoch=1)
    return built
