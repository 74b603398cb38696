"""V-Net.

Milletari, Navab, Ahmadi: V-Net: Fully Convolutional Neural Networks for Volumetric Medical
Image Segmentation, 2016. Numbers of convolutions are those of the authors' network
(``train_noPooling_ResNet_cinque.prototxt``); the paper's figure has one more in some stages.
"""

from __future__ import annotations

from typing import ClassVar

import jax
import jax.numpy as jnp

from brainjax.errors import InputError
from brainjax.layers.conv_block import Activation, PReLU
from brainjax.layers.normalization import Norm, normalize
from brainjax.layers.upsampling import UpConv
from brainjax.models.outputs import SegmentationOutput
from brainjax.models.segmentation import SegmentationNetwork, segmentation_heads

ENCODER = (1, 1, 2, 3, 3)  # convolutions of each stage
DECODER = (1, 1, 2, 3)  # the same, the finest first


class VNet(SegmentationNetwork):
    """5x5x5 convolutions with PReLU in stages that add their input; strides instead of pooling.

    The first stage adds the image itself, its modalities repeated to ``base_width`` channels;
    widths are ``base_width`` times 1, 2, 4, 8 and 16. The decoder's stages work on the
    transposed convolution's half and the skipped half together, twice the encoder's width.
    The last 5x5x5 convolution has as many channels as there are classes, a 1x1x1 one follows.
    Fields are those of ``SegmentationNetwork``; the authors' network has no norm.
    """

    base_width: int = 16
    norm: Norm = "none"

    activation: ClassVar[Activation] = "prelu"

    @property
    def halvings(self) -> int:
        """How many times each axis is halved."""
        return len(ENCODER) - 1

    def _segment(self, image: jax.Array, *, train: bool) -> SegmentationOutput:
        features = self._features(image, train=train)
        last = self._block(self.num_classes, "last", kernel_size=5)(features[0], train)
        return segmentation_heads(
            [last, *features[1:]],
            num_classes=self.num_classes,
            deep_supervision=self.deep_supervision,
        )

    def _features(self, image: jax.Array, *, train: bool) -> list[jax.Array]:
        if self.base_width % image.shape[-1]:
            raise InputError(
                f"base_width {self.base_width} is not a multiple of the image's "
                f"{image.shape[-1]} modalities, which V-Net repeats to as many channels"
            )
        skips = []
        y = jnp.tile(image, self.base_width // image.shape[-1])
        for level, convolutions in enumerate(ENCODER, start=1):
            if level > 1:
                width = self.base_width * 2 ** (level - 1)
                down = self._block(width, f"down{level}", kernel_size=2, strides=2, padding=0)
                y = down(y, train)
            stem = image if level == 1 else y
            y = self._stage(stem, y, convolutions, f"encoder{level}", train)
            skips.append(y)
        found = []
        for level in range(len(DECODER), 0, -1):
            width = self.base_width * 2 ** (level - 1)
            y = UpConv(width, kernel_init=self.kernel_init, dtype=self.dtype, name=f"up{level}")(y)
            y = normalize(
                y,
                self.norm,
                train=train,
                name=f"up{level}_norm",
                groups=self.norm_groups,
                dtype=self.dtype,
            )
            y = PReLU(name=f"up{level}_prelu")(y)
            y = jnp.concatenate([y, skips[level - 1]], axis=-1)
            y = self._stage(y, y, DECODER[level - 1], f"decoder{level}", train)
            found.append(y)
        return found[::-1]

    def _stage(
        self, x: jax.Array, added: jax.Array, convolutions: int, name: str, train: bool
    ) -> jax.Array:
        """Convolutions of ``x``, ``added`` to the last before its activation."""
        for index in range(1, convolutions + 1):
            kind: Activation = "none" if index == convolutions else self.activation
            block = self._block(
                added.shape[-1], f"{name}_block{index}", kernel_size=5, activation=kind
            )
            x = block(x, train)
        return PReLU(name=f"{name}_prelu")(x + added.astype(x.dtype))
