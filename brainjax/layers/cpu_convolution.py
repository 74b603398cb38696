"""Convolutions that are fast on a CPU, with their own gradients.

A convolution and its two gradients are each linear in two arguments, and the gradients
of each are again among the three. So each is one function with a custom VJP in terms of
the other two (any order of reverse differentiation works), and has one implementation
for CPUs beside XLA's own for every other platform.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from brainjax.errors import InputError
from brainjax.layers import onednn, plane_convolution
from brainjax.layers.manual_axes import vary_alike
from brainjax.layers.window import Window

SWITCH = "BRAINJAX_CPU_CONV"
CHOICES = ("auto", "sum2d", "plain", "onednn")
DIMENSIONS = {1: ("NWC", "WIO", "NWC"), 2: ("NHWC", "HWIO", "NHWC"), 3: ("NDHWC", "DHWIO", "NDHWC")}


def choose_lowering(window: Window, dtype: Any) -> str:
    """Which lowering a convolution gets on a CPU: ``plain``, ``sum2d`` or ``onednn``.

    The environment variable ``BRAINJAX_CPU_CONV`` is read whenever a convolution is
    traced. ``auto``, the default, takes oneDNN where it is known to be safe, else the
    sum of 2D convolutions (3D) or XLA's own (2D).

    Raises:
      InputError: the variable has an unknown value, or asks for oneDNN where this
        process cannot use it.
    """
    choice = os.environ.get(SWITCH, "auto") or "auto"
    if choice not in CHOICES:
        raise InputError(f"{SWITCH}: expected one of {', '.join(CHOICES)}, found {choice!r}")
    if choice == "onednn" and onednn.unavailable():
        raise InputError(f"{SWITCH}=onednn cannot be used: {onednn.unavailable()}; use auto")
    usable = dtype in (jnp.float32, jnp.bfloat16) and window.is_ordinary
    if choice == "plain" or not usable:
        return "plain"
    if choice != "sum2d" and onednn.supports(window, dtype) and not onednn.unavailable():
        return "onednn"
    return "sum2d" if plane_convolution.supports(window) else "plain"


def plain_forward(window: Window, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """XLA's convolution of ``x`` [B, *size, Cin] with ``kernel`` [*k, Cin, Cout]."""
    return lax.conv_general_dilated(
        x,
        kernel,
        window.strides,
        window.padding,
        dimension_numbers=DIMENSIONS[len(window.size)],
    )


def plain_input_gradient(window: Window, g: jax.Array, kernel: jax.Array) -> jax.Array:
    """XLA's gradient [B, *size, Cin] with respect to the input."""
    x = vary_alike(jnp.zeros((g.shape[0], *window.size, kernel.shape[-2]), g.dtype), g, kernel)
    return jax.linear_transpose(lambda x: plain_forward(window, x, kernel), x)(g)[0]


def plain_weight_gradient(window: Window, x: jax.Array, g: jax.Array) -> jax.Array:
    """XLA's gradient [*k, Cin, Cout] with respect to the kernel."""
    kernel = vary_alike(jnp.zeros((*window.kernel, x.shape[-1], g.shape[-1]), x.dtype), x, g)
    return jax.linear_transpose(lambda kernel: plain_forward(window, x, kernel), kernel)(g)[0]


IMPLEMENTATIONS: dict[str, tuple[Callable[..., jax.Array], ...]] = {
    "plain": (plain_forward, plain_input_gradient, plain_weight_gradient),
    "sum2d": (
        plane_convolution.forward,
        plane_convolution.input_gradient,
        plane_convolution.weight_gradient,
    ),
    "onednn": (onednn.forward, onednn.input_gradient, onednn.weight_gradient),
}


def _run(which: int, window: Window, lowering: str, a: jax.Array, b: jax.Array) -> jax.Array:
    """One of the three functions: the lowering on CPUs, XLA's own elsewhere."""
    return lax.platform_dependent(
        a,
        b,
        cpu=functools.partial(IMPLEMENTATIONS[lowering][which], window),
        default=functools.partial(IMPLEMENTATIONS["plain"][which], window),
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def convolve(window: Window, lowering: str, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolution of ``x`` [B, *size, Cin] with ``kernel`` [*k, Cin, Cout], both of one type.

    Args:
      window: geometry; must be ordinary.
      lowering: a key of ``IMPLEMENTATIONS``, used on CPUs.
      x: input.
      kernel: weights.
    """
    return _run(0, window, lowering, x, kernel)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def input_gradient(window: Window, lowering: str, g: jax.Array, kernel: jax.Array) -> jax.Array:
    """Gradient [B, *size, Cin] of ``sum(g * convolve(x, kernel))`` with respect to ``x``."""
    return _run(1, window, lowering, g, kernel)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def weight_gradient(window: Window, lowering: str, x: jax.Array, g: jax.Array) -> jax.Array:
    """Gradient [*k, Cin, Cout] of ``sum(g * convolve(x, kernel))`` with respect to ``kernel``."""
    return _run(2, window, lowering, x, g)


def _define(
    function: jax.custom_vjp,
    backward: Callable[..., tuple[jax.Array, jax.Array]],
) -> None:
    def forward(window: Window, lowering: str, a: jax.Array, b: jax.Array) -> Any:
        return function(window, lowering, a, b), (a, b)

    function.defvjp(forward, backward)


_define(
    convolve,
    lambda w, how, saved, g: (
        input_gradient(w, how, g, saved[1]),
        weight_gradient(w, how, saved[0], g),
    ),
)
_define(
    input_gradient,
    lambda w, how, saved, x: (convolve(w, how, x, saved[1]), weight_gradient(w, how, x, saved[0])),
)
_define(
    weight_gradient,
    lambda w, how, saved, k: (input_gradient(w, how, saved[1], k), convolve(w, how, saved[0], k)),
)
