"""Networks small enough to be compiled many times, with every part that looks across a batch."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from brainjax.augment import (
    AugmentOptions,
    ImageAugmentOptions,
    augment_slices,
    augment_volumes,
)
from brainjax.layers import BatchNorm, Conv, GroupNorm, SupervisedAttention, UpConv
from brainjax.layers.dropout import Dropout
from brainjax.layers.pooling import inter_class_distance
from brainjax.losses import ClassificationObjective, Objective
from brainjax.models.outputs import ClassificationOutput, SegmentationOutput
from brainjax.training import TrainState, create_state, train_step

BATCH, SIDE, CHANNELS, CLASSES = 8, 8, 2, 3


class Volumes(nn.Module):
    """Strided convolution, norm, dropout, supervised attention, and the way back up."""

    norm: str

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool = False) -> SegmentationOutput:
        features = Dropout(0.3, broadcast_dims=(1, 2, 3), deterministic=not train)(
            Conv(8, 3, strides=2)(image)
        )
        if self.norm == "batch":
            features = BatchNorm(relu=True)(features, train=train)
        else:
            features = GroupNorm(4, relu=True)(features)
        features, attention, prototypes = SupervisedAttention(CLASSES, rate=2)(image, features)
        return SegmentationOutput(
            logits=Conv(CLASSES, 3)(UpConv(4)(features)),
            attention=attention,
            prototypes=prototypes,
            distance=inter_class_distance(prototypes),
        )


class Slices(nn.Module):
    """Convolution, batch norm, dropout and a dense layer."""

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool = False) -> ClassificationOutput:
        features = BatchNorm(relu=True)(Conv(4, 3)(image), train=train)
        vector = Dropout(0.5, deterministic=not train)(features.mean((1, 2)))
        return ClassificationOutput(logits=nn.Dense(CLASSES)(vector), features=features)


@dataclasses.dataclass(frozen=True)
class Problem:
    """A network with its step, first state and batches."""

    model: nn.Module
    step: Callable[..., Any]
    state: TrainState
    batches: list[dict[str, np.ndarray]]


def volumes(norm: str, *, over: Any = "batch", form: Any = "released", accumulate=1) -> Problem:
    model = Volumes(norm)
    objective = Objective(
        dice_over=over, inter_form=form, inter_weight=0.1, cross_entropy_weight=1.0,
        dice_classes=(1, 2),
    )  # fmt: skip
    shape = (BATCH, SIDE, SIDE, SIDE)
    rng = np.random.default_rng(0)
    batches = [
        {
            "image": rng.normal(size=(*shape, CHANNELS)).astype(np.float16),
            "labels": rng.integers(0, CLASSES, shape).astype(np.uint8),
        }
        for _ in range(2)
    ]
    augment = functools.partial(augment_volumes, options=AugmentOptions())
    return _problem(model, objective, augment, batches, accumulate)


def slices() -> Problem:
    options = ImageAugmentOptions(
        flip_left_right=0.5, rotation_degrees=10.0, contrast=(0.8, 1.2), noise_sd=0.05,
        blur=(0.0, 0.5), cutout_probability=0.5, mixup_alpha=0.4, mix_probability=0.5,
        num_classes=CLASSES,
    )  # fmt: skip
    objective = ClassificationObjective(loss="focal", class_weights=(1.0, 2.0, 0.5))
    rng = np.random.default_rng(0)
    batches = [
        {
            "image": rng.integers(0, 256, (BATCH, SIDE, SIDE, 1)).astype(np.uint8),
            "labels": rng.integers(0, CLASSES, BATCH).astype(np.int32),
        }
        for _ in range(2)
    ]
    augment = functools.partial(augment_slices, options=options)
    return _problem(Slices(), objective, augment, batches, 1)


def _problem(model, objective, augment, batches, accumulate: int) -> Problem:
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.trace(0.9), optax.scale(-0.05))
    image = jax.ShapeDtypeStruct((1, *batches[0]["image"].shape[1:]), jnp.float32)
    create = functools.partial(
        create_state, image=image, model=model, optimizer=optimizer, keep_average=True
    )
    step = functools.partial(
        train_step, model=model, objective=objective, optimizer=optimizer,
        learning_rate=lambda step: jnp.float32(0.05), augment=augment, average_decay=0.9,
        accumulate=accumulate,
    )  # fmt: skip
    return Problem(model, step, jax.jit(create)(jax.random.key(0)), batches)
