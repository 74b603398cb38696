"""The gate of the Attention U-Net: coarse features decide where finer ones pass."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax

from brainjax.layers.activation import ReLU
from brainjax.layers.conv_block import ConvBlock
from brainjax.layers.convolution import Conv
from brainjax.layers.initialization import uniform_fan_in
from brainjax.layers.normalization import Norm
from brainjax.layers.resampling import interpolate_up


class AttentionGate(nn.Module):
    """Additive attention on a grid (Oktay et al. 2018, equations 1 and 2).

    ``a = sigmoid(psi(relu(theta(x) + phi(g))))`` on the gate's grid, interpolated to that of
    ``x``; the result is ``norm(W(a x))``. As in the authors' code, ``theta`` is a 2x2x2
    convolution with stride 2 without bias, and all keep the channels of ``x``.

    Attributes:
      norm: after ``W``: ``"batch"``, ``"group"``, ``"instance"`` or ``"none"``.
      norm_groups: of group norm.
      dtype: of the computation.
    """

    norm: Norm = "batch"
    norm_groups: int = 8
    dtype: Any = None

    @nn.compact
    def __call__(
        self, x: jax.Array, gate: jax.Array, train: bool = False
    ) -> tuple[jax.Array, jax.Array]:
        """Lets ``x`` pass where the gate says so.

        Args:
          x: features [B, *spatial, C].
          gate: coarser features [B, *spatial / 2, Cg].
          train: whether batch norm takes the statistics of this batch.

        Returns:
          [B, *spatial, C] and the attention a, [B, *spatial, 1], in [0, 1].
        """
        theta = self._conv(x.shape[-1], 2, "theta", strides=2, padding=0, use_bias=False)(x)
        joined = ReLU()(theta + self._conv(x.shape[-1], 1, "phi")(gate))
        attention = interpolate_up(nn.sigmoid(self._conv(1, 1, "psi")(joined)), 2)
        weighted = jax.numpy.broadcast_to(attention, x.shape) * x
        passed = ConvBlock(
            x.shape[-1],
            1,
            norm=self.norm,
            norm_groups=self.norm_groups,
            activation="none",
            dtype=self.dtype,
            name="w",
        )(weighted, train)
        return passed, attention

    def _conv(self, features: int, size: int, name: str, **options: Any) -> Conv:
        return Conv(
            features,
            size,
            kernel_init=uniform_fan_in,
            dtype=self.dtype,
            name=name,
            **options,
        )
