"""A convolution with its norm and activation, the unit that most networks repeat."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from brainjax.layers.convolution import Conv
from brainjax.layers.initialization import uniform_fan_in
from brainjax.layers.normalization import Norm, normalize

Activation = Literal["relu", "leaky_relu", "prelu", "none"]

LEAKY_SLOPE = 0.01
PRELU_SLOPE = 0.25  # where training starts, as in He et al. 2015


class PReLU(nn.Module):
    """Parametric ReLU (He et al. 2015): ``max(x, 0) + slope min(x, 0)``, a slope per channel."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns ``x`` [B, *spatial, C] with its negative part scaled."""
        start = nn.initializers.constant(PRELU_SLOPE)
        slope = self.param("slope", start, (x.shape[-1],), jnp.float32)
        return jnp.where(x >= 0, x, jnp.broadcast_to(slope.astype(x.dtype), x.shape) * x)


class ConvBlock(nn.Module):
    """Convolution, norm, activation.

    Attributes:
      features: channels of the output.
      kernel_size: of every axis.
      strides: of every axis.
      padding: zeros on both sides of every axis; ``kernel_size // 2`` by default.
      norm: ``"batch"``, ``"group"``, ``"instance"`` or ``"none"``.
      norm_groups: of group norm.
      activation: ``"relu"``, ``"leaky_relu"`` (slope 0.01), ``"prelu"`` or ``"none"``.
      use_bias: of the convolution.
      kernel_init: initial values of the kernel.
      dtype: of the computation; statistics are f32 in any case.
    """

    features: int
    kernel_size: int = 3
    strides: int = 1
    padding: int | None = None
    norm: Norm = "instance"
    norm_groups: int = 8
    activation: Activation = "relu"
    use_bias: bool = True
    kernel_init: Callable[..., jax.Array] = uniform_fan_in
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Takes ``x`` [B, *spatial, Cin] to [B, *out, features].

        Args:
          x: the features.
          train: whether batch norm takes the statistics of this batch.

        Raises:
          ValueError: an unknown norm or activation.
        """
        if self.activation not in ("relu", "leaky_relu", "prelu", "none"):
            raise ValueError(
                f"activation is 'relu', 'leaky_relu', 'prelu' or 'none', not {self.activation!r}"
            )
        conv = Conv(
            self.features,
            self.kernel_size,
            strides=self.strides,
            padding=self.padding,
            use_bias=self.use_bias,
            kernel_init=self.kernel_init,
            dtype=self.dtype,
            name="conv",
        )
        y, bias = conv.without_bias(x)
        y = normalize(
            y,
            self.norm,
            train=train,
            name="norm",
            offset=bias,
            groups=self.norm_groups,
            relu=self.activation in ("relu", "leaky_relu"),
            negative_slope=LEAKY_SLOPE if self.activation == "leaky_relu" else 0.0,
            dtype=self.dtype,
        )
        return PReLU(name="prelu")(y) if self.activation == "prelu" else y
