"""From a scan to a segmentation on disk, on the scan's own grid."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from brainjax.errors import InputError
from brainjax.inference.ensemble import Predict, Variables
from brainjax.inference.postprocess import (
    PostprocessOptions,
    labels_from_probabilities,
    postprocess,
)
from brainjax.inference.sliding_window import SlidingWindowOptions, predict_volume
from brainjax.inference.whole_volume import WholeVolumeOptions, predict_whole_volume
from brainjax.scans.labels import convention
from brainjax.scans.nifti import read_image, write_array
from brainjax.scans.normalize import zscore
from brainjax.scans.scan import Volume


def segment_volume(
    volume: Volume,
    predict: Predict,
    variables_list: Sequence[Variables],
    options: SlidingWindowOptions | WholeVolumeOptions,
    *,
    modalities: Sequence[str],
    postprocessing: PostprocessOptions | None = None,
    regions: bool = False,
    with_probabilities: bool = False,
    after_normalising: Callable[[np.ndarray], np.ndarray] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Segments one scan: normalises it as the records do, predicts, post-processes.

    Args:
      volume: the scan as read, not normalised.
      predict: `(variables, [N, d, h, w, C] f32) -> [N, d, h, w, K]` probabilities.
      variables_list: one tree per checkpoint; their probabilities are averaged.
      options: sliding window or whole volume.
      modalities: the order of channels that the checkpoint was trained on.
      postprocessing: rules for the labels; none by default. The probabilities
        stay as predicted.
      regions: whether the probabilities are of regions, see ``labels_from_probabilities``.
      with_probabilities: return them too.
      after_normalising: changes the normalised image `[D, H, W, C]` before the network
        gets it.
      progress: called with `(done, in all)` as the prediction goes on.

    Returns:
      Classes `[D, H, W]` uint8, and probabilities `[D, H, W, K]` float32 or None.

    Raises:
      InputError: the scan's modalities are not the checkpoint's, it has no brain,
        or the network returns numbers that are not finite.
    """
    image = normalised_image(volume, modalities)
    if after_normalising is not None:
        image = after_normalising(image)
    if isinstance(options, SlidingWindowOptions):
        probabilities = predict_volume(predict, variables_list, image, options, progress=progress)
    else:
        probabilities = predict_whole_volume(
            predict, variables_list, image, options, progress=progress
        )
    labels = labels_from_prediction(volume, probabilities, postprocessing, regions=regions)
    return labels, probabilities if with_probabilities else None


def normalised_image(volume: Volume, modalities: Sequence[str]) -> np.ndarray:
    """A scan as the network gets it, float32 `[D, H, W, C]`.

    Raises:
      InputError: the scan's modalities are not the checkpoint's, or it has no brain.
    """
    if tuple(volume.modalities) != tuple(modalities):
        raise InputError(
            f"{volume.case_id}: the checkpoint expects the modalities {', '.join(modalities)} in "
            f"this order, found {', '.join(volume.modalities)}; read the scan with the "
            f"checkpoint's modalities"
        )
    return zscore(volume.image, modalities=volume.modalities, case_id=volume.case_id)


def labels_from_prediction(
    volume: Volume,
    probabilities: np.ndarray,
    postprocessing: PostprocessOptions | None,
    *,
    regions: bool = False,
) -> np.ndarray:
    """Classes `[D, H, W]` uint8 of probabilities `[D, H, W, K]`, with the rules for labels.

    Raises:
      InputError: a probability is not finite.
    """
    if not np.isfinite(probabilities).all():
        raise InputError(
            f"{volume.case_id}: the network returned probabilities that are not finite; "
            f"expected numbers: use a checkpoint from before the training diverged"
        )
    labels = labels_from_probabilities(probabilities, regions=regions)
    return postprocess(labels, postprocessing or PostprocessOptions())


def segmentation_path(
    directory: str | os.PathLike[str],
    volume: Volume,
    *,
    name: str | None = None,
    probabilities: bool = False,
) -> Path:
    """Says where a segmentation goes, and refuses a place where something else lies.

    The name is `<case_id>.nii.gz`: what BraTS takes as an upload and, since MSD's
    cases are called after their image, what the Decathlon takes too. Files that
    brainjax wrote before are replaced; scans, reference labels and segmentations
    corrected by hand are not. Call it before predicting to learn of that early.

    Args:
      directory: the folder to write to.
      volume: the scan.
      name: file name instead of the case id, with or without suffix.
      probabilities: the path of the probabilities, `<case_id>_probabilities.nii.gz`.

    Raises:
      InputError: ``name`` is not a plain file name, or the file exists and
        brainjax did not write it.
    """
    name = volume.case_id if name is None else name
    if not name or Path(name).name != name:
        raise InputError(f"name: expected a file name without folders, found {name!r}")
    suffix = next((end for end in (".nii.gz", ".nii") if name.lower().endswith(end)), "")
    stem = name[: len(name) - len(suffix)] + ("_probabilities" if probabilities else "")
    path = Path(directory) / f"{stem}{suffix or '.nii.gz'}"
    if path.exists():
        if any(source.exists() and path.samefile(source) for source in volume.source):
            raise InputError(
                f"{path}: this is a file of the scan itself; choose another output folder"
            )
        if not _is_ours(path, ndim=4 if probabilities else 3):
            raise InputError(
                f"{path}: exists and was not written by brainjax; move it or choose another "
                f"output folder"
            )
    return path


def write_segmentation(
    directory: str | os.PathLike[str],
    volume: Volume,
    labels: np.ndarray,
    *,
    output_convention: str | None = None,
    probabilities: np.ndarray | None = None,
    name: str | None = None,
) -> Path:
    """Writes a segmentation onto the grid of the scan's files, atomically.

    Args:
      directory: the folder to write to; made if needed.
      volume: the scan that was segmented.
      labels: classes `[D, H, W]` uint8.
      output_convention: how to write classes as values; by default as the data
        set that the scan comes from does.
      probabilities: `[D, H, W, K]`, written beside the labels as a 4D float32
        file, in the order of classes or regions, if given.
      name: file name instead of the case id.

    Returns:
      The path of the labels.

    Raises:
      InputError: the convention is unknown or lacks a predicted class, or the
        place is taken or cannot be written.
    """
    path = segmentation_path(directory, volume, name=name)
    values = convention(output_convention or volume.label_convention).from_classes(labels)
    if probabilities is not None:
        beside = segmentation_path(directory, volume, name=name, probabilities=True)
        write_array(beside, probabilities, volume.grid, dtype=np.float32)
    write_array(path, values, volume.grid, dtype=np.uint8)
    return path


def _is_ours(path: Path, *, ndim: int) -> bool:
    try:
        _, grid = read_image(path, ndim=ndim)
    except InputError:
        return False
    return grid.header["descrip"].item() == b"brainjax"
