"""The 3D U-Net.

Cicek, Abdulkadir, Lienkamp, Brox, Ronneberger: 3D U-Net: Learning Dense Volumetric
Segmentation from Sparse Annotation, 2016. Where the paper's convolutions are valid, these are
padded, so that the output has the input's size.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from brainjax.layers.normalization import Norm
from brainjax.layers.resampling import max_pool_by_2
from brainjax.layers.upsampling import UpConv
from brainjax.models.segmentation import SegmentationNetwork

LEVELS = 4


class UNet3D(SegmentationNetwork):
    """Two convolutions a level with batch norm and ReLU, max pooling, transposed convolutions.

    The second convolution of each level of the encoder doubles the channels, so that none is
    lost in pooling: ``base_width`` times (1, 2), (2, 4), (4, 8), (8, 16). The decoder has
    ``base_width`` times 8, 4 and 2. Fields are those of ``SegmentationNetwork``.
    """

    norm: Norm = "batch"

    @property
    def halvings(self) -> int:
        """How many times each axis is halved."""
        return LEVELS - 1

    def _features(self, image: jax.Array, *, train: bool) -> list[jax.Array]:
        skips = []
        y = image
        for level in range(1, LEVELS + 1):
            width = self.base_width * 2 ** (level - 1)
            y = y if level == 1 else max_pool_by_2(y)
            y = self._block(width, f"encoder{level}_block1")(y, train)
            y = self._block(2 * width, f"encoder{level}_block2")(y, train)
            skips.append(y)
        found = []
        for level in range(LEVELS - 1, 0, -1):
            # Without bias: so the weights make up the paper's number of parameters.
            y = UpConv(
                y.shape[-1],
                use_bias=False,
                kernel_init=self.kernel_init,
                dtype=self.dtype,
                name=f"decoder{level}_up",
            )(y)
            y = jnp.concatenate([skips[level - 1], y], axis=-1)
            for block in (1, 2):
                y = self._block(self.base_width * 2**level, f"decoder{level}_block{block}")(
                    y, train
                )
            found.append(y)
        return found[::-1]
