"""Convolutions in other ways than XLA's, with their own gradients.

A convolution and its two gradients are each linear in two arguments, and the gradients
of each are again among the three. So each is one function with a custom VJP in terms of
the other two (any order of reverse differentiation works), and each lowering implements
the three for one platform; every other platform gets XLA's own.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
from jax import lax

from brainjax.layers import (
    onednn,
    plain_convolution,
    plane_convolution,
    triton_convolution,
    winograd_convolution,
)
from brainjax.layers.window import Window

IMPLEMENTATIONS: dict[str, tuple[Callable[..., jax.Array], ...]] = {
    "plain": (
        plain_convolution.forward,
        plain_convolution.input_gradient,
        plain_convolution.weight_gradient,
    ),
    "sum2d": (
        plane_convolution.forward,
        plane_convolution.input_gradient,
        plane_convolution.weight_gradient,
    ),
    "onednn": (onednn.forward, onednn.input_gradient, onednn.weight_gradient),
    "winograd": (
        winograd_convolution.forward,
        winograd_convolution.input_gradient,
        winograd_convolution.weight_gradient,
    ),
    "triton": (
        triton_convolution.forward,
        triton_convolution.input_gradient,
        triton_convolution.weight_gradient,
    ),
}
PLATFORM = {name: "cuda" if name == "triton" else "cpu" for name in IMPLEMENTATIONS}


def _run(which: int, window: Window, lowering: str, a: jax.Array, b: jax.Array) -> jax.Array:
    """One of the three functions: the lowering on its platform, XLA's own elsewhere."""
    chosen = functools.partial(IMPLEMENTATIONS[lowering][which], window)
    plain = functools.partial(IMPLEMENTATIONS["plain"][which], window)
    return lax.platform_dependent(a, b, default=plain, **{PLATFORM[lowering]: chosen})


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def convolve(window: Window, lowering: str, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolution of ``x`` [B, *size, Cin] with ``kernel`` [*k, Cin, Cout], both of one type.

    Args:
      window: geometry; must be ordinary.
      lowering: a key of ``IMPLEMENTATIONS``, used on its platform.
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
