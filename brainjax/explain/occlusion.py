"""Occlusion: what the target loses when a window of the image is covered."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np

from brainjax.errors import InputError
from brainjax.explain.targets import Aims, Target, repeat_aim


def occlusion(
    target: Target,
    images: jax.Array,
    aims: Aims,
    *,
    window: tuple[int, ...],
    strides: tuple[int, ...],
    fill: jax.Array | float = 0.0,
    chunk: int = 0,
) -> jax.Array:
    """The mean fall ``f(x) - f(x with the window covered)`` over the windows on each voxel.

    Zeiler, Fergus: Visualizing and Understanding Convolutional Networks, 2013.

    Args:
      target: see ``targets``.
      images: [N, *spatial, C].
      aims: of each image.
      window: size along each spatial axis.
      strides: voxels from one window to the next; the last one ends with the image.
      fill: what covers, a number or an image [*spatial, C].
      chunk: covered copies at once.

    Returns:
      [N, *spatial, 1]; positive where covering lowers the target.

    Raises:
      InputError: a window is larger than the image, or strides leave gaps.
    """
    spatial = images.shape[1:-1]
    starts = np.array(list(itertools.product(*_starts(spatial, window, strides))))  # [P, axes]
    count = len(starts)
    chunk = min(chunk or count, count)
    spare = -count % chunk
    corners = np.concatenate([starts, np.repeat(starts[:1], spare, axis=0)])
    counted = np.arange(count + spare) < count
    places = jnp.asarray(corners.reshape(-1, chunk, len(spatial)))
    shares = jnp.asarray(counted.reshape(-1, chunk), images.dtype)

    def covers(corner: jax.Array) -> jax.Array:
        inside = jnp.ones(spatial, bool)
        for axis, size in enumerate(window):
            index = jax.lax.broadcasted_iota(jnp.int32, spatial, axis)
            inside &= (index >= corner[axis]) & (index < corner[axis] + size)
        return inside

    def one(piece: tuple[jax.Array, Aims]) -> jax.Array:
        image, aim = piece
        whole = target(image[None], repeat_aim(aim, 1))[0]

        def add(
            sums: tuple[jax.Array, jax.Array], step: tuple[jax.Array, jax.Array]
        ) -> tuple[tuple[jax.Array, jax.Array], None]:
            corner, share = step
            covered = jax.vmap(covers)(corner)  # [chunk, *spatial]
            copies = jnp.where(covered[..., None], fill, image[None])
            fall = whole - target(copies, repeat_aim(aim, chunk))
            weight = covered.astype(image.dtype)
            return (
                sums[0] + jnp.tensordot(share * fall, weight, axes=1),
                sums[1] + jnp.tensordot(share, weight, axes=1),
            ), None

        nothing = jnp.zeros(spatial, image.dtype)
        (total, number), _ = jax.lax.scan(add, (nothing, nothing), (places, shares))
        return (total / number)[..., None]

    return jax.lax.map(one, (images, aims))


def _starts(
    spatial: tuple[int, ...], window: tuple[int, ...], strides: tuple[int, ...]
) -> list[list[int]]:
    """First voxels of the windows along each axis."""
    axes = []
    for size, length, step in zip(spatial, window, strides, strict=True):
        if not 1 <= length <= size or not 1 <= step <= length:
            raise InputError(
                f"occlusion: windows of {window} every {strides} voxels do not cover an image of "
                f"{spatial}; expected windows no larger than it and strides no longer than these"
            )
        axes.append([*range(0, size - length, step), size - length])
    return axes
