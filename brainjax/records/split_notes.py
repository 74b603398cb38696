"""What is to know about a division of slices, in words with numbers."""

from __future__ import annotations

from collections.abc import Sequence

from brainjax.records.duplicates import Duplicates, Groups
from brainjax.records.slice_schema import SliceRecord
from brainjax.records.split_options import SliceSplit, SliceSplitOptions


def describe_sides(
    split: SliceSplit, slices: Sequence[SliceRecord], *, by: str, unlabelled: int
) -> tuple[str, ...]:
    """Says how many slices and patients are on each side, and how they came there."""
    ways = {
        "patient": "by patient",
        "slice": "by slice, whoever the patient",
        "parts": "by the layout's own parts",
        "folds": "by the data set's own folds",
    }
    sides = {"training": split.training, "validation": split.validation, "test": split.test}
    counts = ", ".join(f"{len(side):,} {name}" for name, side in sides.items())
    notes = [f"divided {ways.get(by, f'by {by}')}: {counts}"]
    if split.patients_on_both_sides is None:
        notes.append("patients are not known: one patient's slices may be on several sides")
    else:
        patients = ", ".join(
            f"{len({slices[i].patient_id for i in side} - {''})} {name}"
            for name, side in sides.items()
        )
        notes.append(
            f"patients: {patients}; {split.patients_on_both_sides} of them on more than one side"
        )
    if unlabelled:
        notes.append(f"{unlabelled:,} images without a label are on no side")
    return tuple(notes)


def describe_copies(
    split: SliceSplit,
    slices: Sequence[SliceRecord],
    duplicates: Duplicates,
    options: SliceSplitOptions,
) -> tuple[str, ...]:
    """Says how many copies there are, what was done with them, and what is left across sides."""
    if not duplicates.together:
        return ("no duplicates",)
    notes = [
        f"{_count(duplicates.exact)} show the same pixels, {_count(duplicates.near)} the same "
        "picture but for mirroring, contrast, size or compression"
    ]
    conflicts = [
        group for group in duplicates.together if len({slices[i].label for i in group} - {None}) > 1
    ]
    if conflicts:
        names = ", ".join(slices[i].slice_id for i in conflicts[0][:3])
        notes.append(f"{len(conflicts)} such groups have several labels, such as {names}")
    kinds = "copies" if options.near_duplicates else "exact copies"
    handled = {
        "together": f"{kinds} are kept on one side",
        "drop": f"{kinds} of held-out images, and repetitions in training, are taken away",
        "ignore": "copies are not looked at when dividing",
    }
    notes.append(handled[options.duplicates])
    if split.dropped:
        notes.append(f"{split.dropped:,} images are left out")
    if split.duplicates_across or split.near_duplicates_across:
        notes.append(
            f"validation and test hold {split.duplicates_across:,} exact and "
            f"{split.near_duplicates_across:,} near copies of images on an earlier side: "
            "scores are too good"
        )
    return tuple(notes)


def _count(groups: Groups) -> str:
    return f"{sum(len(group) for group in groups):,} images in {len(groups):,} groups"
