"""Patients to sides: deterministic, whatever the order of the cases."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping

from brainjax.errors import InputError


def split_patients(
    patient_ids: Iterable[str],
    *,
    fractions: Mapping[str, float],
    seed: int,
    grades: Mapping[str, str] | None = None,
) -> dict[str, tuple[str, ...]]:
    """Divides patients between named sides, such as train, validation and test.

    A patient is on one side only, whatever the number of their scans. Who goes
    where depends on the names and the seed, not on the order or on repetitions.
    Each side with a fraction above zero gets at least one patient.

    Args:
      patient_ids: the patients; repetitions (several scans) are allowed.
      fractions: the share of each side; they sum to 1.
      seed: another seed, another division.
      grades: patient to grade; when given, each side gets the same mix.

    Returns:
      The sorted patients of each side.

    Raises:
      InputError: the fractions are not shares, or the patients are too few.

    >>> split_patients("abcde", fractions={"train": 0.6, "validation": 0.4}, seed=1)
    {'train': ('a', 'c', 'd'), 'validation': ('b', 'e')}
    """
    patients = _in_order(patient_ids, seed=seed, grades=grades)
    named = ", ".join(f"{name} {share}" for name, share in fractions.items())
    if not fractions or not all(0 <= share <= 1 for share in fractions.values()):
        raise InputError(f"fractions: expected shares between 0 and 1, found {named or 'none'}")
    if not math.isclose(sum(fractions.values()), 1, abs_tol=1e-6):
        raise InputError(
            f"fractions: expected shares that sum to 1, found {named} "
            f"(sum {sum(fractions.values()):g})"
        )
    wanted = {name: share for name, share in fractions.items() if share > 0}
    if len(patients) < len(wanted):
        raise InputError(
            f"fractions: {len(patients)} patients cannot fill {len(wanted)} sides ({named}); "
            "set a fraction to 0 or add patients"
        )
    counts = _apportion(len(patients), wanted)
    sides: dict[str, list[str]] = {name: [] for name in fractions}
    for position, patient in enumerate(patients, start=1):
        behind = {
            name: count * position / len(patients) - len(sides[name])
            for name, count in counts.items()
            if len(sides[name]) < count
        }
        sides[max(behind, key=lambda name: behind[name])].append(patient)
    return {name: tuple(sorted(members)) for name, members in sides.items()}


def patient_folds(
    patient_ids: Iterable[str],
    *,
    folds: int,
    seed: int,
    grades: Mapping[str, str] | None = None,
) -> tuple[tuple[str, ...], ...]:
    """Divides patients into folds of equal size (within one) for cross-validation.

    Args:
      patient_ids: the patients; repetitions (several scans) are allowed.
      folds: the number of folds.
      seed: another seed, another division.
      grades: patient to grade; when given, each fold gets the same mix.

    Returns:
      The sorted patients of each fold. With fold k held out, train on the rest.

    Raises:
      InputError: fewer than two folds, or more folds than patients.

    >>> patient_folds(["a", "b", "c", "a"], folds=3, seed=0)
    (('c',), ('b',), ('a',))
    """
    patients = _in_order(patient_ids, seed=seed, grades=grades)
    if not 2 <= folds <= len(patients):
        raise InputError(
            f"folds: expected between 2 and the number of patients ({len(patients)}), found {folds}"
        )
    return tuple(tuple(sorted(patients[fold::folds])) for fold in range(folds))


def _in_order(
    patient_ids: Iterable[str], *, seed: int, grades: Mapping[str, str] | None
) -> list[str]:
    """Patients by grade, and within a grade by a hash of their name and the seed."""
    known = grades or {}

    def rank(patient: str) -> tuple[str, str]:
        digest = hashlib.sha256(f"{seed}/{patient}".encode()).hexdigest()
        return known.get(patient, ""), digest

    return sorted(set(patient_ids), key=rank)


def _apportion(total: int, shares: Mapping[str, float]) -> dict[str, int]:
    """Whole numbers of at least one, by the largest remainder."""
    counts = {name: max(1, math.floor(total * share)) for name, share in shares.items()}
    missing = {name: total * share - counts[name] for name, share in shares.items()}
    while sum(counts.values()) != total:
        grow = sum(counts.values()) < total
        if grow:
            name = max(missing, key=lambda name: missing[name])
        else:
            name = min((n for n in counts if counts[n] > 1), key=lambda n: missing[n])
        change = 1 if grow else -1
        counts[name] += change
        missing[name] -= change
    return counts
