"""The augmentation of a whole batch, to be compiled into the training step."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from brainjax.augment.geometry import flip_randomly
from brainjax.augment.intensity import drop_modalities_randomly, scale_and_shift_randomly
from brainjax.errors import InputError
from brainjax.layers.manual_axes import example_keys


@dataclass(frozen=True, kw_only=True)
class AugmentOptions:
    """How examples are changed; the defaults are the CGA U-Net paper's (section 4.2).

    Attributes:
      flip_probability: chance of a mirror flip, for each spatial axis on its own.
      intensity_scale: least and greatest factor, drawn per example and modality.
      intensity_shift: least and greatest offset, drawn likewise; in standard
        deviations of the brain, as images are z-scored.
      intensity_per_row: draw for each row of the second spatial axis as well,
        as the paper's released code does.
      modality_dropout: chance of each modality to be 0 in an example, at least one stays;
        not in the paper. Makes a network that bears missing modalities.
    """

    flip_probability: float = 0.5
    intensity_scale: tuple[float, float] = (0.9, 1.1)
    intensity_shift: tuple[float, float] = (-0.1, 0.1)
    intensity_per_row: bool = False
    modality_dropout: float = 0.0

    def __post_init__(self) -> None:
        for name in ("flip_probability", "modality_dropout"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name}: expected 0 to 1, found {getattr(self, name)}")
        for name in ("intensity_scale", "intensity_shift"):
            limits = tuple(getattr(self, name))
            object.__setattr__(self, name, limits)
            if len(limits) != 2 or limits[0] > limits[1]:
                raise InputError(f"{name}: expected (least, greatest), found {limits}")


def augment_batch(
    key: jax.Array, image: jax.Array, labels: jax.Array, options: AugmentOptions
) -> tuple[jax.Array, jax.Array]:
    """Flips and rescales each example of a batch with random numbers of its own.

    A pure function of its arguments; ``options`` is static under ``jax.jit``.

    Args:
      key: random key of the step.
      image: [B, *spatial, C], of any real type.
      labels: [B, *spatial]; flipped as the image is.
      options: what to do.

    Returns:
      Image float32 [B, *spatial, C] and labels [B, *spatial] of the same type.

    >>> image, labels = jnp.ones((2, 4, 4, 4, 1)), jnp.zeros((2, 4, 4, 4), jnp.uint8)
    >>> image, labels = augment_batch(jax.random.key(0), image, labels, AugmentOptions())
    >>> image.shape, labels.dtype
    ((2, 4, 4, 4, 1), dtype('uint8'))
    """

    def augment_one(
        key: jax.Array, image: jax.Array, labels: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        flip_key, intensity_key = jax.random.split(key)
        image, labels = flip_randomly(flip_key, image, labels, probability=options.flip_probability)
        image = scale_and_shift_randomly(
            intensity_key,
            image,
            scale=options.intensity_scale,
            shift=options.intensity_shift,
            per_row=options.intensity_per_row,
        )
        if options.modality_dropout:
            image = drop_modalities_randomly(
                jax.random.fold_in(key, 2), image, probability=options.modality_dropout
            )
        return image, labels

    keys = example_keys(key, image.shape[0])  # [B]
    return jax.vmap(augment_one)(keys, image.astype(jnp.float32), labels)


def augment_volumes(
    key: jax.Array, batch: dict[str, jax.Array], options: AugmentOptions
) -> tuple[dict[str, jax.Array], jax.Array]:
    """``augment_batch`` in the form that the training step calls.

    Args:
      key: random key of the step.
      batch: ``image`` [B, *spatial, C] and ``labels`` [B, *spatial].
      options: what to do.

    Returns:
      The network's inputs by name, and the labels.
    """
    image, labels = augment_batch(key, batch["image"], batch["labels"], options)
    return {"image": image}, labels
