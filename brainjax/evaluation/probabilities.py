"""What every score of a classifier asks of its input, checked in one place."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from brainjax.errors import InputError

AVERAGES = ("macro", "weighted")
SUM_TOLERANCE = 1e-3
RANGE_TOLERANCE = 1e-6


def check_probabilities(
    probabilities: np.ndarray, labels: np.ndarray | None = None, *, where: str = "probabilities"
) -> np.ndarray:
    """Checks probabilities, and the labels that belong to them.

    Args:
      probabilities: floats ``[n, K]`` whose rows sum to 1 (within 0.001).
      labels: integer classes ``[n]`` from 0 to K-1; None: there are none.
      where: what messages call the array, such as the file it comes from.

    Returns:
      The probabilities as float64, clipped to 0..1.

    Raises:
      InputError: a shape, a type, a row or a label is wrong.
    """
    probabilities = np.asarray(probabilities)
    if probabilities.ndim != 2 or probabilities.dtype.kind != "f":
        raise InputError(
            f"{where}: expected floats [cases, classes], "
            f"found {probabilities.dtype} {probabilities.shape}"
        )
    if 0 in probabilities.shape:
        raise InputError(
            f"{where}: expected at least one case and one class, found {probabilities.shape}"
        )
    values = probabilities.astype(np.float64)
    finite = np.isfinite(values).all(axis=1)
    if not finite.all():
        row = int(np.argmin(finite))
        raise InputError(
            f"{where}: expected finite numbers, found {values[row].tolist()} in row {row}; "
            f"has the training diverged?"
        )
    inside = (values >= -RANGE_TOLERANCE) & (values <= 1 + RANGE_TOLERANCE)
    wrong = ~inside.all(axis=1) | (np.abs(values.sum(axis=1) - 1) > SUM_TOLERANCE)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise InputError(
            f"{where}: expected rows of numbers from 0 to 1 that sum to 1, found "
            f"{values[row].tolist()} in row {row}; apply softmax to logits first"
        )
    if labels is not None:
        check_labels(labels, *probabilities.shape)
    return np.clip(values, 0.0, 1.0)


def check_labels(labels: np.ndarray, cases: int, classes: int) -> None:
    """Raises InputError unless labels are ``[cases]`` integers from 0 to classes-1."""
    labels = np.asarray(labels)
    if labels.shape != (cases,) or labels.dtype.kind not in "iu":
        raise InputError(
            f"labels: expected {cases} integers, one per case, found {labels.dtype} {labels.shape}"
        )
    wrong = (labels < 0) | (labels >= classes)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise InputError(
            f"labels: expected classes from 0 to {classes - 1}, found {labels[row]} in row {row}; "
            f"leave unlabelled cases out"
        )


def check_class_names(class_names: Sequence[str], classes: int) -> tuple[str, ...]:
    """Returns the names as a tuple, one per class.

    Raises:
      InputError: their number is wrong, two are alike, or one is the name of an
        average (``macro``, ``weighted``).
    """
    names = tuple(class_names)
    if len(names) != classes:
        raise InputError(f"class_names: expected {classes} names, found {len(names)}: {names}")
    if len(set(names)) < len(names):
        raise InputError(f"class_names: expected names that differ, found {names}")
    if taken := [name for name in names if name in AVERAGES]:
        raise InputError(
            f"class_names: {taken[0]!r} is the name of an average; call the class something else"
        )
    return names


def number_groups(groups: Sequence[str] | np.ndarray | None, cases: int) -> np.ndarray:
    """Numbers the patients that cases belong to.

    Args:
      groups: a patient id per case, ``""`` where it is not known; None: not known
        at all. A case without an id is a patient of its own.
      cases: number of cases.

    Returns:
      Integers ``[cases]``, 0 to the number of patients - 1.

    Raises:
      InputError: there are more or fewer ids than cases.

    >>> number_groups(["b", "a", "", "b", ""], 5).tolist()
    [1, 0, 2, 1, 3]
    """
    if groups is None:
        return np.arange(cases)
    names = np.array([str(name) for name in groups], dtype=object)
    if names.shape != (cases,):
        raise InputError(f"groups: expected {cases} patient ids, found {len(names)}")
    known = names != ""
    numbers = np.empty(cases, np.int64)
    distinct, numbers[known] = np.unique(names[known], return_inverse=True)
    numbers[~known] = len(distinct) + np.arange(cases - np.count_nonzero(known))
    return numbers
