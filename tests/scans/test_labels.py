"""Label values of each year become classes and come back."""

from __future__ import annotations

import numpy as np
import pytest

from brainjax.errors import InputError
from brainjax.scans.labels import CONVENTIONS, REGIONS, TISSUES, convention

# Values in the file of necrosis, oedema, enhancing tumour: peers.md section 2.4.
VALUES = {
    "brats2017": (1, 2, 4),
    "brats2018": (1, 2, 4),
    "brats2019": (1, 2, 4),
    "brats2020": (1, 2, 4),
    "brats2021": (1, 2, 4),
    "brats2023": (1, 2, 3),
    "brats2024-gli": (1, 2, 3, 4),
    "msd-task01": (2, 1, 3),
}


def test_every_convention_is_known() -> None:
    assert set(CONVENTIONS) == set(VALUES)
    assert {name: item.evaluation for name, item in CONVENTIONS.items()} == {
        **dict.fromkeys(VALUES, "brats2019"),
        "brats2023": "brats2023",
        "brats2024-gli": "brats2024-gli",
    }


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64, np.float32, np.float64, ">i2"])
def test_values_become_classes_and_come_back(name: str, dtype: str) -> None:
    values = np.array([[0, *VALUES[name]]], dtype)
    classes = CONVENTIONS[name].to_classes(values)
    assert classes.dtype == np.uint8
    np.testing.assert_array_equal(classes, [range(len(VALUES[name]) + 1)])
    back = CONVENTIONS[name].from_classes(classes)
    assert back.dtype == np.uint8
    np.testing.assert_array_equal(back, values)


def test_classes_are_tissues() -> None:
    for name, item in CONVENTIONS.items():
        extra = ("resection_cavity",) if name == "brats2024-gli" else ()
        assert item.classes == (*TISSUES, *extra)


@pytest.mark.parametrize("name", VALUES)
def test_regions(name: str) -> None:
    assert list(REGIONS) == ["ET", "WT", "TC"]
    found = {region: CONVENTIONS[name].region_classes(region) for region in REGIONS}
    assert found == {"ET": (3,), "WT": (1, 2, 3), "TC": (1, 3)}


@pytest.mark.parametrize(
    ("name", "values", "fits"),
    [
        ("brats2020", [0, 1, 2, 3], "brats2023"),
        ("brats2023", [0, 1, 2, 4], "brats2017"),
        ("brats2023", [0, 1, 2, 3, 4], "brats2024-gli"),
    ],
)
def test_a_mismatch_shows_both_sets(name: str, values: list[int], fits: str) -> None:
    expected = sorted((0, *VALUES[name]))
    with pytest.raises(InputError) as caught:
        CONVENTIONS[name].to_classes(np.array(values, np.uint8), source="case_seg.nii.gz")
    message = str(caught.value)
    assert message.startswith("case_seg.nii.gz: ")
    for numbers in (expected, values):
        assert "{" + ", ".join(map(str, numbers)) + "}" in message
    assert fits in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "array",
    [
        np.array([0, 5], np.uint8),
        np.array([0, -1], np.int16),
        np.array([0, 256 + 1], np.int16),
        np.array([0, 0.5], np.float32),
        np.array([0, np.nan], np.float32),
        np.array([0, np.inf], np.float32),
        np.array([0, 255], np.uint8),
        np.arange(1000, dtype=np.int32),
    ],
)
def test_values_that_are_no_labels_are_refused(array: np.ndarray) -> None:
    with pytest.raises(InputError, match="no known convention"):
        CONVENTIONS["brats2024-gli"].to_classes(array)


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"brats1999.*brats2017.*msd-task01"):
        convention("brats1999")
    with pytest.raises(InputError, match="ET, WT, TC"):
        convention("brats2020").region_classes("tumour")
    with pytest.raises(InputError, match="class 4"):
        convention("brats2020").from_classes(np.array([4]))
