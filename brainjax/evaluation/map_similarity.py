"""How alike two saliency maps are."""

from __future__ import annotations

import numpy as np
import scipy
from scipy.ndimage import gaussian_filter


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's rank correlation of the values of two maps of one shape; NaN of a flat one.

    >>> rank_correlation(np.array([1.0, 2.0, 3.0]), np.array([10.0, 20.0, 15.0]))
    0.5
    """
    a, b = (scipy.stats.rankdata(one.ravel()) for one in (first, second))
    a, b = a - a.mean(), b - b.mean()
    scale = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / scale) if scale > 0 else float("nan")


def structural_similarity(first: np.ndarray, second: np.ndarray, *, sigma: float = 1.5) -> float:
    """SSIM of two maps, each scaled to 0..1 by its largest value, under a Gaussian window.

    ``(2 m1 m2 + C1)(2 s12 + C2) / ((m1^2 + m2^2 + C1)(s1^2 + s2^2 + C2))`` averaged over the
    map, C1 = 0.01^2, C2 = 0.03^2. Wang, Bovik, Sheikh, Simoncelli: Image Quality
    Assessment, 2004.

    Args:
      first: [*spatial], not negative.
      second: likewise.
      sigma: of the window, in pixels.

    Returns:
      From -1 to 1, 1 for equal maps; NaN where a map is 0 everywhere or not finite.
    """
    peaks = [float(one.max()) for one in (first, second)]
    if not all(np.isfinite(one).all() for one in (first, second)) or min(peaks) <= 0:
        return float("nan")
    a, b = first.astype(np.float64) / peaks[0], second.astype(np.float64) / peaks[1]
    mean_a, mean_b = gaussian_filter(a, sigma), gaussian_filter(b, sigma)
    var_a = gaussian_filter(a * a, sigma) - mean_a**2
    var_b = gaussian_filter(b * b, sigma) - mean_b**2
    covariance = gaussian_filter(a * b, sigma) - mean_a * mean_b
    one, two = 0.01**2, 0.03**2
    similarity = (2 * mean_a * mean_b + one) * (2 * covariance + two)
    similarity /= (mean_a**2 + mean_b**2 + one) * (var_a + var_b + two)
    return float(similarity.mean())
