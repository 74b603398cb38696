"""Changes of grey values: contrast, brightness, gamma, blur, noise and erased boxes."""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp

from brainjax.augment.examples import for_each_example
from brainjax.layers.manual_axes import example_keys


def adjust_contrast(image: jax.Array, factor: jax.Array | float) -> jax.Array:
    """Moves the values of one image [H, W, C] away from each channel's mean, or towards it.

    >>> adjust_contrast(jnp.array([0.25, 0.75]).reshape(2, 1, 1), 0.5).ravel().tolist()
    [0.375, 0.625]
    """
    mean = jnp.mean(image, axis=(0, 1), keepdims=True)
    return (image - mean) * factor + mean


def adjust_gamma(image: jax.Array, gamma: jax.Array | float) -> jax.Array:
    """Raises values in 0..1 to a power; 0 stays 0 and its gradient finite.

    >>> adjust_gamma(jnp.array([0.0, 0.5, 1.0]), 2.0).tolist()
    [0.0, 0.25, 1.0]
    """
    return jnp.where(image > 0, jnp.exp(gamma * jnp.log(jnp.maximum(image, 1e-6))), 0.0)


def blur_gaussian(image: jax.Array, sigma: jax.Array, *, largest: float) -> jax.Array:
    """Gaussian blur of a batch, columns and then rows; the border is repeated.

    Args:
      image: [B, H, W, C].
      sigma: of each image, in pixels, [B]; 0 changes nothing.
      largest: greatest sigma that can come; fixes the kernel's size (3 sigma each way).

    Returns:
      The images, of the same shape and type.

    >>> spot = jnp.zeros((1, 1, 5, 1)).at[0, 0, 2].set(1.0)
    >>> blurred = blur_gaussian(spot, jnp.array([0.5]), largest=0.5)
    >>> [round(v, 3) for v in blurred.ravel().tolist()]
    [0.0, 0.106, 0.787, 0.106, 0.0]
    """
    radius = math.ceil(3 * largest)

    def blur_axis(image: jax.Array, sigma: jax.Array, axis: int) -> jax.Array:
        distance = jnp.arange(-radius, radius + 1, dtype=jnp.float32)
        weights = jnp.exp(-0.5 * (distance / jnp.maximum(sigma, 1e-3)) ** 2)
        weights = weights / jnp.sum(weights)
        ring = [(radius, radius) if axis == a else (0, 0) for a in range(image.ndim)]
        padded, size = jnp.pad(image, ring, mode="edge"), image.shape[axis]
        blurred = jnp.zeros_like(image)
        for n in range(2 * radius + 1):
            blurred += weights[n] * jax.lax.slice_in_dim(padded, n, n + size, axis=axis)
        return blurred

    for axis in (0, 1):
        image = for_each_example(functools.partial(blur_axis, axis=axis), image, sigma)
    return image


def add_noise(key: jax.Array, image: jax.Array, sd: jax.Array) -> jax.Array:
    """Adds normal noise of standard deviation ``sd`` [B] to a batch [B, H, W, C]."""

    def add_to_one(key: jax.Array, image: jax.Array, sd: jax.Array) -> jax.Array:
        return image + sd * jax.random.normal(key, image.shape)

    return for_each_example(add_to_one, example_keys(key, image.shape[0]), image, sd)


def random_box(key: jax.Array, shape: tuple[int, ...], sides: jax.Array) -> jax.Array:
    """A box around a random pixel, cut off at the border.

    Args:
      key: the example's random key.
      shape: (H, W), pixels.
      sides: fractions of height and width, [2].

    Returns:
      bool [H, W, 1], true inside; about ``sides * shape`` pixels where nothing is cut off.
    """
    inside = jnp.ones((*shape, 1), bool)
    for axis, (size, draw) in enumerate(zip(shape, jax.random.uniform(key, (2,)), strict=True)):
        centre, half = draw * size, sides[axis] * size / 2
        place = jax.lax.broadcasted_iota(jnp.float32, (*shape, 1), axis) + 0.5
        inside &= jnp.abs(place - centre) <= half
    return inside
