"""VGG networks.

Simonyan, Zisserman: Very Deep Convolutional Networks for Large-Scale Image Recognition,
2014. Convolutions start as torchvision's: normal with variance ``2 / (k * k * Cout)``.
The ImageNet head starts normal with a standard deviation of 0.01, the other Glorot
uniform as in Keras; biases at zero.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import flax.linen as nn
import jax

from brainjax.errors import InputError
from brainjax.layers.activation import ReLU
from brainjax.layers.convolution import Conv
from brainjax.layers.image_pooling import adaptive_average_pool, max_pool
from brainjax.layers.normalization import BatchNorm
from brainjax.models.classifier import (
    Classifier,
    ClassifierHead,
    Initializer,
    flatten,
    glorot_uniform,
    he_normal_fan_out,
    refuse_smaller,
)

# Table 1 of the paper: convolutions of each stage, a max pooling after each stage.
DEPTHS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
GROWTH = (1, 2, 4, 8, 8)  # of the width, for each stage
SMALLEST = 2 ** len(GROWTH)
HEAD_WIDTH = 4096
HEAD_GRID = (7, 7)
HEAD_DROPOUT = 0.5
normal = nn.initializers.normal(0.01)


class VGGBody(nn.Module):
    """Stages of 3x3 convolutions with max pooling between them.

    Layers are numbered as in torchvision's ``features``, where ReLU and pooling count.
    The last stage's pooling belongs to the head.

    Attributes:
      stage_sizes: convolutions of each stage.
      width: of the first stage.
      batch_norm: whether a batch norm follows every convolution.
      dtype: of the computation.
    """

    stage_sizes: tuple[int, ...]
    width: int
    batch_norm: bool
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Features [B, H // 16, W // 16, C] of images [B, H, W, Cin]."""
        index = 0
        for stage, convolutions in enumerate(self.stage_sizes):
            if stage:
                x = max_pool(x, 2)
                index += 1
            for _ in range(convolutions):
                x = Conv(
                    self.width * GROWTH[stage],
                    3,
                    kernel_init=he_normal_fan_out,
                    dtype=self.dtype,
                    name=f"features_{index}",
                )(x)
                if self.batch_norm:
                    norm = BatchNorm(relu=True, dtype=self.dtype, name=f"features_{index + 1}")
                    x = norm(x, train=train)
                else:
                    x = ReLU()(x)
                index += 3 if self.batch_norm else 2
        return x


class VGG(Classifier):
    """A VGG network of 11, 13, 16 or 19 layers, with or without batch norm.

    Names: torchvision's ``features.0`` is ``body/features_0`` and ``classifier.0`` is
    ``head/classifier_0``. Features are flattened rows, columns, channels; torchvision
    flattens channels, rows, columns, so that the rows of ``classifier.0`` differ.

    Attributes:
      depth: 11, 13, 16 or 19.
      batch_norm: whether a batch norm follows every convolution.
      head: ``"imagenet"``: pooled to 7x7, two dense layers of 4,096 with dropout (0.5 by
        default) after each, and the last; or ``"hidden"``: flattened as the features
        come, and the layers of ``hidden``, so that the image's size decides the
        parameters.
      width: channels of the first stage.
    """

    depth: int = 16
    batch_norm: bool = False
    head: Literal["imagenet", "hidden"] = "imagenet"
    width: int = 64

    last_layer: ClassVar[str] = "classifier_6"
    last_init: ClassVar[Initializer] = staticmethod(glorot_uniform)

    def _make_body(self) -> VGGBody:
        if self.depth not in DEPTHS:
            raise InputError(
                f"depth: expected one of {', '.join(map(str, DEPTHS))}, found {self.depth}"
            )
        return VGGBody(DEPTHS[self.depth], self.width, self.batch_norm, dtype=self.dtype)

    def _make_head(self) -> ClassifierHead:
        if self.head not in ("imagenet", "hidden"):
            raise InputError(f"head: expected 'imagenet' or 'hidden', found {self.head!r}")
        if self.head == "hidden":
            return super()._make_head()
        if self.hidden:
            raise InputError(
                f"hidden: expected () with head='imagenet', whose layers are fixed, found "
                f"{self.hidden}; use head='hidden'"
            )
        dropout = HEAD_DROPOUT if self.dropout is None else self.dropout
        return ClassifierHead(
            pool=_pool_to_grid,
            hidden=(("classifier_0", HEAD_WIDTH), ("classifier_3", HEAD_WIDTH)),
            last=self.last_layer,
            num_classes=self.num_classes,
            dropout=(0.0, dropout, dropout),
            hidden_init=normal,
            last_init=normal,
            dtype=self.dtype,
            name="head",
        )

    def _pool(self, features: jax.Array) -> jax.Array:
        return flatten(max_pool(features, 2))

    def _check_size(self, height: int, width: int) -> None:
        refuse_smaller(f"VGG-{self.depth}", height, width, SMALLEST)


def _pool_to_grid(features: jax.Array) -> jax.Array:
    return flatten(adaptive_average_pool(max_pool(features, 2), HEAD_GRID))
