"""Grad-CAM for any layer of a flax network, found by the layer's path."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from brainjax.errors import InputError
from brainjax.explain.targets import Aims, Target, in_chunks


def grad_cam(
    target: Target, images: jax.Array, aims: Aims, *, layer: str, chunk: int = 0
) -> jax.Array:
    """Grad-CAM: the layer's channels weighted by their mean gradient, up-sampled.

    ``L = ReLU(sum_c a_c A_c)`` with ``a_c = mean over places of df/dA_c``, resized to the
    image linearly. Selvaraju et al.: Grad-CAM, 2017.

    Args:
      target: see ``targets``.
      images: [N, *spatial, C].
      aims: of each image.
      layer: path of a module whose output is a feature map, such as ``"body"`` (a
        classifier's last) or ``"encoder4_block4"`` (a U-Net's deepest).
      chunk: images at once.

    Returns:
      [N, *spatial, 1], not negative.

    Raises:
      InputError: there is no such feature map; lists those that there are.
    """
    shapes = feature_maps(target, images[:1], jax.tree.map(lambda leaf: leaf[:1], aims))
    if layer not in shapes:
        raise InputError(
            f"layer {layer!r}: not a feature map of this network; it has {', '.join(shapes)}"
        )
    spatial = images.shape[1:-1]

    def maps(x: jax.Array, aim: Aims) -> jax.Array:
        def moved(change: jax.Array) -> tuple[jax.Array, jax.Array]:
            seen: list[jax.Array] = []

            def look(path: str, output: Any) -> Any:
                if path != layer or seen:
                    return output
                seen.append(output)
                return output + change

            with nn.intercept_methods(_looking(look)):
                total = jnp.sum(target(x, aim))
            return total, seen[0]

        shape, dtype = shapes[layer].shape[1:], shapes[layer].dtype
        slopes, features = jax.grad(moved, has_aux=True)(jnp.zeros((x.shape[0], *shape), dtype))
        slopes, features = slopes.astype(jnp.float32), features.astype(jnp.float32)
        places = tuple(range(1, features.ndim - 1))
        weights = jnp.mean(slopes, axis=places, keepdims=True)
        coarse = nn.relu(jnp.sum(weights * features, axis=-1))  # [n, *places]
        fine = jax.image.resize(coarse, (x.shape[0], *spatial), "linear")
        return fine[..., None].astype(images.dtype)

    return in_chunks(maps, images, aims, chunk=chunk)


def feature_maps(target: Target, images: jax.Array, aims: Aims) -> dict[str, jax.ShapeDtypeStruct]:
    """Paths and shapes of all modules' outputs with as many axes as the images, in order.

    Nothing is computed. Modules called more than once are named once.
    """
    found: dict[str, jax.ShapeDtypeStruct] = {}

    def look(path: str, output: Any) -> Any:
        shape = output.shape if isinstance(output, jax.Array) else ()
        if len(shape) == images.ndim and math.prod(shape[1:-1]) > 1 and path not in found:
            found[path] = jax.ShapeDtypeStruct(shape, output.dtype)
        return output

    with nn.intercept_methods(_looking(look)):
        # A new function, since what jax remembers of an old one is not traced again.
        jax.eval_shape(lambda x, aim: target(x, aim), images, aims)
    return found


def _looking(look: Callable[[str, Any], Any]) -> Callable[..., Any]:
    """An interceptor that hands every module's path and output to ``look``."""

    def intercept(method: Callable[..., Any], arguments: tuple, named: dict, context: Any) -> Any:
        output = method(*arguments, **named)
        path = "/".join(context.module.path)
        return look(path, output) if context.method_name == "__call__" and path else output

    return intercept
