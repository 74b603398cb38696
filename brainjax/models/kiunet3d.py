"""KiU-Net 3D.

Valanarasu, Sindagi, Hacihaliloglu, Patel: KiU-Net: Overcomplete Convolutional Architectures
for Biomedical Image and Volumetric Segmentation, 2021, as the authors' ``kiunet3dwcrfb``.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from brainjax.layers.activation import ReLU
from brainjax.layers.conv_block import ConvBlock
from brainjax.layers.normalization import Norm
from brainjax.layers.resampling import interpolate_down, interpolate_up, max_pool_by_2
from brainjax.models.segmentation import SegmentationNetwork

LEVELS = 3


class KiUNet3D(SegmentationNetwork):
    """A small U-Net beside a Kite-Net, which enlarges what the other makes smaller.

    The Kite-Net's grid is twice, four and eight times as fine as the image: its deepest
    features have 512 times the voxels. After every level but the last of the decoder the two
    exchange features (cross residual fusion: a 3x3x3 convolution with ReLU, interpolated to
    the other one's grid, added). Widths are ``base_width`` times 1, 2 and 4 in the U-Net and
    1, 2 and 2 in the Kite-Net; decoders have 2, and at last as many channels as the image.
    Pooling and interpolation come before the ReLU.

    Two things of the authors' code are not here: the fusion's two convolutions that it makes
    and never uses, and the ReLU after the logits. Its sum of the finest skip with twice as
    many channels, which is only defined for ``base_width`` 1, repeats the skip here.
    ``deep_supervision`` gives the U-Net's coarser levels heads. Fields are those of
    ``SegmentationNetwork``; the authors' network has no norm.
    """

    base_width: int = 1
    norm: Norm = "none"

    @property
    def halvings(self) -> int:
        """How many times each axis is halved."""
        return LEVELS

    def _features(self, image: jax.Array, *, train: bool) -> list[jax.Array]:
        narrow, wide, last = self.base_width, 2 * self.base_width, image.shape[-1]
        fine, coarse, skips = image, image, []  # the Kite-Net's and the U-Net's
        for level, widths in enumerate(((narrow, narrow), (wide, wide), (2 * wide, wide)), start=1):
            coarse = self._conv(coarse, widths[0], f"unet_encoder{level}", train)
            fine = self._conv(fine, widths[1], f"kite_encoder{level}", train)
            coarse, fine = ReLU()(max_pool_by_2(coarse)), ReLU()(interpolate_up(fine, 2))
            coarse, fine = self._fuse(coarse, fine, f"encoder{level}", 4**level, train)
            skips.append((coarse, fine))
        found = []
        for level in range(LEVELS - 1, -1, -1):
            width = wide if level else last
            coarse = self._conv(coarse, width, f"unet_decoder{level}", train)
            fine = self._conv(fine, width, f"kite_decoder{level}", train)
            coarse, fine = ReLU()(interpolate_up(coarse, 2)), ReLU()(max_pool_by_2(fine))
            if level:
                coarse, fine = self._fuse(coarse, fine, f"decoder{level}", 4**level, train)
                coarse, fine = (
                    y + jnp.tile(skip, y.shape[-1] // skip.shape[-1])
                    for y, skip in zip((coarse, fine), skips[level - 1], strict=True)
                )
                found.append(coarse)
        return [coarse + fine, *found[::-1]]

    def _fuse(
        self, coarse: jax.Array, fine: jax.Array, name: str, factor: int, train: bool
    ) -> tuple[jax.Array, jax.Array]:
        """Adds to each branch what the other one has, on its own grid."""
        options: dict[str, Any] = {"use_bias": True, "activation": "relu"}
        to_coarse = self._conv(fine, coarse.shape[-1], f"{name}_to_unet", train, **options)
        to_fine = self._conv(coarse, fine.shape[-1], f"{name}_to_kite", train, **options)
        return (
            coarse + interpolate_down(to_coarse, factor),
            fine + interpolate_up(to_fine, factor),
        )

    def _conv(
        self, x: jax.Array, features: int, name: str, train: bool, **options: Any
    ) -> jax.Array:
        settings = {"use_bias": False, "activation": "none", **options}
        block: ConvBlock = self._block(features, name, **settings)
        return block(x, train)
