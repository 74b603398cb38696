"""The residual U-Net that is the baseline of the CGA U-Net (its Table 1)."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import flax.linen as nn
import jax

from brainjax.errors import InputError
from brainjax.layers.convolution import Conv, add_bias
from brainjax.layers.dropout import Dropout
from brainjax.layers.initialization import uniform_fan_in
from brainjax.layers.residual import ResidualBlock
from brainjax.layers.upsampling import UpConv, upsample_and_merge
from brainjax.models.outputs import SegmentationOutput
from brainjax.models.segmentation import check_spatial_shape, segmentation_heads

BLOCKS = (1, 2, 2, 4)  # residual blocks of the encoder's levels, Table 1
HALVINGS = len(BLOCKS) - 1

# Where the paper and the authors' code differ in this part of the network.
NORM: dict[str, Literal["group", "batch"]] = {"paper": "batch", "released": "group"}
REDUCING_KERNEL = {"paper": 3, "released": 1}


class UNet(nn.Module):
    """A U-Net of pre-activated residual blocks, for two or three spatial axes.

    Widths are ``base_width`` times 1, 2, 4 and 8. Parameters are f32 whatever the
    type of the computation, and so are statistics and outputs.

    Attributes:
      variant: ``"paper"`` (batch norm, 3x3x3 reducing convolutions) or ``"released"``
        (group norm, 1x1x1), the authors' code.
      num_classes: K.
      base_width: channels at full resolution.
      norm: ``"group"``, ``"batch"`` or ``"instance"``; empty is the variant's.
      norm_groups: of group norm; has to divide ``base_width``.
      dropout: share of whole channels dropped after the first convolution in training.
      deep_supervision: whether coarser levels of the decoder get heads too.
      checkpoint_blocks: whether activations inside blocks are worked out again in the
        backward pass instead of kept: less memory for more time.
      join_linear: whether an up-sampling and the 1x1x1 convolution after it are worked out
        as one map, as they are written otherwise; the result is the same but for rounding.
      dtype: of the computation, such as ``jnp.bfloat16``.
    """

    variant: Literal["paper", "released"] = "paper"
    num_classes: int = 4
    base_width: int = 16
    norm: Literal["", "group", "batch", "instance"] = ""
    norm_groups: int = 8
    dropout: float = 0.2
    deep_supervision: bool = False
    checkpoint_blocks: bool = False
    join_linear: bool = True
    dtype: Any = None

    @property
    def halvings(self) -> int:
        """How many times each axis is halved."""
        return HALVINGS

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool = False) -> SegmentationOutput:
        """Segments ``image``.

        Args:
          image: [B, *spatial, Cin].
          train: switches dropout on (random key ``dropout``) and lets batch norm take
            the statistics of this batch.

        Returns:
          Logits [B, *spatial, K], f32, with deep supervision coarser ones, and what a
        subclass adds.

        Raises:
          InputError: a spatial axis does not divide by 8, or an unknown variant.
        """
        if self.variant not in NORM:
            raise InputError(f"variant is 'paper' or 'released', not {self.variant!r}")
        check_spatial_shape(image.shape[1:-1], halvings=self.halvings)
        skips, features = self._encode(image, train=train)
        found = self._guide(image, features)
        features = features if found.features_after is None else found.features_after
        heads = segmentation_heads(
            self._decode(features, skips, train=train),
            num_classes=self.num_classes,
            deep_supervision=self.deep_supervision,
        )
        return dataclasses.replace(found, logits=heads.logits, coarse_logits=heads.coarse_logits)

    def _guide(self, image: jax.Array, features: jax.Array) -> SegmentationOutput:
        """What is done with the deepest features; nothing here."""
        return SegmentationOutput(logits=features)

    def _encode(self, x: jax.Array, *, train: bool) -> tuple[list[jax.Array], jax.Array]:
        """Features of all levels but the deepest, and those of the deepest."""
        y, bias = self._conv(self.base_width, 3, "init_conv").without_bias(x)
        if train and self.dropout:
            spatial_axes = range(1, x.ndim - 1)
            y, bias = Dropout(self.dropout, broadcast_dims=spatial_axes)(add_bias(y, bias)), None
        skips = []
        for level, blocks in enumerate(BLOCKS, start=1):
            for block in range(1, blocks + 1):
                y = self._block(f"encoder{level}_block{block}")(y, train, bias)
                bias = None
            if level <= HALVINGS:
                skips.append(y)
                down = self._conv(self.base_width * 2**level, 3, f"down{level}", strides=2)
                y, bias = down.without_bias(y)
        return skips, y

    def _decode(self, y: jax.Array, skips: list[jax.Array], *, train: bool) -> list[jax.Array]:
        """Features of all levels of the decoder, the finest first."""
        found = []
        size = REDUCING_KERNEL[self.variant]
        for level in range(HALVINGS, 0, -1):
            width = self.base_width * 2 ** (level - 1)
            y = self._conv(width, size, f"decoder{level}_reduce")(y)
            up = UpConv(
                width, kernel_init=uniform_fan_in, dtype=self.dtype, name=f"decoder{level}_up"
            )
            merge, skip = self._conv(width, size, f"decoder{level}_merge"), skips[level - 1]
            if size == 1 and self.join_linear:
                y, bias = upsample_and_merge(y, skip, up, merge)
            else:
                y, bias = merge.without_bias(skip, up(y))
            y = self._block(f"decoder{level}_block")(y, train, bias)
            found.append(y)
        return found[::-1]

    def _block(self, name: str) -> nn.Module:
        block = ResidualBlock
        if self.checkpoint_blocks:
            block = nn.remat(ResidualBlock, static_argnums=(2,))  # 2 is train
        norm = self.norm or NORM[self.variant]
        return block(norm=norm, groups=self.norm_groups, dtype=self.dtype, name=name)

    def _conv(self, features: int, size: int, name: str, *, strides: int = 1) -> Conv:
        return Conv(
            features,
            size,
            strides=strides,
            kernel_init=uniform_fan_in,
            dtype=self.dtype,
            name=name,
        )
