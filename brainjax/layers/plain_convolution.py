"""XLA's own convolution and its two gradients."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from brainjax.layers.manual_axes import vary_alike
from brainjax.layers.window import Window

DIMENSIONS = {1: ("NWC", "WIO", "NWC"), 2: ("NHWC", "HWIO", "NHWC"), 3: ("NDHWC", "DHWIO", "NDHWC")}


def forward(window: Window, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """XLA's convolution of ``x`` [B, *size, Cin] with ``kernel`` [*k, Cin, Cout]."""
    return lax.conv_general_dilated(
        x,
        kernel,
        window.strides,
        window.padding,
        dimension_numbers=DIMENSIONS[len(window.size)],
    )


def input_gradient(window: Window, g: jax.Array, kernel: jax.Array) -> jax.Array:
    """XLA's gradient [B, *size, Cin] with respect to the input."""
    x = vary_alike(jnp.zeros((g.shape[0], *window.size, kernel.shape[-2]), g.dtype), g, kernel)
    return jax.linear_transpose(lambda x: forward(window, x, kernel), x)(g)[0]


def weight_gradient(window: Window, x: jax.Array, g: jax.Array) -> jax.Array:
    """XLA's gradient [*k, Cin, Cout] with respect to the kernel."""
    kernel = vary_alike(jnp.zeros((*window.kernel, x.shape[-1], g.shape[-1]), x.dtype), x, g)
    return jax.linear_transpose(lambda kernel: forward(window, x, kernel), kernel)(g)[0]
