"""Whether a saliency map points at the tumour: shares, pointing game, AUROC, insertion, deletion.

A map is an array of any number of axes, at least 0 everywhere; a region is a boolean array of
its shape. A map that is the same everywhere points nowhere and scores what chance scores.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import scipy
from scipy.ndimage import distance_transform_edt

from brainjax.evaluation.bootstrap import auroc_of_ranks

Predict = Callable[[np.ndarray], np.ndarray]
"""`predict(images [n, *spatial, C]) -> [n]`, the score of the explained class."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LocalizationScore:
    """How one map points at one region.

    Attributes:
      saliency_share: share of the map's sum that lies in the region.
      area_share: share of the pixels that lie in it.
      ratio: of the two; 1 is chance.
      pointing: 1 where the largest value lies in the region or within the tolerance, else 0;
        of several largest values, the share that does.
      auroc: probability that a pixel of the region has a larger value than one outside.
      finite: whether the map is finite; if not, the scores are NaN.
      flat: whether the map is the same everywhere.
    """

    saliency_share: float
    area_share: float
    ratio: float
    pointing: float
    auroc: float
    finite: bool
    flat: bool


def score_localization(
    saliency: np.ndarray,
    region: np.ndarray,
    *,
    tolerance: float = 0.0,
    spacing: tuple[float, ...] | None = None,
) -> LocalizationScore:
    """Compares a map with the region where the tumour is.

    The pointing game is that of Zhang, Bargal, Lin, Brandt, Shen, Sclaroff: Top-down
    Neural Attention by Excitation Backprop, 2016.

    Args:
      saliency: [*spatial], not negative.
      region: bool [*spatial].
      tolerance: how far from the region the largest value may lie, in the unit of ``spacing``.
      spacing: of the pixels; 1 along each axis when None.

    Raises:
      ValueError: the shapes differ, or the region is empty or the whole image.

    >>> region = np.array([[False, True], [False, False]])
    >>> score = score_localization(np.array([[0.0, 3.0], [1.0, 0.0]]), region)
    >>> score.saliency_share, score.ratio, score.pointing, score.auroc
    (0.75, 3.0, 1.0, 1.0)
    """
    if saliency.shape != region.shape or not 0 < np.count_nonzero(region) < region.size:
        raise ValueError(
            f"a region of {np.count_nonzero(region)} pixels and shape {region.shape} does not fit "
            f"a map of shape {saliency.shape}; expected some pixels inside and some outside"
        )
    area = float(region.mean())
    values = saliency.astype(np.float64)
    if not np.isfinite(values).all():
        nothing = float("nan")
        return LocalizationScore(
            saliency_share=nothing, area_share=area, ratio=nothing, pointing=nothing,
            auroc=nothing, finite=False, flat=False,
        )  # fmt: skip
    flat = bool(values.max() == values.min())
    share = area if flat else float(values[region].sum() / values.sum())
    near = distance_transform_edt(~region, sampling=spacing) <= tolerance
    return LocalizationScore(
        saliency_share=share,
        area_share=area,
        ratio=share / area,
        pointing=float(near[values == values.max()].mean()),
        auroc=float(auroc_of_ranks(region.reshape(1, -1), scipy.stats.rankdata(values.ravel()))[0]),
        finite=True,
        flat=flat,
    )


def centre_map(shape: tuple[int, ...], *, spread: float = 0.25) -> np.ndarray:
    """A Gaussian in the middle, what a map scores that knows where heads lie and nothing else.

    Args:
      shape: of the image.
      spread: standard deviation as a share of each side.

    Returns:
      float64 [*shape], 1 in the middle of odd sides.
    """
    exponent = np.zeros(shape)
    for axis, size in enumerate(shape):
        offset = (np.arange(size) - (size - 1) / 2) / (spread * size)
        exponent = exponent + (offset**2).reshape(-1, *(1,) * (len(shape) - axis - 1))
    return np.exp(-exponent / 2)


def insertion_deletion(
    predict: Predict,
    image: np.ndarray,
    saliency: np.ndarray,
    *,
    deleted: np.ndarray,
    inserted_into: np.ndarray,
    steps: int = 16,
    seed: int = 0,
) -> tuple[float, float]:
    """Areas under the insertion and the deletion curve.

    Pixels are put into a blurred image, or taken out of the image, from the largest value of
    the map to the smallest; of equal ones chance decides. A map that finds what counts has a
    high insertion and a low deletion area. Petsiuk, Das, Saenko: RISE, 2018.

    Args:
      predict: see ``Predict``; called twice, with ``steps + 1`` images.
      image: [*spatial, C].
      saliency: [*spatial].
      deleted: what stands in the place of a pixel taken out, [*spatial, C].
      inserted_into: the image into which pixels are put, [*spatial, C].
      steps: of the curves.
      seed: of the order of equal values.

    Returns:
      Insertion and deletion area, both by the trapezoidal rule over the share of pixels.
    """
    values = np.asarray(saliency, np.float64).ravel()
    chance = np.random.default_rng(seed).random(values.size)
    rank = np.empty(values.size, int)
    rank[np.lexsort((chance, -values))] = np.arange(values.size)
    place = rank.reshape(saliency.shape)
    counts = np.round(np.linspace(0, values.size, steps + 1))
    chosen = place[None] < counts.reshape(-1, *(1,) * saliency.ndim)  # [steps + 1, *spatial]
    areas = []
    for inside, outside in ((image, inserted_into), (deleted, image)):
        scores = predict(np.where(chosen[..., None], inside, outside).astype(image.dtype))
        areas.append(float(np.trapezoid(scores, counts / values.size)))
    return areas[0], areas[1]
