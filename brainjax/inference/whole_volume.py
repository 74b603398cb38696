"""Whole-volume prediction as in the CGA U-Net paper: pad, run once, crop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from brainjax.errors import InputError
from brainjax.inference.brain_crop import place_in_background, signal_box, whole_box
from brainjax.inference.ensemble import Predict, Variables, averaged_predictor


@dataclass(frozen=True, kw_only=True)
class WholeVolumeOptions:
    """How to predict a volume in one piece.

    Attributes:
      multiple: each axis is padded with zeros at its end up to a multiple of
        this: 8 for a network that halves its input three times, which takes
        BraTS' 155 slices to the paper's 160.
      mirror: average over the eight mirror images.
      crop_to_brain: run only on the brain's box and call the rest background.
        Off as in the paper; it saves time and memory, but every box has its own
        shape and is compiled on its own.
    """

    multiple: int = 8
    mirror: bool = False
    crop_to_brain: bool = False

    def __post_init__(self) -> None:
        if self.multiple < 1:
            raise InputError(
                f"multiple: expected a positive whole number, found {self.multiple}; "
                "use 8 for the CGA U-Net"
            )


def predict_whole_volume(
    predict: Predict,
    variables_list: Sequence[Variables],
    image: np.ndarray,
    options: WholeVolumeOptions | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Predicts class probabilities of a volume in one run of the network.

    Each padded shape is compiled once.

    Args:
      predict: `(variables, [N, d, h, w, C] f32) -> [N, d, h, w, K]` probabilities.
      variables_list: one tree per checkpoint; their probabilities are averaged.
      image: `[D, H, W, C]` float32 or float16, normalised as in training.
      options: see ``WholeVolumeOptions``.
      progress: called with `(1, 1)` at the end.

    Returns:
      Probabilities `[D, H, W, K]`, float32.

    Raises:
      InputError: ``image`` does not have four axes, or there is no checkpoint.
    """
    options = options or WholeVolumeOptions()
    if image.ndim != 4:
        raise InputError(f"image: expected axes [D, H, W, C], found shape {image.shape}")
    shape = (image.shape[0], image.shape[1], image.shape[2])
    box = signal_box(image) if options.crop_to_brain else whole_box(shape)
    predictor = averaged_predictor(predict, variables_list, mirror=options.mirror)
    cropped = image[box]
    d, h, w = cropped.shape[:3]
    padding = [(0, -size % options.multiple) for size in (d, h, w)]
    padded = np.pad(cropped, [*padding, (0, 0)])
    # Waiting for the copy: see ``sliding_window``.
    on_device = jnp.asarray(padded[None], jnp.float32).block_until_ready()
    result = predictor(on_device)  # [1, d', h', w', K]
    probabilities = np.asarray(result)[0, :d, :h, :w]
    if progress:
        progress(1, 1)
    return place_in_background(probabilities, box, shape)
