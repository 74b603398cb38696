"""Patient-level splits and folds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainjax.errors import InputError
from brainjax.records import patient_folds, split_patients

PATIENTS = [f"patient-{number}" for number in range(50)]
FRACTIONS = {"train": 0.7, "validation": 0.2, "test": 0.1}


@given(
    patients=st.lists(st.text(max_size=4), min_size=3, max_size=60),
    seed=st.integers(0, 5),
    data=st.data(),
)
def test_split_covers_everyone_once_in_any_order(
    patients: list[str], seed: int, data: st.DataObject
) -> None:
    if len(set(patients)) < 3:
        return
    sides = split_patients(patients, fractions=FRACTIONS, seed=seed)
    everyone = [patient for side in sides.values() for patient in side]
    assert sorted(everyone) == sorted(set(patients))
    assert all(sides.values())
    assert all(list(side) == sorted(side) for side in sides.values())
    shuffled = data.draw(st.permutations(patients))
    assert split_patients([*shuffled, shuffled[0]], fractions=FRACTIONS, seed=seed) == sides


@given(
    patients=st.sets(st.text(max_size=4), min_size=2, max_size=40),
    folds=st.integers(2, 8),
    data=st.data(),
)
def test_folds_cover_everyone_once_in_any_order(
    patients: set[str], folds: int, data: st.DataObject
) -> None:
    if folds > len(patients):
        with pytest.raises(InputError, match="folds"):
            patient_folds(patients, folds=folds, seed=0)
        return
    given_order = patient_folds(sorted(patients), folds=folds, seed=0)
    assert sorted(p for fold in given_order for p in fold) == sorted(patients)
    sizes = [len(fold) for fold in given_order]
    assert max(sizes) - min(sizes) <= 1
    shuffled = data.draw(st.permutations(sorted(patients)))
    assert patient_folds(shuffled, folds=folds, seed=0) == given_order


def test_split_has_the_wanted_sizes() -> None:
    sides = split_patients(PATIENTS, fractions=FRACTIONS, seed=0)
    assert {name: len(side) for name, side in sides.items()} == {
        "train": 35,
        "validation": 10,
        "test": 5,
    }


def test_seed_changes_the_division() -> None:
    first = split_patients(PATIENTS, fractions=FRACTIONS, seed=0)
    assert first != split_patients(PATIENTS, fractions=FRACTIONS, seed=1)
    assert patient_folds(PATIENTS, folds=5, seed=0) != patient_folds(PATIENTS, folds=5, seed=1)


def test_the_division_is_the_same_for_ever() -> None:
    """Another division under the same seed would put test patients into training."""
    sides = split_patients(PATIENTS[:10], fractions={"train": 0.7, "test": 0.3}, seed=0)
    assert sides["test"] == ("patient-0", "patient-2", "patient-6")


def test_grades_are_mixed_alike() -> None:
    grades = {patient: "LGG" if i % 5 == 0 else "HGG" for i, patient in enumerate(PATIENTS)}
    sides = split_patients(PATIENTS, fractions=FRACTIONS, seed=0, grades=grades)
    low = {name: sum(grades[p] == "LGG" for p in side) for name, side in sides.items()}
    assert low == {"train": 7, "validation": 2, "test": 1}
    for fold in patient_folds(PATIENTS, folds=5, seed=0, grades=grades):
        assert sum(grades[patient] == "LGG" for patient in fold) == 2


def test_a_small_side_still_gets_a_patient() -> None:
    sides = split_patients("abcd", fractions={"train": 0.98, "test": 0.02}, seed=0)
    assert len(sides["test"]) == 1


def test_one_patient_can_only_train() -> None:
    sides = split_patients(["a"], fractions={"train": 1.0, "validation": 0.0}, seed=0)
    assert sides == {"train": ("a",), "validation": ()}
    with pytest.raises(InputError, match="1 patients cannot fill 2 sides"):
        split_patients(["a", "a"], fractions={"train": 0.8, "validation": 0.2}, seed=0)


@pytest.mark.parametrize("fractions", [{}, {"train": 0.5}, {"train": 1.5, "test": -0.5}])
def test_refuses_fractions_that_are_no_shares(fractions: dict[str, float]) -> None:
    with pytest.raises(InputError, match="fractions: expected shares"):
        split_patients(PATIENTS, fractions=fractions, seed=0)


@pytest.mark.parametrize("folds", [0, 1, 51])
def test_refuses_impossible_folds(folds: int) -> None:
    with pytest.raises(InputError, match=r"between 2 and the number of patients \(50\)"):
        patient_folds(PATIENTS, folds=folds, seed=0)
