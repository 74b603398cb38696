"""Attention U-Net.

Oktay et al.: Attention U-Net: Learning Where to Look for the Pancreas, 2018, as the authors'
``unet_CT_single_att_dsv_3D`` has it.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from brainjax.layers.attention_gate import AttentionGate
from brainjax.layers.convolution import Conv
from brainjax.layers.normalization import Norm
from brainjax.layers.resampling import interpolate_up, max_pool_by_2
from brainjax.models.outputs import SegmentationOutput
from brainjax.models.segmentation import SegmentationNetwork, segmentation_heads

LEVELS = 5


class AttentionUNet(SegmentationNetwork):
    """A U-Net whose skipped features pass a gate; every level of the decoder votes.

    Two convolutions a level with batch norm and ReLU; ``base_width`` times 1, 2, 4, 8 and 16
    channels; max pooling down, trilinear interpolation up. The gates are on levels 2 to 4, at
    full resolution there is none. A 1x1x1 convolution joins the levels' logits, interpolated
    to full resolution. With ``deep_supervision`` the coarser levels' own logits are returned
    too, without any parameter more. Fields are those of ``SegmentationNetwork``.
    """

    base_width: int = 16
    norm: Norm = "batch"

    @property
    def halvings(self) -> int:
        """How many times each axis is halved."""
        return LEVELS - 1

    def _segment(self, image: jax.Array, *, train: bool) -> SegmentationOutput:
        votes = segmentation_heads(
            self._features(image, train=train), num_classes=self.num_classes, deep_supervision=True
        )
        spread = [
            interpolate_up(logits, 2**level) for level, logits in enumerate(votes.coarse_logits, 1)
        ]
        join = Conv(
            self.num_classes, 1, kernel_init=self.kernel_init, dtype=jnp.float32, name="join"
        )
        return SegmentationOutput(
            logits=join(jnp.concatenate([votes.logits, *spread], axis=-1)),
            coarse_logits=votes.coarse_logits if self.deep_supervision else (),
        )

    def _features(self, image: jax.Array, *, train: bool) -> list[jax.Array]:
        skips = []
        y = image
        for level in range(1, LEVELS + 1):
            y = y if level == 1 else max_pool_by_2(y)
            y = self._pair(y, f"encoder{level}", level, train)
            skips.append(y)
        gate = self._block(y.shape[-1], "gate", kernel_size=1)(y, train)
        found = []
        for level in range(LEVELS - 1, 0, -1):
            skip = skips[level - 1]
            if level > 1:
                passed, _ = AttentionGate(
                    norm=self.norm,
                    norm_groups=self.norm_groups,
                    dtype=self.dtype,
                    name=f"attention{level}",
                )(skip, gate, train)
                combine = self._block(skip.shape[-1], f"attention{level}_combine", kernel_size=1)
                skip = combine(passed, train)
            y = jnp.concatenate([skip, interpolate_up(y, 2)], axis=-1)
            y = gate = self._pair(y, f"decoder{level}", level, train)
            found.append(y)
        return found[::-1]

    def _pair(self, y: jax.Array, name: str, level: int, train: bool) -> jax.Array:
        for block in (1, 2):
            y = self._block(self.base_width * 2 ** (level - 1), f"{name}_block{block}")(y, train)
        return y
