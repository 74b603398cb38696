"""How slices are to be divided, and how they were."""

from __future__ import annotations

from dataclasses import dataclass

from brainjax.errors import InputError

#: Words for ``by``; the path of a table is allowed besides.
_WAYS = ("auto", "patient", "slice", "parts", "folds")
_DUPLICATES = ("together", "ignore", "drop")


@dataclass(frozen=True, kw_only=True)
class SliceSplitOptions:
    """How slices are divided.

    Attributes:
      by: ``"patient"``; ``"slice"``, whoever the patient; ``"parts"``, the
        layout's own; ``"folds"``, the data set's own; the path of a table with the
        columns file, label and fold; or ``"auto"``: patients where all are known,
        else folds, else the parts where there is a test part, else slices.
      validation_fraction: share held out of what is left after the test.
      test_fraction: share held out where neither layout nor folds have a test part.
      test_fold: the fold that tests; 0 is the last one.
      validation_fold: the fold that validates; 0 draws by ``validation_fraction``.
      duplicates: ``"together"`` keeps copies of a picture on one side when sides are
        drawn; a part or fold that the data set itself gives stays as it is, and how many
        of its pictures have copies elsewhere is told. ``"drop"`` takes away copies of
        held-out pictures, and all but one of those in training. ``"ignore"`` only counts
        them.
      near_duplicates: whether near copies count as copies.
      seed: another seed, another division.
    """

    by: str = "auto"
    validation_fraction: float = 0.15
    test_fraction: float = 0.15
    test_fold: int = 0
    validation_fold: int = 0
    duplicates: str = "together"
    near_duplicates: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if self.by not in _WAYS and not self.by.endswith(".csv"):
            raise InputError(
                f"split: expected {', '.join(_WAYS)} or the path of a folds.csv, found {self.by!r}"
            )
        if self.duplicates not in _DUPLICATES:
            raise InputError(
                f"duplicates: expected {', '.join(_DUPLICATES)}, found {self.duplicates!r}"
            )
        for name in ("validation_fraction", "test_fraction"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(
                    f"{name}: expected a share from 0 to below 1, found {getattr(self, name)}"
                )
        for name in ("test_fold", "validation_fold"):
            if getattr(self, name) < 0:
                raise InputError(f"{name}: expected 0 or a fold, found {getattr(self, name)}")
        if self.validation_fold and self.validation_fold == self.test_fold:
            raise InputError(
                f"validation_fold: expected another fold than test_fold, found {self.test_fold}"
            )


@dataclass(frozen=True, kw_only=True)
class SliceSplit:
    """The division, as ascending indices of slices.

    Attributes:
      training: to fit on.
      validation: to choose by.
      test: to report.
      notes: how it was done and what is to know about it; a line each.
      patients_on_both_sides: patients with slices on more than one side; None
        where no patient is known.
      duplicates_across: held-out slices with an exact copy on an earlier side.
      near_duplicates_across: held-out slices with only a near copy there.
      dropped: labelled slices that are on no side.
    """

    training: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]
    notes: tuple[str, ...]
    patients_on_both_sides: int | None
    duplicates_across: int
    near_duplicates_across: int
    dropped: int
