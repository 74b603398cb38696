"""How unsure a segmentation is, voxel by voxel, and how much its makers disagree.

The makers are the checkpoints of an ensemble and, with mirroring, the eight flips of each.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from brainjax.inference.ensemble import CompiledParts, Predict, Variables, compiled_once
from brainjax.inference.mirroring import FLIPS
from brainjax.inference.postprocess import PostprocessOptions
from brainjax.inference.predict import (
    labels_from_prediction,
    normalised_image,
    segmentation_path,
)
from brainjax.inference.sliding_window import SlidingWindowOptions, predict_volume
from brainjax.inference.whole_volume import WholeVolumeOptions, predict_whole_volume
from brainjax.scans.nifti import write_array
from brainjax.scans.scan import Volume

Window = SlidingWindowOptions | WholeVolumeOptions
Progress = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Uncertainty:
    """Two measures from 0 to 1: shares of the logarithm of the number of classes.

    Attributes:
      entropy: of the mean probabilities, float32 ``[D, H, W]``; 1 where all classes are
        equally likely.
      mutual_information: how much of it is disagreement of the makers, float32
        ``[D, H, W]``: the entropy of the mean less the mean entropy; None of a single maker.
    """

    entropy: np.ndarray
    mutual_information: np.ndarray | None


def voxel_entropy(probabilities: np.ndarray) -> np.ndarray:
    """Entropy of probabilities ``[..., K]`` as a share of log K, float32 ``[...]``.

    >>> voxel_entropy(np.array([[0.5, 0.5], [1.0, 0.0]], np.float32))
    array([1., 0.], dtype=float32)
    """
    classes = probabilities.shape[-1]
    total = np.zeros(probabilities.shape[:-1], np.float32)
    for one in range(classes):
        p = probabilities[..., one]
        total -= p * np.log(np.maximum(p, np.finfo(np.float32).tiny))
    return np.clip(total / np.float32(math.log(max(classes, 2))), 0.0, 1.0)


def predict_with_uncertainty(
    predict: Predict,
    variables_list: Sequence[Variables],
    image: np.ndarray,
    options: Window,
    *,
    progress: Progress | None = None,
) -> tuple[np.ndarray, Uncertainty]:
    """Mean probabilities of all makers, and where they are unsure or disagree.

    The probabilities are those that the ordinary prediction gives, but for rounding; only
    one maker's are in memory beside the mean.

    Args:
      predict: `(variables, [N, d, h, w, C] f32) -> [N, d, h, w, K]` probabilities.
      variables_list: one tree per checkpoint.
      image: normalised `[D, H, W, C]`.
      options: with ``mirror``, each flip is a maker of its own.
      progress: called with `(done, in all)` patches of all makers.

    Returns:
      Probabilities `[D, H, W, K]` float32, and their uncertainty.
    """
    total, entropies, count = None, None, 0
    for probabilities in _members(predict, variables_list, image, options, progress):
        entropy = voxel_entropy(probabilities)
        total = probabilities if total is None else total + probabilities
        entropies = entropy if entropies is None else entropies + entropy
        count += 1
    assert total is not None
    assert entropies is not None
    mean = total / np.float32(count)
    entropy = voxel_entropy(mean)
    if count == 1:
        return mean, Uncertainty(entropy=entropy, mutual_information=None)
    information = np.clip(entropy - entropies / np.float32(count), 0.0, entropy)
    return mean, Uncertainty(entropy=entropy, mutual_information=information)


def segment_with_uncertainty(
    volume: Volume,
    predict: Predict,
    variables_list: Sequence[Variables],
    options: Window,
    *,
    modalities: Sequence[str],
    postprocessing: PostprocessOptions | None = None,
    progress: Progress | None = None,
) -> tuple[np.ndarray, np.ndarray, Uncertainty]:
    """``segment_volume`` that also says how unsure it is.

    Args and errors: as there.

    Returns:
      Classes `[D, H, W]` uint8, probabilities `[D, H, W, K]` float32, and the uncertainty.
    """
    image = normalised_image(volume, modalities)
    probabilities, uncertainty = predict_with_uncertainty(
        predict, variables_list, image, options, progress=progress
    )
    labels = labels_from_prediction(volume, probabilities, postprocessing)
    return labels, probabilities, uncertainty


def write_uncertainty(
    directory: str | os.PathLike[str], volume: Volume, uncertainty: Uncertainty
) -> tuple[Path, ...]:
    """Writes ``<case_id>_entropy.nii.gz`` and, of several makers, ``_mutual_information``.

    Raises:
      InputError: the place is taken or cannot be written.
    """
    paths = []
    for name, path in uncertainty_paths(directory, volume).items():
        values = getattr(uncertainty, name)
        if values is not None:
            write_array(path, values, volume.grid, dtype=np.float32)
            paths.append(path)
    return tuple(paths)


def uncertainty_paths(directory: str | os.PathLike[str], volume: Volume) -> dict[str, Path]:
    """Where each measure of a case goes; call it early to learn of places that are taken.

    Raises:
      InputError: something else lies there.
    """
    return {
        name: segmentation_path(directory, volume, name=f"{volume.case_id}_{name}")
        for name in ("entropy", "mutual_information")
    }


def _members(
    predict: Predict,
    variables_list: Sequence[Variables],
    image: np.ndarray,
    options: Window,
    progress: Progress | None,
) -> Iterator[np.ndarray]:
    """Probabilities of each checkpoint and, with mirroring, of each of its flips."""
    flips = FLIPS if options.mirror else FLIPS[:1]
    count = len(flips) * len(variables_list)
    alone = dataclasses.replace(options, mirror=False)
    for number, (variables, axes) in enumerate(
        (variables, axes) for variables in variables_list for axes in flips
    ):
        made: Predict = _flipped(predict) if options.mirror else predict
        turned = np.isin((1, 2, 3), axes)
        member: Any = (variables, turned) if options.mirror else variables
        told = None if progress is None else functools.partial(_told, progress, number, count)
        if isinstance(alone, SlidingWindowOptions):
            yield predict_volume(made, [member], image, alone, progress=told)
        else:
            yield predict_whole_volume(made, [member], image, alone, progress=told)


def _told(progress: Progress, number: int, count: int, done: int, total: int) -> None:
    progress(number * total + done, count * total)


@functools.lru_cache(maxsize=4)
def _flipped(predict: Predict) -> Predict:
    """``predict`` of mirror images; which axes turn is data, so that one program does all."""
    compiled = compiled_once(predict)

    def flipped(member: tuple[Variables, jax.Array], patches: jax.Array) -> jax.Array:
        variables, turned = member
        return _turn(compiled(variables, _turn(patches, turned)), turned)

    return CompiledParts(flipped)


@jax.jit
def _turn(array: jax.Array, turned: jax.Array) -> jax.Array:
    for axis in range(3):
        array = jnp.where(turned[axis], jnp.flip(array, axis + 1), array)
    return array
