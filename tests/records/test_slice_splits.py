"""Divisions of slices: disjoint, complete, in proportion, groups on one side."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from brainjax.errors import InputError
from brainjax.records.picture_hashes import difference_hash
from brainjax.records.slice_groups import hold_out, merge_groups
from brainjax.records.slice_prepare import prepare_slices
from brainjax.records.slice_schema import SliceRecordOptions
from brainjax.records.slice_splits import SliceSplit, SliceSplitOptions, split_slices
from brainjax.scans.slices import find_slices
from tests.records.slice_writer import MadeUpSlices, made_up_slice

SIDES = ("training", "validation", "test")


#: Pictures that have nothing to do with each other.
THUMBNAILS = np.random.default_rng(0).integers(0, 256, (3000, 32, 32), dtype=np.uint8)


def made_up(rows: list[dict[str, object]], *, pictures: Sequence[int] = ()) -> MadeUpSlices:
    """Slices whose pictures differ, unless ``pictures`` gives some the same.

    Equal digests are exact copies, whatever the picture.
    """
    thumbnails = THUMBNAILS[list(pictures or range(len(rows)))]
    slices = tuple(
        made_up_slice(
            f"{number:04d}",
            **{"label": number % 3, "difference_hash": difference_hash(thumbnail), **row},
        )
        for number, (row, thumbnail) in enumerate(zip(rows, thumbnails, strict=True))
    )
    return MadeUpSlices(slices=slices, thumbnails=thumbnails)


def side_of(split: SliceSplit) -> dict[int, str]:
    return {index: side for side in SIDES for index in getattr(split, side)}


def named(records: MadeUpSlices, split: SliceSplit) -> dict[str, str]:
    return {records.slices[index].slice_id: side for index, side in side_of(split).items()}


ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "label": st.integers(0, 2),
            "patient_id": st.sampled_from([f"p{number}" for number in range(9)]),
            "digest": st.sampled_from([f"d{number}" for number in range(40)]),
            "part": st.sampled_from(["train", "val", "test"]),
            "fold": st.integers(1, 4),
        }
    ),
    min_size=24,
    max_size=60,
)


@settings(deadline=None, max_examples=60)
@given(
    rows=ROWS,
    by=st.sampled_from(["patient", "slice", "parts", "folds"]),
    duplicates=st.sampled_from(["together", "ignore", "drop"]),
    seed=st.integers(0, 3),
    data=st.data(),
)
def test_sides_are_disjoint_and_complete_in_any_order(
    rows: list[dict[str, object]], by: str, duplicates: str, seed: int, data: st.DataObject
) -> None:
    records = made_up(rows)
    options = SliceSplitOptions(by=by, duplicates=duplicates, seed=seed)
    try:
        split = split_slices(records, options)
    except InputError as error:
        if "nothing" not in str(error) and "at least two groups" not in str(error):
            raise
        reject()
    members = [index for side in SIDES for index in getattr(split, side)]
    assert len(members) == len(set(members)) == len(rows) - split.dropped
    assert all(list(getattr(split, side)) == sorted(getattr(split, side)) for side in SIDES)
    sides = side_of(split)
    copies: dict[str, set[str]] = {}
    patients: dict[str, set[str]] = {}
    for index, side in sides.items():
        copies.setdefault(records.slices[index].digest, set()).add(side)
        patients.setdefault(records.slices[index].patient_id, set()).add(side)
    across = sum(len(found) > 1 for found in copies.values())
    assert (split.duplicates_across > 0) == (across > 0)
    if duplicates == "drop":
        assert not across
    if duplicates == "together":
        last = max(one.fold for one in records.slices)
        given = {
            one.digest
            for one in records.slices
            if (one.fold == last if by == "folds" else one.part in ("val", "test"))
        }
        assert all(len(found) == 1 for digest, found in copies.items() if digest not in given)
    assert split.patients_on_both_sides == sum(len(found) > 1 for found in patients.values())
    if by == "patient" and duplicates != "drop":
        assert split.patients_on_both_sides == 0
    if by == "parts" and duplicates == "ignore":
        part = {"train": "training", "val": "validation", "test": "test"}
        assert all(
            side == part[records.slices[index].part]
            for index, side in sides.items()
            if records.slices[index].part == "test"
        )
    order = data.draw(st.permutations(range(len(rows))))
    turned = MadeUpSlices(
        slices=tuple(records.slices[index] for index in order),
        thumbnails=records.thumbnails[list(order)],
    )
    assert named(turned, split_slices(turned, options)) == named(records, split)


@settings(deadline=None, max_examples=40)
@given(
    labels=st.lists(st.integers(0, 3), min_size=5, max_size=200),
    fraction=st.floats(0.05, 0.95),
    seed=st.integers(0, 9),
)
def test_single_slices_are_held_out_in_proportion(
    labels: list[int], fraction: float, seed: int
) -> None:
    kept, held_out = hold_out(
        [(index,) for index in range(len(labels))],
        labels=labels,
        names=[str(index) for index in range(len(labels))],
        fraction=fraction,
        seed=str(seed),
    )
    assert sorted(kept + held_out) == list(range(len(labels)))
    assert kept
    assert held_out
    for label in set(labels):
        wanted = fraction * labels.count(label)
        assert abs(sum(labels[index] == label for index in held_out) - wanted) < 2


def test_patients_are_held_out_in_proportion(rng: np.random.Generator) -> None:
    """As in figshare: 233 patients of one class each, with 1 to 20 slices."""
    rows: list[dict[str, object]] = []
    for patient in range(233):
        label = int(rng.choice(3, p=[0.35, 0.38, 0.27]))
        rows += [{"label": label, "patient_id": f"p{patient}"}] * int(rng.integers(1, 21))
    records = made_up(rows)
    labels = np.array([row["label"] for row in rows])
    split = split_slices(records, SliceSplitOptions(validation_fraction=0.2, test_fraction=0.2))
    assert split.patients_on_both_sides == 0
    whole = np.bincount(labels) / len(labels)
    for side, share in (("test", 0.2), ("validation", 0.16)):
        members = list(getattr(split, side))
        assert len(members) / len(rows) == pytest.approx(share, abs=0.005)
        np.testing.assert_allclose(np.bincount(labels[members]) / len(members), whole, atol=0.01)
    assert "by patient" in split.notes[0]
    assert "0 of them on more than one side" in split.notes[1]


def test_another_seed_is_another_division() -> None:
    records = made_up([{}] * 90)
    splits = [split_slices(records, SliceSplitOptions(seed=seed)).test for seed in range(3)]
    assert len(set(splits)) == 3
    assert splits[0] == split_slices(records, SliceSplitOptions(seed=0)).test


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"patient_id": "x", "fold": 1, "part": "test"}, "by patient"),
        ({"fold": 1, "part": "test"}, "own folds"),
        ({"part": "test"}, "own parts"),
        ({"part": "train"}, "by slice"),
    ],
)
def test_auto_takes_the_best_that_is_known(row: dict[str, object], words: str) -> None:
    rows = [dict(row) for _ in range(30)]
    for number, one in enumerate(rows):
        if one.get("patient_id"):
            one.update(patient_id=f"p{number % 10}", part="train")
        elif one.get("fold"):
            one["fold"] = 1 + number % 3
        elif one.get("part") == "test" and number % 2:
            one["part"] = "train"
    assert words in split_slices(made_up(rows), SliceSplitOptions()).notes[0]


def test_the_layouts_parts_are_kept() -> None:
    rows = [{"part": ("train", "train", "val", "test")[number % 4]} for number in range(40)]
    split = split_slices(made_up(rows), SliceSplitOptions(by="parts", test_fraction=0.3))
    assert split.test == tuple(range(3, 40, 4))
    assert split.validation == tuple(range(2, 40, 4))
    without = [{"part": "train" if row["part"] == "val" else row["part"]} for row in rows]
    split = split_slices(made_up(without), SliceSplitOptions(validation_fraction=0.2))
    assert split.test == tuple(range(3, 40, 4))
    assert len(split.validation) == 6
    assert split_slices(made_up(without), SliceSplitOptions(by="slice")).test == split.test


def test_folds_test_and_validate() -> None:
    records = made_up([{"fold": 1 + number % 4} for number in range(40)])
    split = split_slices(records, SliceSplitOptions())
    assert split.test == tuple(range(3, 40, 4))
    assert any("fold 4 tests" in note for note in split.notes)
    assert any("set validation_fold" in note for note in split.notes)
    split = split_slices(records, SliceSplitOptions(test_fold=2, validation_fold=1))
    assert split.test == tuple(range(1, 40, 4))
    assert split.validation == tuple(range(0, 40, 4))
    for options in ({"test_fold": 9}, {"validation_fold": 9}, {"validation_fold": 4}):
        with pytest.raises(InputError, match="_fold: expected"):
            split_slices(records, SliceSplitOptions(**options))


def write_table(path: Path, rows: list[str]) -> str:
    path.write_text("\n".join(["file,label,fold", *rows]) + "\n")
    return str(path)


def test_a_table_of_folds(tmp_path: Path) -> None:
    records = made_up([{}] * 12)
    rows = [f"{number:04d},{number % 3 + 1},{1 + number % 2}" for number in range(12)]
    table = write_table(tmp_path / "folds.csv", [*rows, "absent.jpg,1,2"])
    split = split_slices(records, SliceSplitOptions(by=table, test_fold=1))
    assert split.test == tuple(range(0, 12, 2))
    assert any("1 rows belong to no image" in note for note in split.notes)
    deeper = tuple(
        dataclasses.replace(one, slice_id=f"data/{one.slice_id}") for one in records.slices
    )
    again = split_slices(
        dataclasses.replace(records, slices=deeper), SliceSplitOptions(by=table, test_fold=1)
    )
    assert again.test == split.test


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (["0000,1,1", "0001,2,2"], "found none for 1 of 3, such as 0002"),
        (["0000,1,1", "0000,1,2"], "line 3: 0000 is there twice"),
        (["0000,1,none"], "line 2: expected a file and a fold of 1 or more"),
        (["0000,1,1", "0001,1,2", "0002,3,1"], "label 1 stands for a and, at 0001, for b"),
    ],
)
def test_a_wrong_table_is_the_users_error(tmp_path: Path, rows: list[str], words: str) -> None:
    table = write_table(tmp_path / "folds.csv", rows)
    with pytest.raises(InputError, match=r"folds\.csv: ") as caught:
        split_slices(made_up([{}] * 3), SliceSplitOptions(by=table))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_table_without_its_columns_or_absent(tmp_path: Path) -> None:
    (tmp_path / "folds.csv").write_text("name,part\na,1\n")
    with pytest.raises(InputError, match="expected the columns file, label and fold, found name"):
        split_slices(made_up([{}] * 3), SliceSplitOptions(by=str(tmp_path / "folds.csv")))
    with pytest.raises(InputError, match=r"no\.csv: expected a CSV file.*No such file"):
        split_slices(made_up([{}] * 3), SliceSplitOptions(by=str(tmp_path / "no.csv")))


def with_copies() -> list[dict[str, object]]:
    """Twenty pictures, each in training and in the test part, and ten more in training twice."""
    pairs = [{"digest": f"d{n}", "part": part} for n in range(20) for part in ("train", "test")]
    return [*pairs, *({"digest": f"e{n // 2}", "part": "train"} for n in range(20))]


def test_the_layouts_own_test_part_stays_and_its_copies_are_told() -> None:
    records = made_up(with_copies())
    split = split_slices(records, SliceSplitOptions(duplicates="together"))
    assert split.test == tuple(range(1, 40, 2))
    assert split.dropped == 0
    assert split.duplicates_across == 20
    assert len(split.training) + len(split.validation) == 40
    validation, training = set(split.validation), set(split.training)
    for pair in range(40, 60, 2):  # copies within what is drawn are kept on one side
        assert {pair, pair + 1} <= validation or {pair, pair + 1} <= training


def test_copies_are_dropped_or_ignored() -> None:
    records = made_up(with_copies())
    dropped = split_slices(
        records, SliceSplitOptions(duplicates="drop", validation_fraction=0, test_fraction=0)
    )
    assert dropped.test == tuple(range(1, 40, 2))
    assert dropped.training == tuple(range(40, 60, 2))
    ignored = split_slices(records, SliceSplitOptions(duplicates="ignore", validation_fraction=0))
    assert ignored.dropped == 0
    assert ignored.duplicates_across == 20
    assert any("20 exact and 0 near copies" in note for note in ignored.notes)


@pytest.mark.parametrize("near", [True, False])
def test_near_copies_count_as_copies_when_asked_for(near: bool) -> None:
    twins = made_up([{"label": 0}] * 40, pictures=[number // 2 for number in range(40)])
    options = SliceSplitOptions(near_duplicates=near, test_fraction=0.4, validation_fraction=0)
    split = split_slices(twins, options)
    assert split.duplicates_across == 0
    assert (split.near_duplicates_across == 0) == near
    assert any("40 images in 20 groups the same picture" in note for note in split.notes)


def test_copies_with_other_labels_are_told() -> None:
    rows = [{"digest": "same", "label": number % 2} for number in range(2)] + [{}] * 20
    notes = split_slices(made_up(rows), SliceSplitOptions()).notes
    assert any("1 such groups have several labels, such as 0000, 0001" in note for note in notes)


def test_unlabelled_slices_are_on_no_side() -> None:
    rows = [{"label": None} if number < 5 else {} for number in range(30)]
    split = split_slices(made_up(rows), SliceSplitOptions())
    assert min(side_of(split)) == 5
    assert split.dropped == 0
    assert any("5 images without a label" in note for note in split.notes)
    with pytest.raises(InputError, match="expected labelled images, found none"):
        split_slices(made_up(rows[:5]), SliceSplitOptions())


@pytest.mark.parametrize("by", ["patient", "folds", "parts"])
def test_what_is_not_known_cannot_divide(by: str) -> None:
    with pytest.raises(InputError, match=f"split={by}: expected .* possible here: slice"):
        split_slices(made_up([{}] * 9), SliceSplitOptions(by=by))


def test_too_few_to_divide() -> None:
    with pytest.raises(InputError, match=r"test_fraction 0\.15: expected at least two groups"):
        split_slices(made_up([{"patient_id": "one"}] * 9), SliceSplitOptions())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("by", "moon"),
        ("duplicates", "keep"),
        ("validation_fraction", 1.0),
        ("test_fraction", -0.1),
        ("test_fold", -1),
    ],
)
def test_refuses_options_by_name(name: str, value: object) -> None:
    with pytest.raises(InputError, match=f"{'split' if name == 'by' else name}: expected"):
        SliceSplitOptions(**{name: value})  # type: ignore[arg-type]
    with pytest.raises(InputError, match="another fold than test_fold"):
        SliceSplitOptions(test_fold=2, validation_fold=2)


def test_groups_that_share_a_member_are_one() -> None:
    assert merge_groups(6, [(4, 5), (1, 2)], [(2, 4)]) == ((0,), (1, 2, 4, 5), (3,))


def test_real_folds_keep_patients_apart(real_data: Path, tmp_path: Path) -> None:
    """The figshare author's folds hold whole patients: near no picture is in two of them."""
    found = find_slices(real_data / "cheng")
    records = prepare_slices(
        found, tmp_path / "records", options=SliceRecordOptions(image_size=(16, 16))
    )
    table = str(real_data / "cheng" / "folds.csv")
    split = split_slices(records, SliceSplitOptions(by=table, test_fold=4, validation_fold=3))
    folds = {row.split(",")[0]: row.split(",")[2] for row in Path(table).read_text().split()[1:]}
    for side, members in (("4", split.test), ("3", split.validation)):
        assert {folds[records.slices[index].slice_id] for index in members} == {side}
    assert len(split.training) + len(split.validation) + len(split.test) + split.dropped == 2400
    assert split.dropped < 24
    assert split.duplicates_across == 0
