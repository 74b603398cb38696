"""A 3x3x3 convolution of few channels for NVIDIA GPUs, in Pallas (Triton).

cuDNN's kernels work in tiles of 32 and more output channels, so that at full resolution,
where a network has 16, most of each tile is empty: on an H100 a convolution of 16 channels
takes ten times as long as its memory traffic. Here two neighbouring voxels of a row are
one row of a matrix product: the four input voxels that they see, [4 Cin], times a matrix
[4 Cin, 2 Cout] for each tap along depth and height. A program walks along the depth, and
each plane that it loads goes to the three output planes that see it.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from brainjax.layers import plain_convolution
from brainjax.layers.batching import under_vmap
from brainjax.layers.window import Window

MISSING = ""
try:
    from jax.experimental import pallas as pl
    from jax.experimental.pallas import triton as pallas_triton
except ImportError:
    MISSING = f"Pallas of JAX {jax.__version__} has no Triton"

INPUTS = (4, 8, 16, 32)
OUTPUTS = (8, 16, 32)
WIDEST = 16  # output channels; with more of them cuDNN's tiles are full
TAPS = 3
PAIR = 2  # output voxels in a row of the product
SEEN = PAIR + TAPS - 1  # input voxels that they see


@dataclass(frozen=True, kw_only=True)
class Tiling:
    """How the work is cut.

    Attributes:
      pairs: pairs of voxels in a tile, a power of two.
      planes: that a program of ``forward`` walks along; of ``weight_gradient``, tiles.
      warps: of 32 threads.
      stages: of the loop's software pipeline.
      together: whether a program of ``weight_gradient`` has all taps along the depth, or
        one of them.
    """

    pairs: int
    planes: int
    warps: int
    stages: int
    together: bool = True


FORWARD = {
    4: Tiling(pairs=128, planes=64, warps=4, stages=1),
    8: Tiling(pairs=64, planes=128, warps=4, stages=1),
    16: Tiling(pairs=64, planes=128, warps=4, stages=1),
    32: Tiling(pairs=64, planes=16, warps=4, stages=1),
}
WEIGHT_GRADIENT = {
    4: Tiling(pairs=64, planes=64, warps=4, stages=2),
    8: Tiling(pairs=64, planes=64, warps=8, stages=2),
    16: Tiling(pairs=64, planes=64, warps=8, stages=3),
    32: Tiling(pairs=64, planes=32, warps=8, stages=3, together=False),
}
"""By channels of the input; 4, 16 and 32 measured fastest on an H100."""
ENOUGH = 512  # programs for each of a large GPU's processors to have four


def supports(window: Window, x: jax.Array, features: int) -> bool:
    """Whether the kernels take the convolution of ``x`` to ``features`` channels.

    Args:
      window: its geometry.
      x: input [B, *size, Cin].
      features: channels of the output.
    """
    return (
        x.dtype == jnp.bfloat16
        and window.kernel == (TAPS,) * 3
        and window.strides == (1,) * 3
        and window.padding == ((1, 1),) * 3
        and window.size[2] % PAIR == 0
        and x.shape[-1] in INPUTS
        and features in OUTPUTS
        and x.size // x.shape[-1] * max(x.shape[-1], features) < 2**31
    )


def forward(
    window: Window,
    x: jax.Array,
    kernel: jax.Array,
    *,
    tiling: Tiling | None = None,
    interpret: bool = False,
) -> jax.Array:
    """Convolution of ``x`` [B, D, H, W, Cin] with ``kernel`` [3, 3, 3, Cin, Cout].

    Beyond ``WIDEST`` output channels it is XLA's.
    """
    cin, cout = kernel.shape[-2:]
    if cout > WIDEST:
        return plain_convolution.forward(window, x, kernel)
    depth, height, width = window.size
    pairs = height * width // PAIR
    if tiling is None:
        tiling = FORWARD[cin]
        columns = x.shape[0] * pl.cdiv(pairs, tiling.pairs)
        pieces = max(pl.cdiv(depth, tiling.planes), min(pl.cdiv(ENOUGH, columns), depth // 8))
        tiling = dataclasses.replace(tiling, planes=pl.cdiv(depth, pieces))

    def call(x: jax.Array, matrices: jax.Array) -> jax.Array:
        return pl.pallas_call(
            functools.partial(_forward, size=window.size, tiling=tiling),
            out_shape=_like(x, (x.size // cin * cout,), x.dtype),
            grid=(pl.cdiv(pairs, tiling.pairs), pl.cdiv(depth, tiling.planes), x.shape[0]),
            compiler_params=_compiler_params(tiling),
            interpret=interpret,
            name="convolution",
        )(x.reshape(-1), matrices).reshape(*x.shape[:-1], cout)

    return under_vmap(call, joins=False)(x, _pair_kernel(kernel))


def input_gradient(
    window: Window,
    g: jax.Array,
    kernel: jax.Array,
    *,
    tiling: Tiling | None = None,
    interpret: bool = False,
) -> jax.Array:
    """Gradient [B, D, H, W, Cin] of the input, from ``g`` [B, D, H, W, Cout]."""
    cin = kernel.shape[-2]
    turned = jnp.flip(kernel, (0, 1, 2)).swapaxes(-1, -2)
    if cin < OUTPUTS[0]:
        turned = jnp.pad(turned, (*((0, 0),) * 4, (0, OUTPUTS[0] - cin)))
    return forward(window, g, turned, tiling=tiling, interpret=interpret)[..., :cin]


def weight_gradient(
    window: Window,
    x: jax.Array,
    g: jax.Array,
    *,
    tiling: Tiling | None = None,
    interpret: bool = False,
) -> jax.Array:
    """Gradient [3, 3, 3, Cin, Cout] of the kernel."""
    cin, cout = x.shape[-1], g.shape[-1]
    depth, height, width = window.size
    fitted = tiling or WEIGHT_GRADIENT[cin if cout <= WIDEST else max(cin, cout)]
    tiles = x.shape[0] * depth * pl.cdiv(height * width // PAIR, fitted.pairs)
    groups = 1 if fitted.together else TAPS
    if tiling is None:
        most = pl.cdiv(tiles * groups, ENOUGH)
        fitted = dataclasses.replace(fitted, planes=min(fitted.planes, most))
    parts = (pl.cdiv(tiles, fitted.planes), TAPS, TAPS, SEEN * cin, PAIR * cout)

    def call(x: jax.Array, g: jax.Array) -> jax.Array:
        blocks = pl.pallas_call(
            functools.partial(_weight_gradient, size=x.shape[:4], tiling=fitted),
            out_shape=_like(x, parts, jnp.dtype(jnp.float32)),
            grid=(parts[0], groups),
            compiler_params=_compiler_params(fitted),
            interpret=interpret,
            name="convolution_weight_gradient",
        )(x.reshape(-1), g.reshape(-1))
        return jnp.sum(blocks, axis=0)

    total = under_vmap(call, joins=False)(x, g)
    total = total.reshape(TAPS, TAPS, SEEN, cin, PAIR, cout)
    taps = [sum(total[:, :, tap + voxel, :, voxel] for voxel in range(PAIR)) for tap in range(TAPS)]
    return jnp.stack(taps, axis=2).astype(x.dtype)


def _like(x: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.ShapeDtypeStruct:
    """A result that varies over the same axes of an enclosing ``shard_map`` as ``x``."""
    return jax.ShapeDtypeStruct(
        shape, dtype, manual_axis_type=getattr(jax.typeof(x), "manual_axis_type", None)
    )


def _compiler_params(tiling: Tiling) -> Any:
    return pallas_triton.CompilerParams(num_warps=tiling.warps, num_stages=tiling.stages)


def _pair_kernel(kernel: jax.Array) -> jax.Array:
    """[3, 3, 3, Cin, Cout] to matrices [3, 3, 4 Cin, 2 Cout] that make two voxels at once."""
    padded = [
        jnp.pad(kernel, ((0, 0), (0, 0), (voxel, PAIR - 1 - voxel), (0, 0), (0, 0)))
        for voxel in range(PAIR)
    ]
    both = jnp.stack(padded, axis=4)  # [3, 3, 4, Cin, 2, Cout]
    return both.reshape(TAPS, TAPS, SEEN * kernel.shape[-2], PAIR * kernel.shape[-1])


def _forward(x_ref, w_ref, y_ref, *, size: Sequence[int], tiling: Tiling) -> None:
    """One tile of pairs along ``tiling.planes`` planes of one example."""
    depth, height, width = size
    seen, made = w_ref.shape[2:]
    cin = seen // SEEN
    pairs = width // PAIR
    place = pl.program_id(0) * tiling.pairs + jnp.arange(tiling.pairs)
    first = pl.program_id(1) * tiling.planes
    start = pl.program_id(2) * depth
    row, begin = lax.div(place, pairs), lax.rem(place, pairs) * PAIR - 1
    rows = [_Rows(row + tap - 1, begin, cin, height, width) for tap in range(TAPS)]
    out = place[:, None] * made + jnp.arange(made)[None, :]
    nothing = jnp.zeros((tiling.pairs, made), jnp.float32)
    weights = [[w_ref[tap, other] for other in range(TAPS)] for tap in range(TAPS)]

    def plane(index, sums):
        ending, middle = sums
        beginning = nothing
        at = first + index - 1
        real = (at >= 0) & (at < depth)
        for tap in range(TAPS):
            a = rows[tap].load(x_ref, start + at, real)
            ending += pallas_triton.dot(a, weights[2][tap])
            middle += pallas_triton.dot(a, weights[1][tap])
            beginning += pallas_triton.dot(a, weights[0][tap])
        wanted = (index >= 2) & (at <= depth) & (place < height * pairs)
        pallas_triton.store(
            y_ref.at[(start + at - 1) * (height * pairs * made) + out],
            ending.astype(y_ref.dtype),
            mask=jnp.broadcast_to(wanted[:, None], out.shape),
        )
        return middle, beginning

    lax.fori_loop(0, tiling.planes + 2, plane, (nothing, nothing))


def _weight_gradient(x_ref, g_ref, part_ref, *, size: Sequence[int], tiling: Tiling) -> None:
    """The sum over ``tiling.planes`` tiles, for all taps along the depth or one."""
    batch, depth, height, width = size
    seen, made = part_ref.shape[3:]
    cin = seen // SEEN
    pairs = width // PAIR
    plane_tiles = pl.cdiv(height * pairs, tiling.pairs)
    program, group = pl.program_id(0), pl.program_id(1)
    depth_taps = list(range(TAPS)) if tiling.together else [group]

    def add(index, sums):
        tile = program * tiling.planes + index
        plane = lax.div(tile, plane_tiles)
        at = lax.rem(plane, depth)
        place = lax.rem(tile, plane_tiles) * tiling.pairs + jnp.arange(tiling.pairs)
        real = plane < batch * depth
        row, begin = lax.div(place, pairs), lax.rem(place, pairs) * PAIR - 1
        inside = place < height * pairs
        channel = jnp.arange(made)
        outputs = []
        for tap in depth_taps:
            to = at + 1 - tap
            mask = inside & real & (to >= 0) & (to < depth)
            offset = ((plane - at + to) * (height * pairs) + place) * made
            outputs.append(
                pallas_triton.load(
                    g_ref.at[offset[:, None] + channel[None, :]],
                    mask=jnp.broadcast_to(mask[:, None], (tiling.pairs, made)),
                    other=0.0,
                )
            )
        sums = list(sums)
        for tap in range(TAPS):
            rows = _Rows(row + tap - 1, begin, cin, height, width)
            a = rows.load(x_ref, plane, real & inside)
            for number, g in enumerate(outputs):
                sums[number * TAPS + tap] += pallas_triton.dot(a, g, trans_a=True)
        return tuple(sums)

    nothing = jnp.zeros((seen, made), jnp.float32)
    sums = lax.fori_loop(0, tiling.planes, add, (nothing,) * (TAPS * len(depth_taps)))
    for number, tap in enumerate(depth_taps):
        for other in range(TAPS):
            part_ref[program, tap, other] = sums[number * TAPS + other]


class _Rows:
    """The input voxels that each pair of a tile sees in one row of a plane, [pairs, 4 Cin]."""

    def __init__(self, row: jax.Array, begin: jax.Array, cin: int, height: int, width: int) -> None:
        entry = jnp.arange(SEEN * cin)
        column = begin[:, None] + lax.div(entry, cin)[None, :]
        self._mask = (column >= 0) & (column < width) & ((row >= 0) & (row < height))[:, None]
        self._offset = (row * width + begin)[:, None] * cin + entry[None, :]
        self._plane = height * width * cin

    def load(self, x_ref, plane: jax.Array, real: jax.Array) -> jax.Array:
        """Those of ``plane``; zeros where there is no voxel or not ``real``."""
        real = real if real.ndim == 0 else real[:, None]
        return pallas_triton.load(
            x_ref.at[plane * self._plane + self._offset], mask=self._mask & real, other=0.0
        )
