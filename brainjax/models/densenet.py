"""Densely connected networks.

Huang, Liu, van der Maaten, Weinberger: Densely Connected Convolutional Networks, 2016.
Kernels start as torchvision's: normal with variance ``2 / fan_in``, the last layer
uniform in ``+-1 / sqrt(fan_in)`` with a bias of zero.
"""

from __future__ import annotations

from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from brainjax.errors import InputError
from brainjax.layers.convolution import Conv
from brainjax.layers.image_pooling import average_pool, max_pool
from brainjax.layers.initialization import he_normal_fan_in
from brainjax.layers.normalization import BatchNorm
from brainjax.models.classifier import Classifier, refuse_smaller

# Table 1 of the paper: layers of each block.
DEPTHS = {121: (6, 12, 24, 16), 169: (6, 12, 32, 32), 201: (6, 12, 48, 32)}
BOTTLENECK = 4  # channels of a layer's 1x1 convolution over its growth


class DenseLayer(nn.Module):
    """Norm, ReLU, 1x1 convolution, norm, ReLU, 3x3 convolution, joined to the input.

    Attributes:
      growth: channels that are joined.
      dtype: of the computation.
    """

    growth: int
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Takes ``x`` [B, H, W, C] to [B, H, W, C + growth]."""
        y = x
        for index, (features, size) in enumerate(
            ((BOTTLENECK * self.growth, 1), (self.growth, 3)), start=1
        ):
            norm = BatchNorm(relu=True, dtype=self.dtype, name=f"norm{index}")
            y = _convolution(features, size, f"conv{index}", dtype=self.dtype)(norm(y, train=train))
        return jnp.concatenate([x, y], axis=-1)


class Transition(nn.Module):
    """Norm, ReLU, 1x1 convolution to half the channels, 2x2 average pooling.

    Attributes:
      dtype: of the computation.
    """

    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Takes ``x`` [B, H, W, C] to [B, H // 2, W // 2, C // 2]."""
        x = BatchNorm(relu=True, dtype=self.dtype, name="norm")(x, train=train)
        # The mean over pixels and the sum over channels change places: a quarter of the work.
        return _convolution(x.shape[-1] // 2, 1, "conv", dtype=self.dtype)(average_pool(x, 2))


class DenseNetBody(nn.Module):
    """Stem, dense blocks with transitions between them, a last norm and ReLU.

    Attributes:
      stage_sizes: layers of each block.
      growth: channels that a layer adds.
      width: of the stem.
      dtype: of the computation.
    """

    stage_sizes: tuple[int, ...]
    growth: int
    width: int
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Features [B, h, w, C] of images [B, H, W, Cin]."""
        x = _convolution(self.width, 7, "conv0", strides=2, dtype=self.dtype)(x)
        x = BatchNorm(relu=True, dtype=self.dtype, name="norm0")(x, train=train)
        x = max_pool(x, 3, strides=2, padding=1)
        for block, layers in enumerate(self.stage_sizes, start=1):
            for layer in range(1, layers + 1):
                name = f"denseblock{block}_denselayer{layer}"
                x = DenseLayer(self.growth, dtype=self.dtype, name=name)(x, train=train)
            if block < len(self.stage_sizes):
                x = Transition(dtype=self.dtype, name=f"transition{block}")(x, train=train)
        return BatchNorm(relu=True, dtype=self.dtype, name="norm5")(x, train=train)


class DenseNet(Classifier):
    """A DenseNet of 121, 169 or 201 layers, or of blocks of one's own.

    Names: torchvision's ``features.denseblock1.denselayer1.norm1`` is
    ``body/denseblock1_denselayer1/norm1``, ``features.conv0`` is ``body/conv0`` and
    ``classifier`` is ``head/classifier``.

    Attributes:
      depth: a key of ``DEPTHS``; not looked at where ``stage_sizes`` are given.
      stage_sizes: layers of each block; empty takes the depth's.
      growth: channels that a layer adds.
      width: channels of the stem.
    """

    depth: int = 121
    stage_sizes: tuple[int, ...] = ()
    growth: int = 32
    width: int = 64

    last_layer: ClassVar[str] = "classifier"

    def _make_body(self) -> DenseNetBody:
        if self.depth not in DEPTHS and not self.stage_sizes:
            raise InputError(
                f"depth: expected one of {', '.join(map(str, DEPTHS))}, found {self.depth}"
            )
        return DenseNetBody(self._stage_sizes(), self.growth, self.width, dtype=self.dtype)

    def _stage_sizes(self) -> tuple[int, ...]:
        return tuple(self.stage_sizes) or DEPTHS[self.depth]

    def _check_size(self, height: int, width: int) -> None:
        # The stem rounds H / 4 up, each transition halves and rounds down.
        refuse_smaller("DenseNet", height, width, 4 * 2 ** (len(self._stage_sizes()) - 1) - 3)


def _convolution(features: int, size: int, name: str, *, dtype: Any, strides: int = 1) -> Conv:
    return Conv(
        features,
        size,
        strides=strides,
        use_bias=False,
        kernel_init=he_normal_fan_in,
        dtype=dtype,
        name=name,
    )
