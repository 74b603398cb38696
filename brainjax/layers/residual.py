"""Residual blocks."""

from __future__ import annotations

from typing import Any, Literal

import flax.linen as nn
import jax

from brainjax.layers.convolution import Conv, add_bias
from brainjax.layers.initialization import uniform_fan_in
from brainjax.layers.normalization import normalize


class ResidualBlock(nn.Module):
    """Norm, ReLU, 3x3x3 convolution, twice, and the input added.

    Attributes:
      norm: ``"group"``, ``"batch"`` or ``"instance"``.
      groups: of group norm.
      dtype: of the computation; statistics are f32 in any case.
    """

    norm: Literal["group", "batch", "instance"] = "group"
    groups: int = 8
    dtype: Any = None

    @nn.compact
    def __call__(
        self, x: jax.Array, train: bool = False, offset: jax.Array | None = None
    ) -> jax.Array:
        """Returns the block's output for ``x`` [B, *spatial, C], of the same shape.

        Args:
          x: the features.
          train: whether batch norm takes the statistics of this batch.
          offset: bias [C] of the layer before, which ``x`` lacks so far.
        """
        y, bias = x, offset
        for index in (1, 2):
            y = normalize(
                y,
                self.norm,
                train=train,
                name=f"norm{index}",
                offset=bias,
                groups=self.groups,
                relu=True,
                dtype=self.dtype,
            )
            conv = Conv(
                x.shape[-1],
                3,
                kernel_init=uniform_fan_in,
                dtype=self.dtype,
                name=f"conv{index}",
            )
            y, bias = conv.without_bias(y)
        if bias is not None and offset is not None:
            bias += offset
        return x + add_bias(y, bias)
