"""Which convolutions go to our own kernels on a GPU, with their gradients.

XLA gives convolutions to cuDNN, which is fast from 32 channels on. What
``triton_convolution`` takes is faster there; everything else, and every other kind of GPU,
stays with XLA.
"""

from __future__ import annotations

import functools
import os

import jax

from brainjax.errors import InputError
from brainjax.layers import triton_convolution
from brainjax.layers.manual_axes import batch_parts
from brainjax.layers.window import Window

SWITCH = "BRAINJAX_GPU_CONV"
CHOICES = ("auto", "plain", "triton")
LEAST_CAPABILITY = 8.0  # of NVIDIA's cards, the first with bfloat16


def choose_lowering(window: Window, x: jax.Array, kernel: jax.Array) -> str:
    """Which lowering a convolution gets on a GPU: ``plain`` or ``triton``.

    The environment variable ``BRAINJAX_GPU_CONV`` is read whenever a convolution is traced.
    ``auto``, the default, takes our kernels where they can be used and are faster.

    Raises:
      InputError: the variable has an unknown value, or asks for kernels that this process
        cannot use.
    """
    choice = os.environ.get(SWITCH, "auto") or "auto"
    if choice not in CHOICES:
        raise InputError(f"{SWITCH}: expected one of {', '.join(CHOICES)}, found {choice!r}")
    reason = unavailable()
    if choice == "triton" and reason:
        raise InputError(f"{SWITCH}=triton cannot be used: {reason}; use auto")
    usable = triton_convolution.supports(window, x, kernel.shape[-1])
    return "triton" if usable and choice != "plain" and not reason else "plain"


def unavailable() -> str:
    """Why a program traced now cannot use our kernels, or an empty string where it can."""
    return _unsupported() or _split()


@functools.cache
def _unsupported() -> str:
    """Why this version of JAX or this machine's GPU has no use for the kernels."""
    if triton_convolution.MISSING:
        return triton_convolution.MISSING
    try:
        device = jax.devices("gpu")[0]
    except RuntimeError:
        return "this process has no GPU for JAX"
    capability = str(getattr(device, "compute_capability", ""))
    try:
        new_enough = float(capability) >= LEAST_CAPABILITY
    except ValueError:
        return f"they are for NVIDIA GPUs, not {device.device_kind}"
    if not new_enough:
        return f"they need compute capability {LEAST_CAPABILITY}, not {capability}"
    return ""


def _split() -> str:
    """Why a program over several devices cannot use them: XLA cannot split a call to them."""
    devices = jax.device_count("gpu")
    if devices == 1 or batch_parts() > 1:
        return ""
    return f"under jax.jit they cannot be split over {devices} GPUs (shard_map and pmap can)"
