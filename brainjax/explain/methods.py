"""Every method by its name, as a map [N, *spatial] that is 0 where nothing counts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from brainjax.explain.grad_cam import grad_cam
from brainjax.explain.gradients import (
    gradient,
    gradient_times_input,
    guided_backpropagation,
    integrated_gradients,
    smooth_gradient,
)
from brainjax.explain.occlusion import occlusion
from brainjax.explain.targets import Aims, Target


@dataclasses.dataclass(frozen=True, kw_only=True)
class MethodOptions:
    """What the methods need besides the network and the images.

    Attributes:
      samples: noisy copies of SmoothGrad.
      noise: their standard deviation as a share of the image's range.
      steps: of integrated gradients.
      layer: path of Grad-CAM's layer.
      window: of occlusion, as a share of each side.
      stride: of occlusion, as a share of each side.
      chunk: images, copies or steps in memory at once; 0 for all.
    """

    samples: int = 25
    noise: float = 0.15
    steps: int = 32
    layer: str = "body"
    window: float = 0.125
    stride: float = 0.0625
    chunk: int = 0

    def voxels(self, spatial: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Occlusion's window and stride for images of this size.

        >>> MethodOptions().voxels((96, 64))
        ((12, 8), (6, 4))
        """
        window = tuple(max(1, round(self.window * size)) for size in spatial)
        stride = tuple(max(1, round(self.stride * size)) for size in spatial)
        return window, tuple(min(pair) for pair in zip(stride, window, strict=True))


Method = Callable[[Target, jax.Array, Aims, jax.Array, MethodOptions], jax.Array]
"""`method(target, images [N, *spatial, C], aims, key, options) -> map [N, *spatial]`, >= 0."""


def magnitude(attribution: jax.Array) -> jax.Array:
    """The sum of the absolute values over the channels: [N, *spatial, C] to [N, *spatial].

    >>> magnitude(jnp.array([[[1.0, -2.0]]])).tolist()
    [[3.0]]
    """
    return jnp.sum(jnp.abs(attribution), axis=-1)


def _gradient(
    target: Target, images: jax.Array, aims: Aims, key: jax.Array, options: MethodOptions
) -> jax.Array:
    return magnitude(gradient(target, images, aims, chunk=options.chunk))


def _gradient_times_input(
    target: Target, images: jax.Array, aims: Aims, key: jax.Array, options: MethodOptions
) -> jax.Array:
    return magnitude(gradient_times_input(target, images, aims, chunk=options.chunk))


def _smooth_gradient(
    target: Target, images: jax.Array, aims: Aims, key: jax.Array, options: MethodOptions
) -> jax.Array:
    return magnitude(
        smooth_gradient(
            target, images, aims, key=key, samples=options.samples, noise=options.noise,
            chunk=options.chunk,
        )
    )  # fmt: skip


def _integrated_gradients(
    target: Target, images: jax.Array, aims: Aims, key: jax.Array, options: MethodOptions
) -> jax.Array:
    return magnitude(
        integrated_gradients(target, images, aims, steps=options.steps, chunk=options.chunk)
    )


def _guided_backpropagation(
    target: Target, images: jax.Array, aims: Aims, key: jax.Array, options: MethodOptions
) -> jax.Array:
    return magnitude(guided_backpropagation(target, images, aims, chunk=options.chunk))


def _grad_cam(
    target: Target, images: jax.Array, aims: Aims, key: jax.Array, options: MethodOptions
) -> jax.Array:
    return grad_cam(target, images, aims, layer=options.layer, chunk=options.chunk)[..., 0]


def _occlusion(
    target: Target, images: jax.Array, aims: Aims, key: jax.Array, options: MethodOptions
) -> jax.Array:
    window, strides = options.voxels(images.shape[1:-1])
    fall = occlusion(target, images, aims, window=window, strides=strides, chunk=options.chunk)
    return jnp.maximum(fall[..., 0], 0.0)


METHODS: dict[str, Method] = {
    "gradient": _gradient,
    "gradient_times_input": _gradient_times_input,
    "smooth_gradient": _smooth_gradient,
    "integrated_gradients": _integrated_gradients,
    "guided_backpropagation": _guided_backpropagation,
    "grad_cam": _grad_cam,
    "occlusion": _occlusion,
}
"""The one place where the name of a method becomes a function.

Of signed attributions the map is the sum of the absolute values over the channels; of
occlusion it is the fall of the target, where it falls.
"""
