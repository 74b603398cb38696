"""Prototypes of classes: pooled under a mask, written back, and how far apart they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.lax import Precision


def masked_average_pool(
    features: jax.Array, mask: jax.Array, *, epsilon: float = 1e-5
) -> jax.Array:
    """Averages the features under the mask of each class (CGA U-Net, equation 7).

    Args:
      features: [B, *spatial, C].
      mask: weight of each voxel in each class, not negative, [B, *spatial, K].
      epsilon: added to the sum of weights, in voxels; the prototype of a class
        without voxels is zero.

    Returns:
      Prototypes [B, K, C], f32.

    >>> features = jnp.array([[[1.0], [3.0], [8.0]]])  # [B=1, N=3, C=1]
    >>> mask = jnp.array([[[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]])  # [1, 3, K=2]
    >>> [round(float(p), 3) for p in masked_average_pool(features, mask)[0, :, 0]]
    [2.0, 8.0]
    """
    batch, channels, classes = features.shape[0], features.shape[-1], mask.shape[-1]
    voxels = features.astype(jnp.float32).reshape(batch, -1, channels)
    weights = mask.astype(jnp.float32).reshape(batch, -1, classes)
    total = jnp.einsum("bnk,bnc->bkc", weights, voxels, precision=Precision.HIGHEST)
    return total / (jnp.sum(weights, axis=1) + epsilon)[..., None]  # [B, K, C]


def intra_class_update(
    prototypes: jax.Array, mask: jax.Array, *, classes: Sequence[int] | None = None
) -> jax.Array:
    """Writes each class's prototype where its mask is and sums the classes (equation 8).

    Args:
      prototypes: [B, K, C].
      mask: [B, *spatial, K].
      classes: only these are written, as in the paper's single-class ablation.

    Returns:
      [B, *spatial, C], f32, to be added to the features.

    >>> prototypes = jnp.array([[[2.0], [8.0]]])  # [B=1, K=2, C=1]
    >>> mask = jnp.array([[[1.0, 0.0], [0.0, 1.0]]])  # [1, N=2, K=2]
    >>> intra_class_update(prototypes, mask)[0, :, 0].tolist()
    [2.0, 8.0]
    >>> intra_class_update(prototypes, mask, classes=(1,))[0, :, 0].tolist()
    [0.0, 8.0]
    """
    if classes is not None:
        chosen = jnp.array(tuple(classes), jnp.int32)
        prototypes, mask = prototypes[:, chosen], mask[..., chosen]
    return jnp.einsum(
        "b...k,bkc->b...c",
        mask.astype(jnp.float32),
        prototypes.astype(jnp.float32),
        precision=Precision.HIGHEST,
    )


def inter_class_distance(
    prototypes: jax.Array, *, form: Literal["paper", "released"] = "paper"
) -> jax.Array:
    """How far the prototypes of one example are apart, D (equation 9).

    Both forms run over ordered pairs, as the equation's index range says, so each
    pair counts twice and a class with itself adds nothing. Where two prototypes
    coincide the gradient is zero.

    Args:
      prototypes: [B, K, C].
      form: ``"paper"``, the sum of the Euclidean distances; ``"released"``, the
        square root of the sum of their squares, as in the authors' code.

    Returns:
      [B], f32.

    >>> corners = jnp.array([[[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]]])  # sides 3, 4, 5
    >>> float(inter_class_distance(corners)[0])
    24.0
    >>> float(inter_class_distance(corners, form="released")[0])
    10.0
    """
    if form == "paper":
        return 2.0 * jnp.sum(pairwise_distances(prototypes), axis=1)
    if form == "released":
        return _root(2.0 * jnp.sum(_pair_squares(prototypes), axis=1))
    raise ValueError(f"form is 'paper' or 'released', not {form!r}")


def pairwise_distances(prototypes: jax.Array) -> jax.Array:
    """Euclidean distances of the prototypes of one example, each pair of classes once.

    Args:
      prototypes: [B, K, C].

    Returns:
      [B, K * (K - 1) / 2], f32, in the order (0, 1), (0, 2), .., (1, 2), ..

    >>> corners = jnp.array([[[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]]])
    >>> pairwise_distances(corners)[0].tolist()
    [3.0, 4.0, 5.0]
    """
    return _root(_pair_squares(prototypes))


def _pair_squares(prototypes: jax.Array) -> jax.Array:
    """Squared distances [B, pairs]."""
    # A class is not paired with itself: compiled code may subtract two differently
    # rounded copies of one prototype, and the root's gradient would blow the rest up.
    first, second = np.triu_indices(prototypes.shape[1], k=1)
    prototypes = prototypes.astype(jnp.float32)
    return jnp.sum((prototypes[:, first] - prototypes[:, second]) ** 2, axis=-1)


def _root(squares: jax.Array) -> jax.Array:
    """The square root, with a gradient of zero at zero."""
    positive = squares > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, squares, 1.0)), 0.0)
