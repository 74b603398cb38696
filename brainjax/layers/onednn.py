"""The oneDNN convolution inside XLA's CPU compiler, called directly.

jaxlib for x86-64 Linux is built with oneDNN, and its CPU compiler accepts the custom
call ``__onednn$convolution``. That call is not a documented interface and a wrong
description ends the process, so it is used only with versions of jaxlib that it was
tested with, and only from here, where shapes and types are checked first.
"""

from __future__ import annotations

import functools
import json
import os
import platform
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import jaxlib.version
from jax import lax

from brainjax.layers.batching import under_vmap
from brainjax.layers.manual_axes import vary_alike
from brainjax.layers.window import Window, crop, depth_to_space, gradient_as_convolution

TESTED_JAXLIB = ("0.10.2", "0.12.0.1")
"""Versions of jaxlib with which the tests of this module were run."""

TARGET = "__onednn$convolution"
CACHE_OPTIONS = (
    "jax_compilation_cache_dir",
    "jax_enable_compilation_cache",
    "jax_persistent_cache_min_compile_time_secs",
)
NEVER_WRITTEN = 1e6
SLAB_BYTES = {2: 2**20, 3: 2**19}  # measured fastest, for images and for volumes


@functools.cache
def unsupported() -> str:
    """Why this machine, jaxlib or set of devices cannot use the call, or an empty string."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return f"it needs Linux on x86-64, not {sys.platform} on {platform.machine()}"
    version = jaxlib.version.__version__
    if version not in TESTED_JAXLIB:
        return f"it was tested with jaxlib {' and '.join(TESTED_JAXLIB)}, not {version}"
    try:
        devices = jax.device_count("cpu")
    except RuntimeError:
        return "this process has no CPU device for JAX"
    if devices > 1:
        return f"it cannot be partitioned over {devices} CPU devices"
    return ""


def unavailable() -> str:
    """Why a program traced now cannot use the call, or an empty string where it can.

    Beside what ``unsupported`` says, XLA must not be asked to serialise the program: it
    takes the call for one of another type and reads beyond it. So the call is not used
    while JAX would write what it compiles to its persistent cache, that is unless
    ``jax_compilation_cache_dir`` is not set, ``jax_enable_compilation_cache`` is off, or
    ``jax_persistent_cache_min_compile_time_secs`` is beyond ``NEVER_WRITTEN`` seconds.
    """
    folder, enabled, threshold = (getattr(jax.config, name) for name in CACHE_OPTIONS)
    if folder and enabled and threshold < NEVER_WRITTEN:
        return unsupported() or "JAX's persistent compilation cache cannot hold it and is on"
    return unsupported()


@functools.cache
def has_bfloat16() -> bool:
    """Whether oneDNN has bfloat16 kernels on this processor (AVX-512 and its parts)."""
    if any(os.environ.get(f"{prefix}_MAX_CPU_ISA") for prefix in ("ONEDNN", "DNNL")):
        return False
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return False
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    return {"avx512f", "avx512bw", "avx512vl", "avx512dq"} <= set(flags)


def supports(window: Window, dtype: jnp.dtype) -> bool:
    """Whether ``forward`` and both gradients can be described to oneDNN."""
    return (
        window.is_ordinary
        and len(window.size) in (2, 3)
        and (dtype == jnp.float32 or (dtype == jnp.bfloat16 and has_bfloat16()))
    )


def forward(window: Window, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolution of ``x`` [B, *size, Cin] with ``kernel`` [*k, Cin, Cout]."""
    return _call(x, kernel, strides=window.strides, padding=window.padding)


def input_gradient(window: Window, g: jax.Array, kernel: jax.Array) -> jax.Array:
    """Gradient [B, *size, Cin] with respect to the input, from ``g`` [B, *output, Cout]."""
    kernel, shifted = gradient_as_convolution(window, kernel)
    parts = _row_parts(window, shifted) if len(window.size) == 2 else []
    if not parts:
        y = _call(g, kernel, strides=shifted.strides, padding=shifted.padding)
        return crop(depth_to_space(y, window.strides), window.size)
    kernel = kernel.reshape(*kernel.shape[:3], window.strides[0], -1)
    rows = [
        _call(
            lax.slice_in_dim(g, max(0, -before), g.shape[1], axis=1),
            kernel[begin:end, :, :, remainder],
            strides=shifted.strides,
            padding=((max(0, before), after), shifted.padding[1]),
        )
        for remainder, (begin, end, before, after) in enumerate(parts)
    ]
    y = jnp.stack(rows, axis=2)
    columns = y.shape[3] * window.strides[1]
    y = y.reshape(y.shape[0], -1, columns, kernel.shape[-1] // window.strides[1])
    return crop(y, window.size)


def _row_parts(window: Window, shifted: Window) -> list[tuple[int, int, int, int]]:
    """How the rows of each remainder follow from their own taps of ``shifted``'s kernel.

    Half the taps of ``gradient_as_convolution`` along an axis are zeros where the
    stride is two, so the remainders of the first axis are convolutions of their own.

    Returns:
      For each remainder the first tap and the one after the last, and the padding before
      and after (negative: rows left out); nothing where one convolution has to do it all.
    """
    step, low = window.strides[0], window.padding[0][0]
    taps, (above, below) = shifted.kernel[0], shifted.padding[0]
    parts = []
    for remainder in range(step):
        places = [remainder + low - step * (tap - above) for tap in range(taps)]
        used = [tap for tap, place in enumerate(places) if 0 <= place < window.kernel[0]]
        if step == 1 or not used:
            return []
        begin, end = used[0], used[-1] + 1
        before, after = above - begin, below - (taps - end)
        if window.output[0] + min(0, before) + min(0, after) <= 0:
            return []
        parts.append((begin, end, before, after))
    return parts


def weight_gradient(window: Window, x: jax.Array, g: jax.Array) -> jax.Array:
    """Gradient [*k, Cin, Cout] with respect to the kernel.

    A convolution whose channels are the columns of the volume: ``x`` with its last two
    axes exchanged is convolved with ``g`` as a kernel as large as a slab, so that the
    outputs are the taps along depth and height. The taps along the width are joined to
    the channels of ``g`` (stride one) or of ``x``. Slabs of few slices stay in the cache.

    Args:
      window: the convolution's geometry.
      x: its input [B, *size, Cin].
      g: gradient of its output [B, *output, Cout].
    """
    if window.is_product:
        return _product_gradient(window, x, g)
    slab_bytes, kernel = SLAB_BYTES[len(window.size)], window.kernel
    if len(window.size) == 2:
        window = Window(
            size=(x.shape[0], *window.size),
            kernel=(1, *window.kernel),
            strides=(1, *window.strides),
            padding=((0, 0), *window.padding),
        )
        x, g = x[None], g[None]
    batch, depth, height, width, _ = g.shape
    taps, step = window.kernel[0], window.strides[0]
    largest = height * width * max(g.shape[-1], x.shape[-1] * window.strides[1])
    most = min(depth, max(1, slab_bytes // (largest * x.dtype.itemsize)))
    slab = next((n for n in range(most, most // 2, -1) if depth % n == 0), most)
    slabs = -(-depth // slab)
    reach = step * (slab - 1) + taps
    low = window.padding[0][0]
    high = max(0, step * slab * (slabs - 1) + reach - low - x.shape[1])
    x = jnp.pad(x, ((0, 0), (low, high), (0, 0), (0, 0), (0, 0)))
    g = jnp.pad(g, ((0, 0), (0, slab * slabs - depth), (0, 0), (0, 0), (0, 0)))

    slices = x.shape[1]
    starts = [n * slices + i * slab * step for n in range(batch) for i in range(slabs)]
    x, g = x.reshape(-1, *x.shape[2:]), g.reshape(-1, slab, *g.shape[2:])

    def product(start: int | jax.Array, g_slab: jax.Array) -> jax.Array:
        return _slab(window, lax.dynamic_slice_in_dim(x, start, reach), g_slab)

    def add(total: jax.Array, each: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        return total + product(*each), None

    if len(starts) == 1:
        total = product(0, g[0])
    else:
        shape = (*window.kernel, x.shape[-1], g.shape[-1])
        zeros = vary_alike(jnp.zeros(shape, jnp.float32), x, g)
        total, _ = lax.scan(add, zeros, (jnp.asarray(starts, jnp.int32), g))
    return total.astype(x.dtype).reshape(*kernel, *total.shape[-2:])


def _product_gradient(window: Window, x: jax.Array, g: jax.Array) -> jax.Array:
    """``weight_gradient`` of a kernel of one voxel, which oneDNN is not faster at."""
    rows = lax.slice(x, (0,) * x.ndim, x.shape, (1, *window.strides, 1)).reshape(-1, x.shape[-1])
    columns = g.reshape(-1, g.shape[-1])
    total = jnp.matmul(rows.T, columns, preferred_element_type=jnp.float32)
    return total.astype(x.dtype).reshape(*window.kernel, *total.shape)


def _slab(window: Window, x: jax.Array, g: jax.Array) -> jax.Array:
    """Weight gradient [*k, Cin, Cout] in float32 of one slab of slices.

    ``x`` is [reach, H, W, Cin] and ``g`` [slab, *output[1:], Cout].
    """
    taps = window.kernel[2]
    step = window.strides[2]
    low, high = window.padding[2]
    width, out = window.size[2], window.output[2]
    if step == 1:
        spread = jnp.pad(g, ((0, 0), (0, 0), (taps - 1 - low, taps - 1 - high), (0, 0)))
        starts = range(taps - 1, -1, -1)
        g = jnp.stack([lax.slice_in_dim(spread, t, t + width, axis=2) for t in starts], 3)
        x = x[:, :, :, None]
    else:
        x = jnp.pad(x, ((0, 0), (0, 0), (low, high), (0, 0)))
        last = step * (out - 1) + 1
        columns = [lax.slice_in_dim(x, t, t + last, step, axis=2) for t in range(taps)]
        x = jnp.stack(columns, 3)
        g = g[:, :, :, None]
    depth, height, length, x_taps, cin = x.shape
    g_taps, cout = g.shape[3:]
    rows = x.reshape(depth, height, length, x_taps * cin).swapaxes(2, 3)
    y = _call(
        rows[None],
        g.reshape(*g.shape[:2], 1, length, g_taps * cout),
        strides=(1, 1, 1),
        padding=((0, 0), (window.padding[1][0], _slack(window, 1)), (0, 0)),
        dilation=(*window.strides[:2], 1),
        dtype=jnp.float32,
    )
    y = y.reshape(*window.kernel[:2], x_taps, cin, g_taps, cout)
    return y.transpose(0, 1, 2, 4, 3, 5).reshape(*window.kernel, cin, cout)


def _slack(window: Window, axis: int) -> int:
    """Padding at the end of an axis that makes the taps the only outputs; may be negative."""
    low = window.padding[axis][0]
    reach = window.strides[axis] * (window.output[axis] - 1) + window.kernel[axis]
    return reach - low - window.size[axis]


def _call(
    x: jax.Array,
    kernel: jax.Array,
    *,
    strides: Sequence[int],
    padding: Sequence[tuple[int, int]],
    dilation: Sequence[int] | None = None,
    dtype: Any = None,
) -> jax.Array:
    """oneDNN's convolution of ``x`` [B, *n, Cin] with ``kernel`` [*k, Cin, Cout].

    The sums are float32; the result is of ``dtype`` (that of ``x``, or float32). Negative
    padding at the end of an axis crops it. Under ``vmap`` an axis that only ``x`` has
    joins its batch; any other is mapped in turn.
    """
    for axis, (_, high) in enumerate(padding, 1):
        if high < 0:
            x = lax.slice_in_dim(x, 0, x.shape[axis] + high, axis=axis)
    emit = functools.partial(
        _emit,
        strides=tuple(strides),
        padding=tuple((low, max(0, high)) for low, high in padding),
        dilation=tuple(dilation or (1,) * len(strides)),
        dtype=jnp.dtype(dtype or x.dtype),
    )

    run = under_vmap(emit, joins=True)
    return vary_alike(run(x, kernel), x, kernel)


def _emit(
    x: jax.Array,
    kernel: jax.Array,
    *,
    strides: tuple[int, ...],
    padding: tuple[tuple[int, int], ...],
    dilation: tuple[int, ...],
    dtype: Any,
) -> jax.Array:
    """Checks a description and puts the custom call into the program.

    Raises:
      ValueError: shapes or types for which oneDNN would end the process.
    """
    rank = len(strides)
    if not (
        rank in (2, 3)
        and x.ndim == kernel.ndim == rank + 2
        and kernel.shape[rank] == x.shape[-1]
        and x.dtype == kernel.dtype
        and (x.dtype == jnp.float32 or (x.dtype == jnp.bfloat16 and has_bfloat16()))
        and dtype in (x.dtype, jnp.float32)
        and len(padding) == len(dilation) == rank
        and min(*x.shape, *kernel.shape, *strides, *dilation) > 0
        and min(min(pair) for pair in padding) >= 0
    ):
        raise ValueError(f"not a convolution for oneDNN: {x.shape} {x.dtype}, {kernel.shape}")
    axes = zip(x.shape[1:-1], kernel.shape[:rank], strides, dilation, padding, strict=True)
    out = [(n + low + high - d * (k - 1) - 1) // s + 1 for n, k, s, d, (low, high) in axes]
    if min(out) <= 0:
        raise ValueError(f"no output: {x.shape}, {kernel.shape}, padding {padding}")

    def text(numbers: Iterable[int]) -> list[str]:
        return [str(n) for n in numbers]

    data = {
        "batch_dim": "0",
        "feature_dim": str(rank + 1),
        "spatial_dims": text(range(1, rank + 1)),
    }
    config = {
        "dims": str(rank + 2),
        "input": {"data": data},
        "output": {"data": data},
        "kernel": {
            "filter": {
                "input_feature_dim": str(rank),
                "output_feature_dim": str(rank + 1),
                "spatial_dims": text(range(rank)),
            }
        },
        "window": {
            "pad_left": text(low for low, _ in padding),
            "pad_right": text(high for _, high in padding),
            "strides": text(strides),
            "window_dilations": text(dilation),
        },
        "feature_groups": "1",
    }
    call = jax.ffi.ffi_call(
        TARGET,
        jax.ShapeDtypeStruct((x.shape[0], *out, kernel.shape[-1]), dtype),
        custom_call_api_version=2,
        legacy_backend_config=json.dumps({"onednn_conv_config": config}),
    )
    return call(x, kernel)
