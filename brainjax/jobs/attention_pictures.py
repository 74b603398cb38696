"""Pictures of a segmentation network's supervised attention on one case."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy

from brainjax.evaluation.bootstrap import auroc_of_ranks
from brainjax.explain.attention import attention_step, channel_variances
from brainjax.inference import (
    SlidingWindowOptions,
    labels_from_probabilities,
    postprocess,
    predict_volume,
    predict_whole_volume,
)
from brainjax.jobs.model_pictures import draw_models, read_case
from brainjax.jobs.predict import check_writable
from brainjax.jobs.predictor import Predictor
from brainjax.models.cga_unet import MASK, CGAUNet
from brainjax.report import CaseExample, LabelOverlay, MapOverlay, save_figure, write_viewer
from brainjax.report.attention_figures import draw_attention_maps, draw_feature_maps
from brainjax.scans import CONVENTIONS, CaseFiles, Volume, write_array, zscore
from brainjax.training import ProgressPrinter

CHANNELS = 5
"""Feature channels that are drawn, those that vary most."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class AttentionMaps:
    """What the attention module does with a case, on the scan's grid.

    Attributes:
      probabilities: of the classes, `[D, H, W, K]`.
      attention: the map S, up-sampled, `[D, H, W, K]`.
      weights: with which prototypes are written back, up-sampled, `[D, H, W, K]`.
      before: chosen feature channels before the update, up-sampled, `[D, H, W, S]`.
      after: the same after it.
      channels: the numbers of the S channels.
    """

    probabilities: np.ndarray
    attention: np.ndarray
    weights: np.ndarray
    before: np.ndarray
    after: np.ndarray
    channels: tuple[int, ...]


def draw_attention_pictures(predictor: Predictor, case: CaseFiles, output: Path) -> list[Path]:
    """Draws the CGA U-Net paper's Figures 4 and 6 to 8 of one case.

    Maps are of the first checkpoint. Beside the pictures lie, on the scan's own grid,
    ``<case>_attention.nii.gz``, ``_attention_weights``, ``_features_before`` and
    ``_features_after`` (4D, a class or a channel each), and ``<case>_attention.html``, a viewer.

    Args:
      predictor: one checkpoint or several, each of which gets a segmentation.
      case: the scan, with its reference where it has one.
      output: the folder to write to.

    Returns:
      The pictures, PNG files; none when the network has no attention.

    Raises:
      InputError: the scan cannot be read, or the folder cannot be written.
    """
    class_names = CONVENTIONS[predictor.label_convention].classes
    model = predictor.experiment.make_model(len(class_names))
    if not isinstance(model, CGAUNet) or not (model.intra or model.inter):
        return []
    check_writable(output)
    volume = read_case(predictor, case)
    maps = find_attention(predictor, model, volume)
    predicted = postprocess(
        labels_from_probabilities(maps.probabilities), predictor.experiment.inference.postprocess
    )
    example = CaseExample(
        case_id=volume.case_id,
        rank="",
        image=volume.image,
        modalities=volume.modalities,
        reference=volume.labels,
        predicted=predicted,
        spacing_mm=volume.spacing_mm,
        scores={},
    )
    aurocs = attention_aurocs(maps.attention, volume, class_names)
    figures = {
        "attention_maps": draw_attention_maps(
            example, maps.attention, maps.weights, class_names, aurocs
        ),
        "feature_maps": draw_feature_maps(example, maps.before, maps.after, maps.channels),
    }
    pictures = []
    for name, figure in figures.items():
        pictures.append(output / f"{volume.case_id}_{name}.png")
        save_figure(pictures[-1], figure)
    members = {
        f"step {step}": dataclasses.replace(predictor, variables=(each,), steps=(step,))
        for each, step in zip(predictor.variables, predictor.steps, strict=True)
    }
    pictures += draw_models(members, volume, output)
    for name, values in (
        ("attention", maps.attention),
        ("attention_weights", maps.weights),
        ("features_before", maps.before),
        ("features_after", maps.after),
    ):
        path = output / f"{volume.case_id}_{name}.nii.gz"
        write_array(path, values, volume.grid, dtype=np.float32)
    _write_attention_viewer(output, volume, predicted, maps, class_names)
    return pictures


def find_attention(predictor: Predictor, model: CGAUNet, volume: Volume) -> AttentionMaps:
    """Runs the first network over a scan and gathers what its attention module does."""
    image = zscore(volume.image, modalities=volume.modalities, case_id=volume.case_id)
    variables = predictor.variables[0]
    labels, _ = dataclasses.replace(predictor, variables=(variables,)).segment(volume)
    patch = patch_around(image, labels > 0, predictor.experiment.batches.patch_shape)
    variances = jax.jit(functools.partial(channel_variances, model=model))(
        variables, jnp.asarray(patch[None])
    )
    channels = tuple(int(number) for number in np.argsort(-np.asarray(variances))[:CHANNELS])
    step = functools.partial(
        attention_step, model=model, mask=MASK[model.variant], channels=channels
    )
    window = dataclasses.replace(predictor.experiment.inference.window, mirror=False)
    slide: Any = (
        predict_volume if isinstance(window, SlidingWindowOptions) else predict_whole_volume
    )
    printer = ProgressPrinter(f"  {volume.case_id}: attention", unit="patches")
    found = slide(step, [variables], image, window, progress=printer)
    classes, chosen = model.num_classes, len(channels)
    ends = np.cumsum([classes, classes, classes, chosen])
    parts = np.split(found, ends, axis=-1)
    return AttentionMaps(
        probabilities=parts[0],
        attention=parts[1],
        weights=parts[2],
        before=parts[3],
        after=parts[4],
        channels=channels,
    )


def patch_around(image: np.ndarray, mask: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Cuts a patch around the middle of a mask, or of the image where the mask is empty.

    Args:
      image: `[D, H, W, C]`.
      mask: bool `[D, H, W]`.
      shape: of the patch; zeros fill it where the image is smaller.

    Returns:
      `[*shape, C]`.

    >>> patch_around(np.arange(8.0).reshape(8, 1, 1, 1), np.arange(8)[:, None, None] > 6,
    ...              (4, 1, 2))[..., 0].tolist()
    [[[4.0, 0.0]], [[5.0, 0.0]], [[6.0, 0.0]], [[7.0, 0.0]]]
    """
    sizes = np.array(image.shape[:3])
    middle = np.argwhere(mask).mean(axis=0) if mask.any() else sizes / 2
    start = np.clip(np.rint(middle - np.array(shape) / 2), 0, np.maximum(sizes - shape, 0))
    box = tuple(slice(int(at), int(at) + size) for at, size in zip(start, shape, strict=True))
    patch = image[box]
    missing = [(0, size - length) for size, length in zip(shape, patch.shape, strict=False)]
    return np.pad(patch, [*missing, (0, 0)])


def attention_aurocs(
    attention: np.ndarray, volume: Volume, class_names: tuple[str, ...]
) -> dict[str, float]:
    """How well each class's attention tells its voxels from others of the brain.

    Returns:
      Class to AUROC, NaN where the reference lacks the class; empty without a reference.
    """
    if volume.labels is None:
        return {}
    brain = (volume.image != 0).any(axis=-1)
    labels = volume.labels[brain]
    return {
        name: float(
            auroc_of_ranks(
                (labels == number)[None], scipy.stats.rankdata(attention[..., number][brain])
            )[0]
        )
        for number, name in enumerate(class_names)
    }


def _write_attention_viewer(
    output: Path,
    volume: Volume,
    predicted: np.ndarray,
    maps: AttentionMaps,
    class_names: tuple[str, ...],
) -> None:
    labels = [LabelOverlay(name="prediction", classes=predicted, class_names=class_names,
                           shown=False)]  # fmt: skip
    if volume.labels is not None:
        labels.append(
            LabelOverlay(
                name="reference", classes=volume.labels, class_names=class_names, outlined=True
            )
        )
    attention = [
        MapOverlay(
            name=f"attention: {name}",
            values=maps.attention[..., number],
            limits=(0.0, 1.0),
            shown=number == 2,
        )
        for number, name in enumerate(class_names)
        if number
    ]
    write_viewer(
        output / f"{volume.case_id}_attention.html",
        volume,
        [*labels, *attention],
        note="Attention maps of the network, up-sampled from an eighth of the scan's grid.",
    )
