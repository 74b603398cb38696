"""Synthetic images for rare classes."""

from __future__ import annotations

import numpy as np

from brainjax.errors import InputError


def oversample(
    images: np.ndarray,
    labels: np.ndarray,
    *,
    ratio: float,
    classes: tuple[int, ...] = (),
    neighbours: int = 5,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Raises rare classes by SMOTE: points between an image and one of its nearest of its class.

    Chawla et al. 2002, by imbalanced-learn. Give it the training part only.

    Args:
      images: uint8 [n, h, w, C].
      labels: int [n].
      ratio: each chosen class is raised to this share of the largest class;
        one that has as many already stays as it is.
      classes: the chosen ones; empty chooses all.
      neighbours: among how many nearest images the other end is drawn.
      seed: another seed, other images.

    Returns:
      The images and labels as given with the synthetic ones appended, in the
      types given.

    Raises:
      InputError: the ratio has no meaning, or a class has too few images.
    """
    if not 0 < ratio <= 1:
        raise InputError(f"smote.ratio: expected a share above 0 and up to 1, found {ratio}")
    if neighbours < 1:
        raise InputError(f"smote.neighbours: expected 1 or more, found {neighbours}")
    present, counts = np.unique(labels, return_counts=True)
    count_of = dict(zip(present.tolist(), counts.tolist(), strict=True))
    wanted = round(ratio * max(count_of.values()))
    targets = {
        label: wanted for label in (classes or tuple(count_of)) if count_of.get(label, 0) < wanted
    }
    for label in targets:
        if count_of.get(label, 0) < 2:
            raise InputError(
                f"smote.classes: expected at least two training images of class {label}, "
                f"found {count_of.get(label, 0)}"
            )
    if not targets:
        return images, labels
    fewest = min(count_of[label] for label in targets)
    synthetic, synthetic_labels = _interpolate(
        np.asarray(images), np.asarray(labels), targets, min(neighbours, fewest - 1), seed
    )
    return np.concatenate([images, synthetic]), np.concatenate([labels, synthetic_labels])


def _interpolate(
    images: np.ndarray, labels: np.ndarray, targets: dict[int, int], neighbours: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Makes what is missing: uint8 [m, h, w, C] and the labels [m]."""
    # imblearn loads scikit-learn, which takes a second that runs without SMOTE need not spend.
    from imblearn.over_sampling import SMOTE

    chosen = np.isin(labels, list(targets))
    points = images[chosen].reshape(int(chosen.sum()), -1).astype(np.float32)
    # SMOTE wants two classes; the rest are not copied, a single point stands for them.
    stand_in = np.zeros((1, points.shape[1]), np.float32)
    smote = SMOTE(sampling_strategy=targets, k_neighbors=neighbours, random_state=seed)
    resampled, resampled_labels = smote.fit_resample(
        np.concatenate([points, stand_in]), np.append(labels[chosen], labels.max() + 1)
    )
    given = len(points) + 1
    synthetic = np.clip(np.rint(resampled[given:]), 0, 255).astype(np.uint8)
    return synthetic.reshape(-1, *images.shape[1:]), resampled_labels[given:].astype(labels.dtype)
