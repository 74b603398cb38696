"""Sliding-window prediction with Gaussian weights and one accumulation buffer.

The windows of a volume are the product of the windows of its three axes, and the
Gaussian is separable, so the weights can be normalised per axis beforehand: over
all windows that cover a voxel they sum to one. What is added to the buffer is
therefore already the weighted mean; there is no weight volume and no division.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from brainjax.errors import InputError
from brainjax.inference.brain_crop import place_in_background, signal_box, whole_box
from brainjax.inference.ensemble import Predict, Predictor, Variables, averaged_predictor
from brainjax.inference.mirroring import FLIPS

Shape3 = tuple[int, int, int]

# The buffer's axes are rounded up to this, so that the brain boxes of a cohort
# share the compiled gather and scatter. 240 and 160 are multiples: no waste there.
_BUFFER_MULTIPLE = 16

# Patches per step on an accelerator, in voxels: four of 128^3.
_ACCELERATOR_BATCH_VOXELS = 4 * 128**3


@dataclass(frozen=True, kw_only=True)
class SlidingWindowOptions:
    """How to predict a volume patch by patch.

    Attributes:
      patch_shape: `(d, h, w)` voxels, the shape that the network was trained on.
      overlap: share of a patch that neighbouring patches have in common, at least.
      patch_batch: patches per run of the network; 0 chooses 1 on a CPU and as
        many as make four of 128^3 on an accelerator.
      mirror: average over the eight mirror images, at eight times the cost.
      sigma: standard deviation of the Gaussian weight as a share of the patch.
      crop_to_brain: slide over the brain's box only and call everything outside
        it background. Windows then lie differently than over the whole volume,
        so probabilities inside the brain differ slightly too.
    """

    patch_shape: Shape3
    overlap: float = 0.5
    patch_batch: int = 0
    mirror: bool = False
    sigma: float = 0.125
    crop_to_brain: bool = True

    def __post_init__(self) -> None:
        if len(self.patch_shape) != 3 or any(size < 1 for size in self.patch_shape):
            raise InputError(
                f"patch_shape: expected three positive numbers of voxels, found {self.patch_shape}"
            )
        if not 0 <= self.overlap < 1:
            raise InputError(
                f"overlap: expected at least 0 and less than 1, found {self.overlap}; try 0.5"
            )
        if self.patch_batch < 0:
            raise InputError(
                f"patch_batch: expected 0 (automatic) or more, found {self.patch_batch}"
            )
        if self.sigma < 1 / 32:
            raise InputError(
                f"sigma: expected at least 0.03125 of the patch, found {self.sigma}; try 0.125"
            )


@dataclass(frozen=True, kw_only=True)
class PredictionCost:
    """What predicting one volume takes, known before it starts.

    Attributes:
      windows: patches that cover the volume.
      network_patches: patches that the network sees, with flips, checkpoints and
        the filling of the last batch.
      memory_bytes: image, accumulation buffer, patches and their probabilities,
        without the network's own activations.
    """

    windows: int
    network_patches: int
    memory_bytes: int

    def __str__(self) -> str:
        return (
            f"{self.windows} windows, {self.network_patches} patches through the network, "
            f"{self.memory_bytes / 1e9:.2f} GB beside the network's own memory"
        )


def predict_volume(
    predict: Predict,
    variables_list: Sequence[Variables],
    image: np.ndarray,
    options: SlidingWindowOptions,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Predicts class probabilities of a volume with a sliding window.

    Volumes smaller than the patch are padded with zeros on both sides. All runs
    of the network have one shape, so it is compiled once per patch shape,
    whatever the volumes' shapes and however many checkpoints there are.

    Args:
      predict: `(variables, [N, d, h, w, C] f32) -> [N, d, h, w, K]` probabilities.
      variables_list: one tree per checkpoint; their probabilities are averaged.
      image: `[D, H, W, C]` float32 or float16, normalised as in training.
      options: see ``SlidingWindowOptions``.
      progress: called with `(windows done, windows in all)` after every batch.

    Returns:
      Probabilities `[D, H, W, K]`, float32.

    Raises:
      InputError: ``image`` does not have four axes, or there is no checkpoint.
    """
    if image.ndim != 4:
        raise InputError(f"image: expected axes [D, H, W, C], found shape {image.shape}")
    shape = (image.shape[0], image.shape[1], image.shape[2])
    box = signal_box(image) if options.crop_to_brain else whole_box(shape)
    predictor = averaged_predictor(predict, variables_list, mirror=options.mirror)
    probabilities = _slide(predictor, image[box], options, progress)
    return place_in_background(probabilities, box, shape)


def estimate_cost(
    shape: Shape3,
    options: SlidingWindowOptions,
    *,
    channels: int,
    classes: int,
    checkpoints: int = 1,
) -> PredictionCost:
    """Says what ``predict_volume`` will take for a volume (or brain box) of ``shape``.

    >>> options = SlidingWindowOptions(patch_shape=(128, 128, 128), patch_batch=1)
    >>> print(estimate_cost((240, 240, 155), options, channels=4, classes=4))
    18 windows, 18 patches through the network, 0.50 GB beside the network's own memory
    """
    patch, batch = options.patch_shape, _patch_batch(options)
    starts = [window_starts(*each, options.overlap) for each in zip(shape, patch, strict=True)]
    windows = math.prod(len(each) for each in starts)
    flips = len(FLIPS) if options.mirror else 1
    buffer_voxels = math.prod(_buffer_shape(shape, patch))
    # Patches and probabilities are there once, and once more while they are averaged.
    copies = 2 if options.mirror or checkpoints > 1 else 1
    patch_voxels = copies * batch * math.prod(patch)
    voxels = (buffer_voxels + patch_voxels) * (channels + classes) + math.prod(shape) * classes
    return PredictionCost(
        windows=windows,
        network_patches=math.ceil(windows / batch) * batch * flips * checkpoints,
        memory_bytes=4 * voxels,
    )


def window_starts(size: int, patch: int, overlap: float) -> tuple[int, ...]:
    """Places the fewest windows on one axis that cover it with at least ``overlap``.

    They are spread evenly; the first starts at 0 and the last ends at ``size``.

    >>> window_starts(240, 128, 0.5)
    (0, 56, 112)
    >>> window_starts(55, 64, 0.5)
    (0,)
    """
    if size <= patch:
        return (0,)
    step = max(1.0, patch * (1 - overlap))
    count = math.ceil(round((size - patch) / step, 6)) + 1
    return tuple(int(start) for start in np.rint(np.linspace(0, size - patch, count)))


def axis_weights(starts: Sequence[int], size: int, patch: int, sigma: float) -> np.ndarray:
    """Returns each window's Gaussian weight on one axis, normalised over the windows.

    Args:
      starts: first voxel of each window; together they cover the axis.
      size: length of the axis, at least ``patch``.
      patch: length of a window.
      sigma: standard deviation as a share of ``patch``.

    Returns:
      `[windows, patch]` float32; at every voxel of the axis the weights of the
      windows over it sum to 1.

    >>> axis_weights((0, 2), size=4, patch=2, sigma=0.125)
    array([[1., 1.],
           [1., 1.]], dtype=float32)
    """
    offset = np.arange(patch) - (patch - 1) / 2
    gaussian = np.exp(-0.5 * (offset / (sigma * patch)) ** 2)  # [patch]
    total = np.zeros(size)
    for start in starts:
        total[start : start + patch] += gaussian
    weights = [gaussian / total[start : start + patch] for start in starts]
    return np.stack(weights).astype(np.float32)


def _slide(
    predictor: Predictor,
    image: np.ndarray,
    options: SlidingWindowOptions,
    progress: Callable[[int, int], None] | None,
) -> np.ndarray:
    """Returns the probabilities `[D, H, W, K]` of all of ``image`` `[D, H, W, C]`."""
    patch, batch = options.patch_shape, _patch_batch(options)
    shape = (image.shape[0], image.shape[1], image.shape[2])
    before = [max(0, size - length) // 2 for size, length in zip(patch, shape, strict=True)]
    buffer_shape = _buffer_shape(shape, patch)
    padded = np.zeros((*buffer_shape, image.shape[-1]), image.dtype)
    inside = tuple(slice(b, b + n) for b, n in zip(before, shape, strict=True))
    padded[inside] = image

    extent = [max(size, length) for size, length in zip(patch, shape, strict=True)]
    per_axis = [window_starts(*each, options.overlap) for each in zip(extent, patch, strict=True)]
    weights = [
        axis_weights(starts, size, length, options.sigma)
        for starts, size, length in zip(per_axis, extent, patch, strict=True)
    ]
    windows = list(itertools.product(*(range(len(starts)) for starts in per_axis)))

    # Waiting for the copy: on a CPU, windows of an unfinished one would be predicted in
    # another thread, whose memory is not kept.
    on_device = jnp.asarray(padded).block_until_ready()
    buffer: jax.Array | None = None
    for first in range(0, len(windows), batch):
        chosen = windows[first : first + batch]
        # The last batch is filled with window 0 at weight 0, so that no shape changes.
        index = np.array(chosen + [windows[0]] * (batch - len(chosen)))  # [N, 3]
        starts = np.stack([np.take(per_axis[a], index[:, a]) for a in range(3)], axis=1)
        batch_weights = [weights[a][index[:, a]] for a in range(3)]  # 3 of [N, patch]
        batch_weights[0][len(chosen) :] = 0
        probabilities = predictor(_take_patches(on_device, starts, patch))
        if buffer is None:
            buffer = jnp.zeros((*buffer_shape, probabilities.shape[-1]), jnp.float32)
        buffer = _add_patches(buffer, probabilities, starts, batch_weights)
        # Waiting keeps the queue at one batch: without it the patches of all
        # coming batches may be alive at once.
        probabilities.block_until_ready()
        if progress:
            progress(first + len(chosen), len(windows))
    return np.asarray(buffer)[inside]


@functools.partial(jax.jit, static_argnames="patch")
def _take_patches(image: jax.Array, starts: jax.Array, patch: Shape3) -> jax.Array:
    """Cuts patches `[N, d, h, w, C]` float32 out of ``image`` `[D, H, W, C]`."""

    def take(start: jax.Array) -> jax.Array:
        corner = (start[0], start[1], start[2], 0)
        return jax.lax.dynamic_slice(image, corner, (*patch, image.shape[-1]))

    return jax.vmap(take)(starts).astype(jnp.float32)


@functools.partial(jax.jit, donate_argnames="buffer")
def _add_patches(
    buffer: jax.Array, probabilities: jax.Array, starts: jax.Array, weights: list[jax.Array]
) -> jax.Array:
    """Adds weighted ``probabilities`` `[N, d, h, w, K]` to ``buffer`` in place."""

    def add(i: jax.Array, buffer: jax.Array) -> jax.Array:
        weighted = probabilities[i]
        for axis in range(3):
            shape = [1, 1, 1, 1]
            shape[axis] = -1
            weighted = weighted * weights[axis][i].reshape(shape)
        corner = (starts[i, 0], starts[i, 1], starts[i, 2], 0)
        there = jax.lax.dynamic_slice(buffer, corner, weighted.shape)
        return jax.lax.dynamic_update_slice(buffer, there + weighted, corner)

    return jax.lax.fori_loop(0, probabilities.shape[0], add, buffer)


def _patch_batch(options: SlidingWindowOptions) -> int:
    return options.patch_batch or automatic_patch_batch(options.patch_shape)


def automatic_patch_batch(patch_shape: Shape3) -> int:
    """Patches per run of the network on one device where nothing is asked for."""
    if jax.default_backend() == "cpu":
        return 1
    return max(1, _ACCELERATOR_BATCH_VOXELS // math.prod(patch_shape))


def _buffer_shape(shape: Shape3, patch: Shape3) -> Shape3:
    d, h, w = (
        size if length <= size else -(-length // _BUFFER_MULTIPLE) * _BUFFER_MULTIPLE
        for size, length in zip(patch, shape, strict=True)
    )
    return (d, h, w)
