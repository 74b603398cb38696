"""What label values and regions mean, per data set and year: their one home.

Inside brainjax labels are consecutive classes; the values that a file holds
exist only here and at the borders that call ``to_classes`` and ``from_classes``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from brainjax.errors import InputError

TISSUES = ("background", "necrosis", "oedema", "enhancing")
"""The tissues that every convention has; the position is the class."""

REGIONS: dict[str, tuple[str, ...]] = {
    "ET": ("enhancing",),
    "WT": ("necrosis", "oedema", "enhancing"),
    "TC": ("necrosis", "enhancing"),
}
"""Region to the tissues it unites, in the order of reporting."""

PAINTED = {"WT": "oedema", "TC": "necrosis", "ET": "enhancing"}
"""How regions become tissues again: painted in this order, each over those before it."""

_UNKNOWN = 255


@dataclass(frozen=True, kw_only=True)
class LabelConvention:
    """How one data set of one year writes tissues as numbers.

    Attributes:
      name: key in ``CONVENTIONS``.
      values: tissue to the value in the file, in the order of the classes.
      evaluation: the challenge's rules for scores: ``"brats2019"``, ``"brats2023"`` or
        ``"brats2024-gli"``.
    """

    name: str
    values: Mapping[str, int]
    evaluation: str

    @property
    def classes(self) -> tuple[str, ...]:
        """The tissues, the position being the class."""
        return tuple(self.values)

    def to_classes(self, array: np.ndarray, *, source: str = "labels") -> np.ndarray:
        """Turns the values of a file into classes.

        Args:
          array: values as read, integer or real, of any shape.
          source: what an error should call the array.

        Returns:
          uint8 classes of the same shape.

        Raises:
          InputError: a value is not of this convention; both sets are shown.

        >>> CONVENTIONS["brats2020"].to_classes(np.array([0, 1, 2, 4]))
        array([0, 1, 2, 3], dtype=uint8)
        """
        table = np.full(256, _UNKNOWN, np.uint8)
        for index, value in enumerate(self.values.values()):
            table[value] = index
        if array.dtype == np.uint8:
            small = array
        elif array.size and not (array.min() >= 0 and array.max() <= 255):
            raise self._mismatch(array, source)
        else:
            small = array.astype(np.uint8)
            if not np.issubdtype(array.dtype, np.integer) and not np.array_equal(small, array):
                raise self._mismatch(array, source)
        classes = table[small]
        if classes.size and classes.max() == _UNKNOWN:
            raise self._mismatch(array, source)
        return classes

    def from_classes(self, array: np.ndarray) -> np.ndarray:
        """Turns classes into the values that a file of this convention holds.

        Returns:
          uint8 values of the same shape.

        Raises:
          InputError: a class is not of this convention.

        >>> CONVENTIONS["msd-task01"].from_classes(np.array([0, 1, 2, 3], np.uint8))
        array([0, 2, 1, 3], dtype=uint8)
        """
        if array.size and (array.min() < 0 or array.max() >= len(self.values)):
            raise InputError(
                f"class {int(array.max())} has no label value in {self.name}, "
                f"which knows {', '.join(self.classes)}"
            )
        return np.array(list(self.values.values()), np.uint8)[array]

    def region_classes(self, region: str) -> tuple[int, ...]:
        """The classes that a region unites.

        Raises:
          InputError: the region is not in ``REGIONS``.

        >>> CONVENTIONS["brats2020"].region_classes("TC")
        (1, 3)
        """
        if region not in REGIONS:
            raise InputError(f"region {region!r} is not known; choose from {', '.join(REGIONS)}")
        return tuple(self.classes.index(tissue) for tissue in REGIONS[region])

    def _mismatch(self, array: np.ndarray, source: str) -> InputError:
        found = np.unique(array)
        fitting = [
            name
            for name, other in CONVENTIONS.items()
            if np.isin(found, list(other.values.values())).all()
        ]
        advice = (
            f"the values would fit {', '.join(fitting)}: if one of these is meant, "
            f"set label_convention to it"
            if fitting
            else f"no known convention ({', '.join(CONVENTIONS)}) has these values: "
            f"check that this file holds the segmentation"
        )
        return InputError(
            f"{source}: expected label values {_set(np.array(list(self.values.values())))} "
            f"({self.name}), found {_set(found)}; {advice}"
        )


def painted_regions() -> tuple[tuple[tuple[int, ...], int], ...]:
    """The classes that each region of ``PAINTED`` unites, and the class that it is painted as.

    >>> painted_regions()
    (((1, 2, 3), 2), ((1, 3), 1), ((3,), 3))
    """
    return tuple(
        (tuple(TISSUES.index(each) for each in REGIONS[region]), TISSUES.index(tissue))
        for region, tissue in PAINTED.items()
    )


def convention(name: str) -> LabelConvention:
    """Looks a convention up by name.

    Raises:
      InputError: there is no such convention; the known ones are listed.
    """
    if name not in CONVENTIONS:
        raise InputError(
            f"label_convention {name!r} is not known; choose from {', '.join(CONVENTIONS)}"
        )
    return CONVENTIONS[name]


def _set(values: np.ndarray) -> str:
    shown = [f"{value:.7g}" for value in np.sort(values)[:8]]
    return "{" + ", ".join(shown) + (", ...}" if values.size > 8 else "}")


def _conventions() -> dict[str, LabelConvention]:
    until_2021 = {"background": 0, "necrosis": 1, "oedema": 2, "enhancing": 4}
    from_2023 = {"background": 0, "necrosis": 1, "oedema": 2, "enhancing": 3}
    table: dict[str, tuple[dict[str, int], str]] = {
        **{f"brats{year}": (until_2021, "brats2019") for year in (2017, 2018, 2019, 2020, 2021)},
        "brats2023": (from_2023, "brats2023"),
        "brats2024-gli": ({**from_2023, "resection_cavity": 4}, "brats2024-gli"),
        "msd-task01": (
            {"background": 0, "necrosis": 2, "oedema": 1, "enhancing": 3},
            "brats2019",
        ),
    }
    return {
        name: LabelConvention(name=name, values=values, evaluation=evaluation)
        for name, (values, evaluation) in table.items()
    }


CONVENTIONS: dict[str, LabelConvention] = _conventions()
"""Every known convention by name."""
