"""What segmentation networks share: heads, the check of the input, and common fields."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from brainjax.errors import InputError
from brainjax.layers.conv_block import Activation, ConvBlock
from brainjax.layers.convolution import Conv
from brainjax.layers.initialization import uniform_fan_in
from brainjax.layers.normalization import Norm
from brainjax.models.outputs import SegmentationOutput


class SegmentationNetwork(nn.Module):
    """A network made of ``ConvBlock``s that halves its input some times and comes back.

    Parameters are f32 whatever the type of the computation, and so are statistics and
    logits. Two or three spatial axes. Subclasses make the features.

    Attributes:
      num_classes: K, channels of the logits.
      base_width: channels at full resolution.
      norm: ``"batch"``, ``"group"``, ``"instance"`` or ``"none"``.
      norm_groups: of group norm; has to divide all widths.
      deep_supervision: whether coarser levels of the decoder get heads too.
      dtype: of the computation, such as ``jnp.bfloat16``.
    """

    num_classes: int = 4
    base_width: int = 32
    norm: Norm = "instance"
    norm_groups: int = 8
    deep_supervision: bool = False
    dtype: Any = None

    activation: ClassVar[Activation] = "relu"
    kernel_init: ClassVar[Callable[..., jax.Array]] = staticmethod(uniform_fan_in)

    @property
    def halvings(self) -> int:
        """How many times each axis is halved."""
        raise NotImplementedError

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool = False) -> SegmentationOutput:
        """Segments ``image``.

        Args:
          image: [B, *spatial, Cin].
          train: lets batch norm take the statistics of this batch.

        Returns:
          Logits [B, *spatial, K], f32, and with deep supervision coarser ones.

        Raises:
          InputError: a spatial axis cannot be halved so often.
        """
        check_spatial_shape(image.shape[1:-1], halvings=self.halvings)
        return self._segment(image, train=train)

    def _segment(self, image: jax.Array, *, train: bool) -> SegmentationOutput:
        """The output for an image whose shape fits."""
        return segmentation_heads(
            self._features(image, train=train),
            num_classes=self.num_classes,
            deep_supervision=self.deep_supervision,
        )

    def _features(self, image: jax.Array, *, train: bool) -> list[jax.Array]:
        """The decoder's features, the finest first."""
        raise NotImplementedError

    def _block(self, features: int, name: str, **options: Any) -> ConvBlock:
        settings: dict[str, Any] = {"activation": self.activation, "norm": self.norm, **options}
        return ConvBlock(
            features,
            norm_groups=self.norm_groups,
            kernel_init=self.kernel_init,
            dtype=self.dtype,
            name=name,
            **settings,
        )


def segmentation_heads(
    features: Sequence[jax.Array], *, num_classes: int, deep_supervision: bool
) -> SegmentationOutput:
    """Makes logits by 1x1x1 convolutions named ``head``, ``head2`` and so on, in f32.

    Args:
      features: of the decoder's levels, [B, *spatial / 2^i, C_i], the finest first.
      num_classes: K.
      deep_supervision: whether the coarser levels get heads too.
    """
    used = features if deep_supervision else features[:1]
    logits = [
        Conv(
            num_classes,
            1,
            kernel_init=uniform_fan_in,
            dtype=jnp.float32,
            name="head" if level == 1 else f"head{level}",
        )(y)
        for level, y in enumerate(used, start=1)
    ]
    return SegmentationOutput(logits=logits[0], coarse_logits=tuple(logits[1:]))


def check_spatial_shape(shape: tuple[int, ...], *, halvings: int) -> None:
    """Refuses spatial shapes that a network cannot halve so many times.

    Raises:
      InputError: names the shape and the nearest smaller one that works.

    >>> check_spatial_shape((96, 128, 128), halvings=3)
    """
    step = 2**halvings
    if any(size % step for size in shape):
        nearest = tuple(max(size // step, 1) * step for size in shape)
        raise InputError(
            f"patch_shape {tuple(shape)} does not divide by {step}: the network halves "
            f"each axis {halvings} times; try {nearest}"
        )
