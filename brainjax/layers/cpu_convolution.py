"""Which way a convolution is worked out on a CPU."""

from __future__ import annotations

import os
from typing import Any

import jax.numpy as jnp

from brainjax.errors import InputError
from brainjax.layers import onednn, plane_convolution, winograd_convolution
from brainjax.layers.window import Window

SWITCH = "BRAINJAX_CPU_CONV"
CHOICES = ("auto", "sum2d", "plain", "onednn")


def choose_lowering(window: Window, dtype: Any) -> str:
    """Which lowering a convolution gets on a CPU, a key of ``lowered_convolution``.

    The environment variable ``BRAINJAX_CPU_CONV`` is read whenever a convolution is
    traced. ``auto``, the default, takes oneDNN where it is known to be safe (``winograd``
    where that may save multiplications, see there), else the sum of 2D convolutions (3D)
    or XLA's own (2D). ``onednn`` is oneDNN's plain sum.

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
        saves = choice == "auto" and winograd_convolution.supports(window, dtype)
        return "winograd" if saves else "onednn"
    return "sum2d" if plane_convolution.supports(window) else "plain"
