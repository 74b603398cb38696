"""Affine maps of images: flips, rotation, shift, zoom and shear in one resampling."""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp

from brainjax.augment.examples import for_each_example

Outside = Literal["zero", "edge"]


def affine_matrix(
    *,
    flip: jax.Array,
    rotation: jax.Array | float,
    shear: jax.Array | float,
    zoom: jax.Array,
    shift: jax.Array,
) -> jax.Array:
    """Map from the new image's places to the old one's, both from the centre in pixels.

    The picture is mirrored, then zoomed, sheared, rotated and shifted.

    Args:
      flip: 1 or -1 for rows and columns, [2].
      rotation: angle, counter-clockwise as displayed, in radians.
      shear: angle by which columns lean, the top to the right, in radians.
      zoom: factors of height and width, [2]; above 1 enlarges.
      shift: of the picture down and to the right, in pixels, [2].

    Returns:
      f32 [2, 3], ``old = matrix @ (row, column, 1)``.

    >>> pair = jnp.array([1.0, 1.0])
    >>> affine_matrix(flip=pair, rotation=0.0, shear=0.0, zoom=2 * pair, shift=3 * pair).tolist()
    [[0.5, 0.0, -1.5], [0.0, 0.5, -1.5]]
    """
    cosine, sine, lean = jnp.cos(rotation), jnp.sin(rotation), jnp.tan(shear)
    zero, one = jnp.zeros_like(lean), jnp.ones_like(lean)
    turn = jnp.stack([jnp.stack([cosine, sine]), jnp.stack([-sine, cosine])])
    straighten = jnp.stack([jnp.stack([one, zero]), jnp.stack([lean, one])])
    resize = jnp.diag(flip / zoom)
    precise = jax.lax.Precision.HIGHEST  # a tensor core's own would move pixels
    linear = jnp.matmul(jnp.matmul(resize, straighten, precision=precise), turn, precision=precise)
    offset = -jnp.matmul(linear, shift, precision=precise)
    return jnp.concatenate([linear, offset[:, None]], axis=1)


def warp_affine(image: jax.Array, matrix: jax.Array, *, outside: Outside = "zero") -> jax.Array:
    """Resamples each image of a batch bilinearly.

    Args:
      image: f32 [B, H, W, C].
      matrix: [B, 2, 3], see ``affine_matrix``.
      outside: what lies beyond the border, ``"zero"`` or the nearest pixel, ``"edge"``.

    Returns:
      f32 [B, H, W, C].

    >>> left = jnp.array([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.5]]])  # the picture moves half a pixel
    >>> warp_affine(jnp.array([2.0, 4.0, 6.0]).reshape(1, 1, 3, 1), left).ravel().tolist()
    [3.0, 5.0, 3.0]
    """
    height, width, channels = image.shape[1:]
    ring = ((0, 0), (1, 1), (1, 1), (0, 0))  # what clipped places read
    padded = jnp.pad(image, ring, mode="edge" if outside == "edge" else "constant")
    stride = width + 2

    def warp_plane(plane: jax.Array, matrix: jax.Array) -> jax.Array:
        """One channel [(H + 2) (W + 2)] of one example, by [2, 3]."""
        rows = jnp.arange(height, dtype=jnp.float32)[:, None] - (height - 1) / 2
        columns = jnp.arange(width, dtype=jnp.float32)[None, :] - (width - 1) / 2
        row, column = (
            jnp.clip(
                matrix[axis, 0] * rows + matrix[axis, 1] * columns
                + matrix[axis, 2] + (size - 1) / 2 + 1,
                0.0,
                size + 1.0,
            )
            for axis, size in enumerate((height, width))
        )  # fmt: skip
        above = jnp.minimum(row.astype(jnp.int32), height)
        before = jnp.minimum(column.astype(jnp.int32), width)
        below, after = row - above, column - before  # the weights of the farther neighbours
        corner = above * stride + before

        def neighbour(offset: int) -> jax.Array:
            return plane.at[corner + offset].get(mode="promise_in_bounds")

        top = neighbour(0) * (1.0 - after) + neighbour(1) * after
        bottom = neighbour(stride) * (1.0 - after) + neighbour(stride + 1) * after
        return top * (1.0 - below) + bottom * below

    planes = padded.reshape(image.shape[0], -1, channels)
    return for_each_example(jax.vmap(warp_plane, in_axes=(-1, None), out_axes=-1), planes, matrix)
