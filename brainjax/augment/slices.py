"""Labelled images as the training step wants them."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from brainjax.augment.images import ImageAugmentOptions, augment_images


def augment_slices(
    key: jax.Array, batch: dict[str, jax.Array], options: ImageAugmentOptions
) -> tuple[dict[str, jax.Array], jax.Array]:
    """``augment_images`` in the form that the training step calls.

    Args:
      key: random key of the step.
      batch: ``image`` uint8 [B, H, W, C], ``labels`` [B], and perhaps ``texture`` [B, F],
        which stays as it is.
      options: what to do.

    Returns:
      The network's inputs by name, the image in 0..1, and labels [B] or targets [B, K].
    """
    image = batch["image"].astype(jnp.float32) / 255.0
    image, targets = augment_images(key, image, batch["labels"], options)
    inputs = {"image": image}
    if "texture" in batch:
        inputs["texture"] = batch["texture"]
    return inputs, targets
