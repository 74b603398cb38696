"""What is explained: one number of each image's output, and work in pieces of bounded memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

Aims = Any
"""What of each image is explained: a tree of arrays whose first axis counts the images."""

Target = Callable[[jax.Array, Aims], jax.Array]
"""`target(images [N, *spatial, C], aims) -> [N]`: each number depends on its own image only.

It must not be jitted itself (what calls it may be): guided backpropagation and Grad-CAM look
into the network while it is traced.
"""

Apply = Callable[[jax.Array], jax.Array]
"""`apply(images [N, *spatial, C]) -> logits`, a network with its variables, not training."""


def class_target(apply: Apply) -> Target:
    """The logit of a class; the aims are the classes, int [N].

    Args:
      apply: returns logits [N, K].

    >>> target = class_target(lambda images: images[:, 0, 0])
    >>> target(jnp.array([[[[3.0, 4.0]]], [[[5.0, 6.0]]]]), jnp.array([1, 0])).tolist()
    [4.0, 5.0]
    """

    def target(images: jax.Array, aims: Aims) -> jax.Array:
        return jnp.take_along_axis(apply(images), aims[:, None], axis=-1)[:, 0]

    return target


def region_target(apply: Apply, classes: tuple[int, ...]) -> Target:
    """The sum of a region's logits over chosen voxels; the aims are these, [N, *spatial].

    ``f(x) = sum over voxels v of aim_v * sum over classes k of y_vk(x)``, as in
    Vinogradova, Dibrov, Myers: Towards Interpretable Semantic Segmentation via
    Gradient-weighted Class Activation Mapping, 2020. An aim of ones takes every voxel.

    Args:
      apply: returns logits [N, *spatial, K].
      classes: of the region.
    """

    def target(images: jax.Array, aims: Aims) -> jax.Array:
        logits = apply(images)
        region = sum(logits[..., k] for k in classes)  # [N, *spatial]
        return jnp.sum(region * aims, axis=tuple(range(1, logits.ndim - 1)))

    return target


def in_chunks(function: Callable[..., Any], *arguments: Any, chunk: int = 0) -> Any:
    """Calls a function of batches with ``chunk`` examples at a time, one piece after the other.

    Args:
      function: takes trees of arrays whose first axis counts N examples, and returns such.
      arguments: these trees.
      chunk: examples in memory at once; 0 takes all.

    >>> in_chunks(lambda x: 2 * x, jnp.arange(5), chunk=2).tolist()
    [0, 2, 4, 6, 8]
    """
    number = jax.tree.leaves(arguments)[0].shape[0]
    if not 0 < chunk < number:
        return function(*arguments)
    spare = -number % chunk

    def pieces(leaf: jax.Array) -> jax.Array:
        filling = jnp.broadcast_to(leaf[:1], (spare, *leaf.shape[1:]))
        return jnp.concatenate([leaf, filling]).reshape(-1, chunk, *leaf.shape[1:])

    found = jax.lax.map(lambda piece: function(*piece), jax.tree.map(pieces, arguments))
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:number], found)


def repeat_aim(aim: Aims, number: int) -> Aims:
    """The aim of one image for so many versions of it."""
    return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (number, *jnp.shape(leaf))), aim)
