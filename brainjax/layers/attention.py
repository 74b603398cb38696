"""The CGA U-Net's supervised attention and the two modules that it is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from brainjax.layers.convolution import Conv
from brainjax.layers.initialization import uniform_fan_in
from brainjax.layers.pooling import intra_class_update, masked_average_pool

# Rate: (width, strides) of the three convolutions from the image. Rate 8 is the paper's
# Table 1; for 4 and 2 the paper gives only the cost, which these come near to (Table 3).
ATTENTION_PATHS = {8: (16, (2, 2, 2)), 4: (32, (2, 2, 1)), 2: (16, (2, 1, 1))}

# Added to a class's sum of weights, in voxels. With hard masks, the authors' number. Soft
# weights may sum to nearly nothing, where the prototype's gradient grows as 1 / epsilon.
POOLING_EPSILON = {"hard": 1e-5, "soft": 0.1}


def class_mask(attention: jax.Array, *, kind: Literal["soft", "hard"]) -> jax.Array:
    """Turns the attention map into each class's mask.

    ``"soft"`` takes the map itself as the weights w_i of equation 7, clipped to
    [0, 1]: its target is one-hot, but as the output of a convolution it can be
    negative, and an average with negative weights has no bound. (A softmax of a
    one-hot map would be nearly flat.) ``"hard"`` is the one-hot of the argmax, as
    in the authors' code, through which no gradient passes.

    Args:
      attention: [B, *spatial, K].
      kind: see above.

    Returns:
      [B, *spatial, K], f32.

    >>> attention = jnp.array([[[0.9, -0.2, 0.3]]])
    >>> [round(float(w), 1) for w in class_mask(attention, kind="soft")[0, 0]]
    [0.9, 0.0, 0.3]
    >>> class_mask(attention, kind="hard")[0, 0].tolist()
    [1.0, 0.0, 0.0]
    """
    if kind == "soft":
        return jnp.clip(attention.astype(jnp.float32), 0.0, 1.0)
    if kind == "hard":
        return jax.nn.one_hot(jnp.argmax(attention, axis=-1), attention.shape[-1])
    raise ValueError(f"mask is 'soft' or 'hard', not {kind!r}")


class SupervisedAttention(nn.Module):
    """The supervised attention module: a map of the classes guides the features' update.

    The map S comes from the raw image through three convolutions without norm or
    activation (equation 6), is trained against the labels, and gives each class's
    mask. Features under a class's mask are averaged to a prototype (equation 7),
    which is added back to the features where the mask is (equation 8).

    Attributes:
      num_classes: K.
      rate: how many times smaller the features are than the image: 2, 4 or 8.
      mask: ``"soft"`` or ``"hard"``, see ``class_mask``.
      update: whether the features are updated, or only prototypes taken.
      classes: only these classes are written back; all by default.
      source: ``"image"``, or ``"features"`` for the paper's Figure 5, where a single
        1x1x1 convolution on the features makes the map.
      dtype: of the computation; map and prototypes are f32 in any case.
    """

    num_classes: int = 4
    rate: int = 8
    mask: Literal["soft", "hard"] = "soft"
    update: bool = True
    classes: Sequence[int] | None = None
    source: Literal["image", "features"] = "image"
    dtype: Any = None

    @nn.compact
    def __call__(
        self, image: jax.Array, features: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Updates the features.

        Args:
          image: [B, *spatial, Cin].
          features: [B, *spatial / rate, C].

        Returns:
          The updated features, of the same shape and type; the attention map
          [B, *spatial / rate, K] and the prototypes [B, K, C], both f32.

        Raises:
          ValueError: an unknown rate, source or mask, or shapes that do not fit.
        """
        attention = self._attention(image, features).astype(jnp.float32)
        mask = class_mask(attention, kind=self.mask)
        prototypes = masked_average_pool(features, mask, epsilon=POOLING_EPSILON[self.mask])
        if self.update:
            written = intra_class_update(prototypes, mask, classes=self.classes)
            features = (features.astype(jnp.float32) + written).astype(features.dtype)
        return features, attention, prototypes

    def _attention(self, image: jax.Array, features: jax.Array) -> jax.Array:
        """The map S [B, *spatial / rate, K]."""
        if self.source == "features":
            return self._conv(self.num_classes, 1, 1, "conv")(features)
        if self.source != "image":
            raise ValueError(f"source is 'image' or 'features', not {self.source!r}")
        if self.rate not in ATTENTION_PATHS:
            raise ValueError(f"rate is one of {sorted(ATTENTION_PATHS)}, not {self.rate}")
        spatial = tuple(size // self.rate for size in image.shape[1:-1])
        if any(size % self.rate for size in image.shape[1:-1]) or features.shape[1:-1] != spatial:
            raise ValueError(
                f"features of shape {features.shape} are not the image's {image.shape} "
                f"divided by the rate {self.rate}"
            )
        width, strides = ATTENTION_PATHS[self.rate]
        widths = (width, width, self.num_classes)
        attention = image
        for index, (channels, stride) in enumerate(zip(widths, strides, strict=True), start=1):
            attention = self._conv(channels, 3, stride, f"conv{index}")(attention)
        return attention

    def _conv(self, features: int, size: int, stride: int, name: str) -> Conv:
        return Conv(
            features,
            size,
            strides=stride,
            kernel_init=uniform_fan_in,
            dtype=self.dtype,
            name=name,
        )


class SelfAttention(nn.Module):
    """Self-attention over all N voxels, for comparison (equations 1 to 3).

    As in the equations, the products of queries and keys are not divided by the
    root of their width. The N x N map is held whole: cost and memory grow as N^2.

    Attributes:
      use_bias: of the three 1x1x1 convolutions.
      dtype: of the computation; the softmax is f32 in any case.
    """

    use_bias: bool = False
    dtype: Any = None

    @nn.compact
    def __call__(self, features: jax.Array) -> jax.Array:
        """Returns ``features`` [B, *spatial, C] with what each voxel attends to added."""
        query, key, value = (
            _flatten(_pointwise(self, features.shape[-1], name)(features))
            for name in ("query", "key", "value")
        )
        similarity = jnp.einsum("bnc,bmc->bnm", query, key, preferred_element_type=jnp.float32)
        attention = jax.nn.softmax(similarity, axis=-1).astype(value.dtype)  # [B, N, N]
        attended = jnp.einsum("bnm,bmc->bnc", attention, value)
        return features + attended.reshape(features.shape).astype(features.dtype)


class ContextPrior(nn.Module):
    """The context prior layer, for comparison (equations 4 and 5).

    One 1x1x1 convolution gives each voxel's prior over all N voxels, one gives the
    values; a product of the two averages the values under the prior. Equation 4
    wants N output channels for the prior, but the cost that the paper's Table 3
    prints is that of C of them. So with fewer channels than voxels, neighbours in
    raster order share a channel.

    Attributes:
      prior_channels: output channels of the prior's convolution: C by default, as
        Table 3 has it; N gives equation 4 to the letter.
      use_bias: of the two 1x1x1 convolutions.
      dtype: of the computation; the prior is f32 in any case.
    """

    prior_channels: int | None = None
    use_bias: bool = False
    dtype: Any = None

    @nn.compact
    def __call__(self, features: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Adds to each voxel the average under its prior.

        Args:
          features: [B, *spatial, C], N voxels each.

        Returns:
          The updated features, of the same shape and type, and the prior [B, N, N] in
          [0, 1], f32, to be trained against ``class_affinity``.
        """
        channels = self.prior_channels or features.shape[-1]
        logits = _flatten(_pointwise(self, channels, "prior")(features))
        value = _flatten(_pointwise(self, features.shape[-1], "value")(features))
        voxels = value.shape[1]
        column = jnp.arange(voxels) * channels // voxels
        prior = jax.nn.sigmoid(logits.astype(jnp.float32))[:, :, column]  # [B, N, N]
        gathered = jnp.einsum("bnm,bmc->bnc", prior.astype(value.dtype), value)
        gathered = gathered.astype(jnp.float32) / jnp.sum(prior, axis=-1, keepdims=True)
        return features + gathered.reshape(features.shape).astype(features.dtype), prior


def class_affinity(mask: jax.Array) -> jax.Array:
    """Which voxels are of one class, the target of the context prior (equation 5).

    Args:
      mask: one-hot labels [B, *spatial, K], N voxels each.

    Returns:
      [B, N, N]: 1 where two voxels share their class, else 0.

    >>> class_affinity(jax.nn.one_hot(jnp.array([[0, 1, 0]]), 2))[0].astype(int).tolist()
    [[1, 0, 1], [0, 1, 0], [1, 0, 1]]
    """
    labels = _flatten(mask)
    return jnp.einsum("bnk,bmk->bnm", labels, labels)


def _pointwise(module: SelfAttention | ContextPrior, features: int, name: str) -> Conv:
    return Conv(
        features,
        1,
        use_bias=module.use_bias,
        kernel_init=uniform_fan_in,
        dtype=module.dtype,
        name=name,
    )


def _flatten(x: jax.Array) -> jax.Array:
    """[B, *spatial, C] to [B, N, C]."""
    return x.reshape(x.shape[0], -1, x.shape[-1])
