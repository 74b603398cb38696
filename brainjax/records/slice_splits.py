"""Which slices train, validate and test: by patient, fold, layout or slice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from brainjax.errors import InputError
from brainjax.records.duplicates import (
    Groups,
    HasPictures,
    count_across,
    count_near_across,
    find_duplicates,
)
from brainjax.records.fold_table import read_folds
from brainjax.records.slice_groups import group_by, hold_out, merge_groups
from brainjax.records.slice_schema import SliceRecord
from brainjax.records.split_notes import describe_copies, describe_sides
from brainjax.records.split_options import SliceSplit, SliceSplitOptions

_TRAINING, _VALIDATION, _TEST = range(3)
_SIDES = ("training", "validation", "test")


class HasSlices(HasPictures, Protocol):
    """What :func:`split_slices` looks at; :class:`SliceRecords` has it."""

    @property
    def class_names(self) -> tuple[str, ...]: ...


def split_slices(records: HasSlices, options: SliceSplitOptions) -> SliceSplit:
    """Divides labelled slices between training, validation and test.

    Classes are held out in proportion. Who goes where depends on the slices'
    ids and the seed, not on their order.

    Raises:
      InputError: what ``by`` asks for is not known of the slices, a fold does
        not exist, or there are too few to divide.
    """
    slices = records.slices
    labelled = [i for i, one in enumerate(slices) if one.label is not None]
    if not labelled:
        raise InputError("split: expected labelled images, found none")
    duplicates = find_duplicates(records)
    found = duplicates.together if options.near_duplicates else duplicates.exact
    copies = tuple(tuple(i for i in group if slices[i].label is not None) for group in found)
    by = _choose(slices, labelled, options.by)
    sides, notes = _given_sides(records, labelled, by, options)
    patients = _patients(slices, labelled)

    together = copies if options.duplicates == "together" else ()
    lost = _leave_out(sides, patients if by == "patient" else ())
    groups = merge_groups(len(slices), together, () if by == "slice" else patients)
    fractions = {_TEST: options.test_fraction, _VALIDATION: options.validation_fraction}
    given = {side for side in sides.values()}
    if by == "folds" or by.endswith(".csv"):
        given.add(_TEST)
    for side, fraction in fractions.items():
        if side not in given and fraction:
            free = set(labelled) - set(sides) - lost
            held_out = _draw(slices, groups, free, side, fraction, options.seed)
            sides |= dict.fromkeys(held_out, side)
    sides = {i: sides.get(i, _TRAINING) for i in labelled if i not in lost}
    if options.duplicates == "drop":
        removed = _drop_copies(slices, sides, copies)
        lost |= removed
        sides = {i: side for i, side in sides.items() if i not in removed}
    divided = [tuple(i for i in sides if sides[i] == side) for side in range(3)]
    if not divided[_TRAINING]:
        raise InputError("split: nothing is left to train on; hold out less")
    split = SliceSplit(
        training=divided[_TRAINING],
        validation=divided[_VALIDATION],
        test=divided[_TEST],
        notes=tuple(notes),
        patients_on_both_sides=_count_on_both_sides(patients, sides) if patients else None,
        duplicates_across=count_across(duplicates.exact, divided),
        near_duplicates_across=count_near_across(duplicates, divided),
        dropped=len(lost),
    )
    unlabelled = len(slices) - len(labelled)
    told = (
        *describe_sides(split, slices, by=by, unlabelled=unlabelled),
        *notes,
        *describe_copies(split, slices, duplicates, options),
    )
    return replace(split, notes=told)


def _choose(slices: Sequence[SliceRecord], labelled: Sequence[int], by: str) -> str:
    parts = {slices[i].part for i in labelled}
    known = {
        "patient": all(slices[i].patient_id for i in labelled),
        "folds": all(slices[i].fold for i in labelled),
        "parts": bool(parts & {"test", "val"}),
        "slice": True,
    }
    if by == "auto":
        known["parts"] = "test" in parts
        return next(way for way in known if known[way])
    if by in known and not known[by]:
        lacking = {
            "patient": "the patient of each image",
            "folds": "a fold of each image",
            "parts": "parts (folders such as Training and Testing)",
        }[by]
        possible = ", ".join(way for way in known if known[way])
        raise InputError(
            f"split={by}: expected {lacking}, the data has none; possible here: {possible}, "
            "or the path of a folds.csv"
        )
    return by


def _given_sides(
    records: HasSlices, labelled: Sequence[int], by: str, options: SliceSplitOptions
) -> tuple[dict[int, int], list[str]]:
    """Sides that layout or folds decide, by slice, and what to say about them."""
    slices = records.slices
    notes: list[str] = []
    if by in ("patient", "slice", "parts"):
        sides = {"test": _TEST, "val": _VALIDATION} if by == "parts" else {"test": _TEST}
        given = {i: sides[slices[i].part] for i in labelled if slices[i].part in sides}
        if len(given) == len(labelled):
            raise InputError("split: every image is in the layout's test part; nothing to train on")
        return given, notes
    if by == "folds":
        fold_of = {i: slices[i].fold for i in labelled}
    else:
        folds, unused = read_folds(
            Path(by),
            [slices[i].slice_id for i in labelled],
            [records.class_names[slices[i].label or 0] for i in labelled],
        )
        fold_of = dict(zip(labelled, folds, strict=True))
        if unused:
            notes.append(f"{by}: {unused} rows belong to no image")
    folds_there = sorted(set(fold_of.values()))
    known = ", ".join(map(str, folds_there))
    test = options.test_fold or folds_there[-1]
    for name, fold in (("test_fold", test), ("validation_fold", options.validation_fold)):
        if fold and fold not in folds_there:
            raise InputError(f"{name}: expected one of the folds {known}, found {fold}")
    if options.validation_fold == test:
        raise InputError(f"validation_fold: expected another fold than the test's, found {test}")
    chosen = {test: _TEST, options.validation_fold: _VALIDATION}
    drawn = "" if options.validation_fold else ", validation drawn from the rest"
    notes.append(
        f"fold {test} tests"
        + (f", fold {options.validation_fold} validates" if options.validation_fold else drawn)
    )
    if not options.validation_fold and not all(slices[i].patient_id for i in labelled):
        notes.append(
            "patients are not known: slices of one patient may be in training and in the "
            "validation drawn from it; set validation_fold to avoid that"
        )
    return {i: chosen[fold] for i, fold in fold_of.items() if fold in chosen}, notes


def _patients(slices: Sequence[SliceRecord], labelled: Iterable[int]) -> Groups:
    return group_by({i: slices[i].patient_id for i in labelled if slices[i].patient_id})


def _leave_out(sides: dict[int, int], groups: Iterable[Sequence[int]]) -> set[int]:
    """Removes from given sides, and names, what shares a group with a later side."""
    lost: set[int] = set()
    for group in merge_groups(1 + max((i for g in groups for i in g), default=-1), groups):
        latest = max((sides.get(i, _TRAINING) for i in group), default=_TRAINING)
        if latest != _TRAINING and len(group) > 1:
            lost |= {i for i in group if sides.get(i, _TRAINING) != latest}
    for i in lost:
        sides.pop(i, None)
    return lost


def _draw(
    slices: Sequence[SliceRecord],
    groups: Groups,
    free: set[int],
    side: int,
    fraction: float,
    seed: int,
) -> tuple[int, ...]:
    within = [kept for group in groups if (kept := [i for i in group if i in free])]
    if len(within) < 2:
        raise InputError(
            f"{_SIDES[side]}_fraction {fraction:g}: expected at least two groups of images "
            f"(patients, copies) to divide, found {len(within)}; set it to 0 or add images"
        )
    _, held_out = hold_out(
        within,
        labels=[-1 if one.label is None else one.label for one in slices],
        names=[one.slice_id for one in slices],
        fraction=fraction,
        seed=f"{_SIDES[side]}/{seed}",
    )
    return held_out


def _drop_copies(slices: Sequence[SliceRecord], sides: dict[int, int], copies: Groups) -> set[int]:
    """Names copies of pictures on later sides, and all but the first within training."""
    removed: set[int] = set()
    for group in copies:
        placed = sorted((i for i in group if i in sides), key=lambda i: slices[i].slice_id)
        latest = max((sides[i] for i in placed), default=_TRAINING)
        if latest == _TRAINING:
            removed |= set(placed[1:])
        else:
            removed |= {i for i in placed if sides[i] != latest}
    return removed


def _count_on_both_sides(patients: Groups, sides: dict[int, int]) -> int:
    return sum(len({sides[i] for i in group if i in sides}) > 1 for group in patients)
