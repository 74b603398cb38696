"""Whether probabilities mean what they say, and one temperature to mend them.

Guo et al., "On calibration of modern neural networks", ICML 2017.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy
from scipy.special import log_softmax, softmax

from brainjax.errors import InputError
from brainjax.evaluation.probabilities import check_labels, check_probabilities
from brainjax.evaluation.ranking import divide

MIN_TEMPERATURE = 0.05
MAX_TEMPERATURE = 100.0
LOG_OF_ZERO = -104.0  # log of less than the smallest float32


@dataclass(frozen=True, kw_only=True, eq=False)
class ReliabilityBins:
    """Cases sorted into bins by the probability of the class that was predicted.

    Attributes:
      edges: limits of the bins ``[bins + 1]``, from 0 to 1; a bin holds its upper
        limit and not its lower one.
      counts: cases per bin ``[bins]``.
      confidence: mean probability of the predicted class ``[bins]``, NaN where
        there is no case.
      accuracy: share of right predictions ``[bins]``, NaN likewise.
    """

    edges: np.ndarray
    counts: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray

    @property
    def expected_calibration_error(self) -> float:
        """Mean of |accuracy - confidence| over the bins, weighted by their cases."""
        gaps = np.abs(self.accuracy - self.confidence)
        filled = self.counts > 0
        return float(np.average(gaps[filled], weights=self.counts[filled]))


def reliability_bins(
    probabilities: np.ndarray, labels: np.ndarray, bins: int = 15
) -> ReliabilityBins:
    """Sorts cases into bins of equal width by their highest probability.

    Args:
      probabilities: floats ``[n, K]`` whose rows sum to 1.
      labels: integer classes ``[n]``.
      bins: number of bins.

    Raises:
      InputError: the input cannot be scored, or there is no bin.
    """
    probabilities = check_probabilities(probabilities, labels)
    right = probabilities.argmax(axis=1) == labels
    return event_reliability(probabilities.max(axis=1), right, bins)


def event_reliability(
    confidence: np.ndarray, happened: np.ndarray, bins: int = 15
) -> ReliabilityBins:
    """Sorts forecasts of one event into bins of equal width by their probability.

    Args:
      confidence: forecast probabilities ``[n]`` from 0 to 1.
      happened: whether the event came, booleans ``[n]``.
      bins: number of bins.

    Returns:
      The bins; their ``accuracy`` is the share of events that came.

    Raises:
      InputError: there is no bin.

    >>> event_reliability(np.array([0.2, 0.4, 0.9]), np.array([False, True, True]), bins=2).accuracy
    array([0.5, 1. ])
    """
    if bins < 1:
        raise InputError(f"bins: expected at least 1, found {bins}")
    confidence = np.asarray(confidence, np.float64)
    right = np.asarray(happened, np.float64)
    edges = np.linspace(0.0, 1.0, bins + 1)
    place = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    counts = np.bincount(place, minlength=bins)
    return ReliabilityBins(
        edges=edges,
        counts=counts,
        confidence=divide(np.bincount(place, confidence, bins), counts),
        accuracy=divide(np.bincount(place, right, bins), counts),
    )


def expected_calibration_error(
    probabilities: np.ndarray, labels: np.ndarray, bins: int = 15
) -> float:
    """Expected calibration error (ECE) of the predicted class, from 0 to 1.

    Args:
      probabilities: floats ``[n, K]`` whose rows sum to 1.
      labels: integer classes ``[n]``.
      bins: number of bins of equal width.

    Raises:
      InputError: the input cannot be scored, or there is no bin.

    Two cases at 0.9, one of them right, are off by 0.4:

    >>> expected_calibration_error(np.array([[0.9, 0.1], [0.9, 0.1]]), np.array([0, 1]))
    0.4
    """
    return reliability_bins(probabilities, labels, bins).expected_calibration_error


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Finds the T that makes softmax(logits / T) most likely, on data held out of training.

    The negative log-likelihood is convex in 1 / T, so that one bounded search
    over T in 0.05..100 finds it. T is 1 where the data say nothing: every case
    right (the likelihood then grows without end as T falls to 0), or rows whose
    logits do not differ.

    Args:
      logits: floats ``[n, K]``; log-probabilities do as well, minus infinity among
        them.
      labels: integer classes ``[n]``.

    Returns:
      T; above 1 where the classifier was too sure of itself.

    Raises:
      InputError: the shapes do not fit, a logit is NaN or infinite, or a label is
        out of range.
    """
    logits = _check_logits(logits)
    check_labels(labels, *logits.shape)
    rows = np.arange(len(logits))
    if np.all(logits[rows, labels] == logits.max(axis=1)):
        return 1.0

    def cost(log_temperature: float) -> float:
        scaled = log_softmax(logits / math.exp(log_temperature), axis=1)
        return -float(np.mean(scaled[rows, labels]))

    found = scipy.optimize.minimize_scalar(
        cost,
        bounds=(math.log(MIN_TEMPERATURE), math.log(MAX_TEMPERATURE)),
        method="bounded",
        options={"xatol": 1e-7},
    )
    return math.exp(found.x)


def apply_temperature(logits: np.ndarray, temperature: float) -> np.ndarray:
    """Calibrated probabilities, softmax(logits / temperature), float64 ``[n, K]``.

    Args:
      logits: floats ``[n, K]``, logits or log-probabilities.
      temperature: positive number, from ``fit_temperature``.

    Raises:
      InputError: the logits are not ``[n, K]`` numbers, or the temperature is not
        positive.

    >>> apply_temperature(np.log([[0.8, 0.2]]), 2.0)
    array([[0.667, 0.333]])
    """
    if not (math.isfinite(temperature) and temperature > 0):
        raise InputError(f"temperature: expected a positive number, found {temperature}")
    return softmax(_check_logits(logits) / temperature, axis=1)


def scale_probabilities(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Temperature scaling of many probabilities at once, as of a whole volume's voxels.

    Args:
      probabilities: floats ``[..., K]`` that sum to 1.
      temperature: positive number, from ``fit_temperature``.

    Returns:
      float32 ``[..., K]``: p^(1/T), normalised, which is softmax(log p / T).

    >>> scale_probabilities(np.array([0.8, 0.2]), 2.0).round(3).tolist()
    [0.667, 0.333]
    """
    if not (math.isfinite(temperature) and temperature > 0):
        raise InputError(f"temperature: expected a positive number, found {temperature}")
    values = probabilities.astype(np.float32)
    if temperature == 1:
        return values
    largest = values.max(axis=-1, keepdims=True)  # so that no small power underflows to 0 / 0
    powers = (values / largest) ** np.float32(1 / temperature)
    return powers / powers.sum(axis=-1, keepdims=True)


def _check_logits(logits: np.ndarray) -> np.ndarray:
    """Logits as float64 with the row's maximum at 0 and nothing infinite."""
    logits = np.asarray(logits)
    if logits.ndim != 2 or logits.dtype.kind != "f" or 0 in logits.shape:
        raise InputError(
            f"logits: expected floats [cases, classes], found {logits.dtype} {logits.shape}"
        )
    values = logits.astype(np.float64)
    wrong = np.isnan(values).any(axis=1) | ~np.isfinite(values.max(axis=1))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise InputError(
            f"logits: expected finite numbers, found {values[row].tolist()} in row {row}"
        )
    values -= values.max(axis=1, keepdims=True)
    return np.where(np.isinf(values), LOG_OF_ZERO, values)
