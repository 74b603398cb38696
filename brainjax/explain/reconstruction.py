"""Paper 2's saliency by U-Net: what a classifier's encoder leaves for a decoder to paint.

All functions take and give variables, ``{"params": ..., "batch_stats": ...}``, of a
``SaliencyUNet``; nothing is trained here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from brainjax.models import ReconstructionOutput, SaliencyUNet

Variables = Mapping[str, Mapping[str, Any]]
Reconstruct = Callable[[Variables, Any], ReconstructionOutput]

_LOCATION = "location"


def join_classifier(autoencoder: Variables, classifier: Variables) -> dict[str, Any]:
    """The paper's final U-Net (its Figure 4).

    Args:
      autoencoder: gives the decoder and the frozen path.
      classifier: variables of a ``SaliencyEncoder``, whose ``body`` becomes the encoder.
    """
    return {
        kind: {**autoencoder[kind], "encoder": classifier[kind]["body"]}
        for kind in ("params", "batch_stats")
    }


def keep_left(autoencoder: Variables, fresh: Variables) -> dict[str, Any]:
    """The first control (its Figure 5): trained layers beside a frozen path drawn anew."""
    return _with_location(autoencoder, fresh["batch_stats"][_LOCATION])


def keep_right(autoencoder: Variables, fresh: Variables) -> dict[str, Any]:
    """The second control (its Figure 6): the frozen path beside layers that never trained."""
    return _with_location(fresh, autoencoder["batch_stats"][_LOCATION])


def compiled_reconstruct(model: SaliencyUNet) -> Reconstruct:
    """The network's prediction of images uint8 [B, H, W, C], compiled once for all variables."""

    def reconstruct(variables: Variables, image: jax.Array) -> ReconstructionOutput:
        output: Any = model.apply(dict(variables), image.astype(jnp.float32) / 255.0, train=False)
        return output

    return jax.jit(reconstruct)


def brightness_map(image: jax.Array) -> jax.Array:
    """A picture read as saliency, as the paper reads its final U-Net's: bright is important.

    Args:
      image: [B, H, W, C].

    Returns:
      [B, H, W], the mean over channels, negative values as 0.

    >>> brightness_map(jnp.array([[[[0.2, 0.4], [-1.0, 0.5]]]]))
    Array([[[0.3, 0. ]]], dtype=float32)
    """
    return jnp.maximum(jnp.mean(image, axis=-1), 0.0)


def change_map(joined: jax.Array, autoencoder: jax.Array) -> jax.Array:
    """Where the classifier's encoder makes another picture than the autoencoder's own.

    Args:
      joined: output of the final U-Net, [B, H, W, C].
      autoencoder: output of the autoencoder, likewise.

    Returns:
      [B, H, W], the mean over channels of the absolute difference.
    """
    return jnp.mean(jnp.abs(joined - autoencoder), axis=-1)


def _with_location(variables: Variables, location: Mapping[str, Any]) -> dict[str, Any]:
    """The same with another frozen path."""
    return {
        "params": variables["params"],
        "batch_stats": {**variables["batch_stats"], _LOCATION: location},
    }
