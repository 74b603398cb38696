"""Attributions from the gradient of the target with respect to the image.

Each takes ``target(images, aims)`` (see ``targets``), images [N, *spatial, C] and aims, and
returns an attribution of the images' shape, with its sign. ``chunk`` bounds how many images,
noisy copies or steps are in memory at once; it changes nothing but rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from brainjax.explain.targets import Aims, Target, in_chunks, repeat_aim
from brainjax.layers.activation import ReLU


def gradient(target: Target, images: jax.Array, aims: Aims, *, chunk: int = 0) -> jax.Array:
    """The plain gradient ``df/dx``.

    Simonyan, Vedaldi, Zisserman: Deep Inside Convolutional Networks, 2013; paper 2's
    "saliency by gradients".

    >>> gradient(lambda x, _: jnp.sum(x**2, (1, 2)), jnp.array([[[1.0, -2.0]]]), None).tolist()
    [[[2.0, -4.0]]]
    """
    return in_chunks(lambda x, aim: _slope(target, x, aim), images, aims, chunk=chunk)


def gradient_times_input(
    target: Target, images: jax.Array, aims: Aims, *, chunk: int = 0
) -> jax.Array:
    """``x * df/dx``: the first-order change of ``f`` were each number set to 0.

    Shrikumar, Greenside, Shcherbina, Kundaje: Not Just a Black Box, 2016.
    """
    return images * gradient(target, images, aims, chunk=chunk)


def smooth_gradient(
    target: Target,
    images: jax.Array,
    aims: Aims,
    *,
    key: jax.Array,
    samples: int = 25,
    noise: float = 0.15,
    chunk: int = 0,
) -> jax.Array:
    """SmoothGrad: the mean gradient over noisy copies.

    ``1/n sum_i df/dx (x + e_i)``, ``e_i ~ N(0, s^2)`` with ``s = noise * (max x - min x)``
    of each image. Smilkov, Thorat, Kim, Viégas, Wattenberg: SmoothGrad, 2017.

    Args:
      target: see the module.
      images: [N, *spatial, C].
      aims: of each image.
      key: an image's noise depends on it and on the image's place in the batch.
      samples: n.
      noise: share of the image's range; the paper's figures use 0.1 to 0.2.
      chunk: copies at once.
    """
    shares = jnp.full((samples,), 1.0 / samples, images.dtype)
    keys = jax.random.split(key, images.shape[0])

    def one(piece: tuple[jax.Array, Aims, jax.Array]) -> jax.Array:
        image, aim, own = piece
        spread = noise * (jnp.max(image) - jnp.min(image))

        def copy(number: jax.Array) -> jax.Array:
            drawn = jax.random.normal(jax.random.fold_in(own, number), image.shape, image.dtype)
            return image + spread * drawn

        return _mean_slope(target, image, aim, copy, shares, chunk)

    return jax.lax.map(one, (images, aims, keys))


def integrated_gradients(
    target: Target,
    images: jax.Array,
    aims: Aims,
    *,
    baseline: jax.Array | float = 0.0,
    steps: int = 32,
    chunk: int = 0,
) -> jax.Array:
    """Integrated gradients: ``(x - x0) * integral over a from 0 to 1 of df/dx (x0 + a (x - x0))``.

    Its sum is ``f(x) - f(x0)`` (completeness). The integral is a Gauss-Legendre sum.
    Sundararajan, Taly, Yan: Axiomatic Attribution for Deep Networks, 2017.

    Args:
      target: see the module.
      images: [N, *spatial, C].
      aims: of each image.
      baseline: x0, a number or an image [*spatial, C]; 0 is black, or the background of a
        z-scored scan.
      steps: places at which the gradient is taken.
      chunk: places at once.
    """
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    places = jnp.asarray((nodes + 1) / 2, images.dtype)
    shares = jnp.asarray(weights / 2, images.dtype)

    def one(piece: tuple[jax.Array, Aims]) -> jax.Array:
        image, aim = piece
        way = image - baseline
        slope = _mean_slope(
            target, image, aim, lambda number: baseline + places[number] * way, shares, chunk
        )
        return way * slope

    return jax.lax.map(one, (images, aims))


def guided_backpropagation(
    target: Target, images: jax.Array, aims: Aims, *, chunk: int = 0
) -> jax.Array:
    """Guided backpropagation: the gradient, where each ReLU passes back positive values only.

    ``R_in = [x > 0] [R_out > 0] R_out`` at every ReLU. Springenberg, Dosovitskiy, Brox,
    Riedmiller: Striving for Simplicity, 2014. It works for networks whose ReLUs are
    ``layers.activation.ReLU``, which are all of this package. (Adebayo et al. 2018 show
    that it hardly depends on the network's weights.)
    """

    def replace(
        method: Callable[..., jax.Array], arguments: tuple, named: dict, context: Any
    ) -> jax.Array:
        if isinstance(context.module, ReLU):
            return guided_relu(*arguments)
        return method(*arguments, **named)

    with nn.intercept_methods(replace):
        return gradient(target, images, aims, chunk=chunk)


@jax.custom_vjp
def guided_relu(x: jax.Array) -> jax.Array:
    """max(x, 0) whose backward pass keeps positive gradients of positive inputs only.

    >>> slope = jax.grad(lambda x: jnp.sum(guided_relu(x) * jnp.array([1.0, -1.0, 1.0])))
    >>> slope(jnp.array([2.0, 2.0, -2.0])).tolist()
    [1.0, 0.0, 0.0]
    """
    return nn.relu(x)


guided_relu.defvjp(
    lambda x: (nn.relu(x), x > 0),
    lambda positive, g: (jnp.where(positive & (g > 0), g, 0),),
)


def _slope(target: Target, images: jax.Array, aims: Aims) -> jax.Array:
    return jax.grad(lambda x: jnp.sum(target(x, aims)))(images)


def _mean_slope(
    target: Target,
    image: jax.Array,
    aim: Aims,
    version: Callable[[jax.Array], jax.Array],
    shares: jax.Array,
    chunk: int,
) -> jax.Array:
    """``sum_i shares_i df/dx (version(i))`` for one image, ``chunk`` versions at a time."""
    count = len(shares)
    chunk = min(chunk or count, count)
    spare = -count % chunk
    numbers = jnp.minimum(jnp.arange(count + spare), count - 1).reshape(-1, chunk)
    weights = jnp.pad(shares, (0, spare)).reshape(-1, chunk)
    aims = repeat_aim(aim, chunk)

    def add(total: jax.Array, piece: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        slopes = _slope(target, jax.vmap(version)(piece[0]), aims)
        return total + jnp.tensordot(piece[1], slopes, axes=1), None

    return jax.lax.scan(add, jnp.zeros_like(image), (numbers, weights))[0]
