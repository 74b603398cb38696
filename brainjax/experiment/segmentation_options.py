"""What the sections of a segmentation's configuration become."""

from __future__ import annotations

import dataclasses

from brainjax.evaluation import HD95_METHODS, get_convention
from brainjax.inference import PostprocessOptions, SlidingWindowOptions, WholeVolumeOptions
from brainjax.records import PartOptions
from brainjax.scans import LabelConvention


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataOptions:
    """Which scans.

    Attributes:
      root: folder of scans; empty makes phantoms unless ``needs_root``.
      records: folder for prepared records; empty is ``WORKDIR/records``.
      prepare_workers: processes that prepare the records; they do not depend on it.
      prepare_beam: options of an Apache Beam runner that prepares them instead; empty: none.
      label_convention: ``auto`` or a name in ``scans.CONVENTIONS``.
      modalities: channel order of the network's input.
      needs_root: whether the experiment only makes sense on the user's own scans.
    """

    root: str
    records: str
    prepare_workers: int
    prepare_beam: str
    label_convention: str
    modalities: tuple[str, ...]
    needs_root: bool

    def __post_init__(self) -> None:
        PartOptions(workers=self.prepare_workers)

    @property
    def parts(self) -> PartOptions:
        """Who prepares the records."""
        return PartOptions(workers=self.prepare_workers, beam=self.prepare_beam)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PhantomOptions:
    """The made-up cohort that stands in where no scans are given.

    Attributes:
      cases: how many heads.
      shape: voxels of each.
      seed: of the cohort.
    """

    cases: int
    shape: tuple[int, int, int]
    seed: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class SplitOptions:
    """Which patients train and which validate.

    Attributes:
      folds: patients are dealt into so many folds; 1 validates on the training cases.
      fold: the one that validates.
      seed: of the deal.
    """

    folds: int
    fold: int
    seed: int

    def __post_init__(self) -> None:
        if self.folds < 1 or not 0 <= self.fold < self.folds:
            raise ValueError(
                f"split.fold {self.fold} of split.folds {self.folds}: "
                "expected 1 fold or more, and a fold from 0 to folds - 1"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationOptions:
    """How segmentations are scored.

    Attributes:
      convention: of empty masks, ``auto`` follows the data set's year.
      hd95_method: ``auto`` follows the convention.
      tolerance_mm: of the normalised surface Dice.
      validation_cases: scored during training, the first so many of the fold; 0 is all.
      test_root: another folder of labelled scans to score after training; empty for none.
    """

    convention: str
    hd95_method: str
    tolerance_mm: float
    validation_cases: int
    test_root: str

    def __post_init__(self) -> None:
        if self.convention != "auto":
            get_convention(self.convention)
        if self.hd95_method not in ("auto", *HD95_METHODS):
            raise ValueError(
                f"hd95_method {self.hd95_method!r}: expected auto or {sorted(HD95_METHODS)}"
            )
        if self.validation_cases < 0 or not self.tolerance_mm >= 0:
            raise ValueError(
                f"validation_cases {self.validation_cases}, tolerance_mm {self.tolerance_mm}: "
                "expected 0 or more"
            )

    def convention_for(self, labels_of: LabelConvention) -> str:
        """The convention's name; ``auto`` is that of the labels' challenge."""
        return labels_of.evaluation if self.convention == "auto" else self.convention


@dataclasses.dataclass(frozen=True, kw_only=True)
class InferenceOptions:
    """How a whole case is segmented.

    Attributes:
      window: a sliding window, or the whole volume at once as in the paper.
      postprocess: rules for the labels.
    """

    window: SlidingWindowOptions | WholeVolumeOptions
    postprocess: PostprocessOptions
