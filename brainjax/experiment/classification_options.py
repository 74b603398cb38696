"""Sections of a classification experiment that belong to no stage."""

from __future__ import annotations

import dataclasses

from brainjax.records import PartOptions
from brainjax.scans import PHANTOM_LAYOUTS, SOURCES


@dataclasses.dataclass(frozen=True, kw_only=True)
class SliceDataOptions:
    """Which images, and which of them train, validate and test.

    Attributes:
      root: folder of the data set; empty makes up a small one in ``made_up.layout``.
      source: ``auto`` recognises the layout, or a name in ``scans.SOURCES``.
      records: folder for prepared records; empty is ``WORKDIR/records``.
      prepare_workers: processes that prepare the records; they do not depend on it.
      prepare_beam: options of an Apache Beam runner that prepares them instead; empty: none.
      split: ``auto``, ``patient``, ``slice``, ``parts``, ``folds`` or a path of a
        folds.csv; see ``records.SliceSplitOptions``.
      texture: whether grey-level co-occurrence energies join the head's input.
    """

    root: str
    source: str
    records: str
    prepare_workers: int
    prepare_beam: str
    split: str
    texture: bool

    def __post_init__(self) -> None:
        if self.source != "auto" and self.source not in SOURCES:
            raise ValueError(f"source {self.source!r}: expected auto or one of {sorted(SOURCES)}")
        PartOptions(workers=self.prepare_workers)

    @property
    def parts(self) -> PartOptions:
        """Who prepares the records."""
        return PartOptions(workers=self.prepare_workers, beam=self.prepare_beam)


@dataclasses.dataclass(frozen=True, kw_only=True)
class MadeUpOptions:
    """The made-up images that stand in where no data set is given, and what fits them.

    Attributes:
      layout: ``image_folder``, ``figshare`` or ``rsna``.
      slices_per_class: of ``image_folder`` and ``figshare``.
      patients: of ``rsna``.
      slices_per_series: of ``rsna``.
      seed: of the set.
      image_size: instead of ``images.image_size``, so that a demonstration takes minutes.
      epochs: instead of ``loop.epochs``, likewise.
    """

    layout: str
    slices_per_class: int
    patients: int
    slices_per_series: int
    seed: int
    image_size: tuple[int, int]
    epochs: int

    def __post_init__(self) -> None:
        if self.layout not in PHANTOM_LAYOUTS:
            raise ValueError(f"layout {self.layout!r}: expected one of {PHANTOM_LAYOUTS}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SmoteOptions:
    """Synthetic minority over-sampling of the training part.

    Attributes:
      ratio: each class is raised to so much of the largest one; 0 is off.
      classes: names of those that are raised; empty for all.
      neighbours: of a sample, among which the synthetic one's other end is drawn.
    """

    ratio: float
    classes: tuple[str, ...]
    neighbours: int

    def __post_init__(self) -> None:
        if not 0 <= self.ratio <= 1:
            raise ValueError(f"ratio {self.ratio}: expected 0 (off) to 1")


@dataclasses.dataclass(frozen=True, kw_only=True)
class WeightsOptions:
    """Where the network's body starts from.

    Attributes:
      pretrained: a file, a name such as ``torchvision/resnet18`` or ``timm/...``, or
        empty for none.
      sha256: of the file, checked when given.
      train: ``head`` keeps pretrained bodies as they are, ``all`` trains everything.
      from_scratch: whether to go on without, from random weights, when the pretrained
        ones cannot be had.
    """

    pretrained: str
    sha256: str
    train: str
    from_scratch: bool

    def __post_init__(self) -> None:
        if self.train not in ("head", "all"):
            raise ValueError(f"train {self.train!r}: expected 'head' or 'all'")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassificationEvaluationOptions:
    """How a classifier predicts and is scored.

    Attributes:
      batch_size: images at a time.
      mirror: averages the image and its mirror image.
      calibrate: fits a temperature on the validation part.
      bootstrap: samples of the intervals; 0 for none.
      permutations: of the permutation test; 0 for none.
      by_patient: also scores the mean probability of each patient.
    """

    batch_size: int
    mirror: bool
    calibrate: bool
    bootstrap: int
    permutations: int
    by_patient: bool

    def __post_init__(self) -> None:
        for name, least in (("batch_size", 1), ("bootstrap", 0), ("permutations", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} {getattr(self, name)}: expected {least} or more")
