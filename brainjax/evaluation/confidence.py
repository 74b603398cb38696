"""How sure a segmentation network is of what it says."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

PAPER_EDGES = (0.0, 0.1, 0.5, 0.9, 1.0)
"""Intervals of the CGA U-Net paper's Figure 8."""


def confidence_shares(
    probabilities: np.ndarray, edges: Sequence[float] | np.ndarray = PAPER_EDGES
) -> np.ndarray:
    """Shares of probabilities in each interval; a border belongs to the interval above it.

    Args:
      probabilities: of any shape, 0 to 1; rounding may leave them a little outside.
      edges: n + 1 borders from 0 to 1.

    Returns:
      float64 [n], summing to 1; NaN without any probability.

    >>> confidence_shares(np.array([0.0, 0.1, 0.95, 1.0])).tolist()
    [0.25, 0.25, 0.0, 0.5]
    """
    clipped = np.clip(probabilities, 0.0, 1.0)
    counts = np.histogram(clipped, bins=np.asarray(edges, clipped.dtype))[0]
    total = counts.sum()
    return counts / total if total else np.full(len(edges) - 1, np.nan)
