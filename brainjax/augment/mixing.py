"""Mixup (Zhang et al. 2018) and CutMix (Yun et al. 2019): blends of two labelled examples."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from brainjax.augment.photometric import random_box
from brainjax.layers.manual_axes import example_keys, next_examples


def mix_examples(
    key: jax.Array,
    image: jax.Array,
    labels: jax.Array,
    *,
    num_classes: int,
    mixup_alpha: float = 0.0,
    cutmix_alpha: float = 0.0,
    probability: float = 1.0,
) -> tuple[jax.Array, jax.Array]:
    """Blends each example with the next of the batch, and their labels in the same proportion.

    Example ``i`` keeps the share ``s`` of its image, drawn for each from ``Beta(alpha,
    alpha)``, and takes the rest from example ``i + 1`` (the batch is shuffled already):
    everywhere alike for mixup, within one box for CutMix, where ``s`` is then the share
    of pixels outside the box. Where both are on, each example gets either with equal chance.

    Args:
      key: random key of the batch.
      image: f32 [B, H, W, C].
      labels: classes [B], integers.
      num_classes: K.
      mixup_alpha: of mixup's Beta; 0 is off.
      cutmix_alpha: of CutMix's Beta; 0 is off.
      probability: chance that an example is mixed at all.

    Returns:
      Image f32 [B, H, W, C] and targets f32 [B, K], of which each row sums to 1.
    """
    batch, height, width = image.shape[:3]

    def share_of_own(key: jax.Array) -> jax.Array:
        """Weights [H, W, 1] of one example's own image."""
        kind_key, mixup_key, cutmix_key, box_key, chance_key = jax.random.split(key, 5)
        everywhere = jnp.ones((height, width, 1), jnp.float32)
        blended = boxed = everywhere
        if mixup_alpha:
            blended = everywhere * jax.random.beta(mixup_key, mixup_alpha, mixup_alpha)
        if cutmix_alpha:
            share = jax.random.beta(cutmix_key, cutmix_alpha, cutmix_alpha)
            sides = jnp.full(2, jnp.sqrt(1.0 - share))
            boxed = jnp.where(random_box(box_key, (height, width), sides), 0.0, 1.0)
        cut = jax.random.bernoulli(kind_key) if mixup_alpha and cutmix_alpha else cutmix_alpha > 0
        mixed = jnp.where(cut, boxed, blended)
        return jnp.where(jax.random.bernoulli(chance_key, probability), mixed, everywhere)

    own = jax.vmap(share_of_own)(example_keys(key, batch))  # [B, H, W, 1]
    targets = jax.nn.one_hot(labels, num_classes, dtype=jnp.float32)
    share = jnp.mean(own, axis=(1, 2))  # [B, 1]
    mixed = own * image + (1.0 - own) * next_examples(image)
    return mixed, share * targets + (1.0 - share) * next_examples(targets)
