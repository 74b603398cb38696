"""What challenges and papers count where a score is not defined, and how they measure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from brainjax.errors import InputError


@dataclass(frozen=True, kw_only=True)
class LesionRule:
    """How lesions are told apart and which are too small to count.

    Attributes:
      dilation: how often the reference is dilated (18 neighbours); lesions whose
        dilations join are one.
      ignored_mm3: reference lesions of at most this volume are left out.
    """

    dilation: int = 3
    ignored_mm3: float = 50.0


@dataclass(frozen=True, kw_only=True)
class Convention:
    """Values for empty masks, and the definitions of the distances.

    With exactly one mask empty, Dice and surface Dice are 0 by their own
    formulas; the distances and the sensitivity have no value of their own.

    Attributes:
      name: what users write.
      dice_both_empty: Dice when neither mask has a voxel.
      sensitivity_both_empty: sensitivity in the same case.
      sensitivity_false_positive: sensitivity when only the reference is empty.
      nsd_both_empty: normalised surface Dice when neither mask has a voxel.
      distance_both_empty_mm: Hausdorff distances when neither mask has a voxel.
      distance_one_empty_mm: Hausdorff distances for a miss or a false positive.
      hd95_method: see ``surface.hausdorff_distance``.
      nsd_method: see ``surface.surface_dice``.
      lesion_penalty_mm: lesion-wise HD95 of a missed or invented lesion.
      lesion_rule: for regions that ``lesion_rules`` does not name.
      lesion_rules: by region.
    """

    name: str
    dice_both_empty: float = 1.0
    sensitivity_both_empty: float = 1.0
    sensitivity_false_positive: float = 0.0
    nsd_both_empty: float = 1.0
    distance_both_empty_mm: float = 0.0
    distance_one_empty_mm: float
    hd95_method: str
    nsd_method: str = "deepmind"
    lesion_penalty_mm: float = 374.0
    lesion_rule: LesionRule = LesionRule()
    lesion_rules: Mapping[str, LesionRule] = field(default_factory=lambda: MappingProxyType({}))


CONVENTIONS: Mapping[str, Convention] = MappingProxyType(
    {
        convention.name: convention
        for convention in (
            # BraTS up to 2021 as nnU-Net v1 restates it (Task082_BraTS_2020.py). The penalty is
            # the diagonal of the 240 x 240 x 155 grid.
            Convention(name="brats2019", distance_one_empty_mm=373.12866, hd95_method="medpy"),
            # BraTS-2023-Metrics, metrics.py, for the glioma task.
            Convention(name="brats2023", distance_one_empty_mm=374.0, hd95_method="deepmind"),
            # BraTS-2024-Metrics, metrics_GLI.py; 337 is the diagonal of its 182 x 218 x 182 grid.
            Convention(
                name="brats2024-gli",
                distance_one_empty_mm=337.0,
                hd95_method="deepmind",
                nsd_method="nnunet",
                lesion_penalty_mm=337.0,
                lesion_rule=LesionRule(dilation=3, ignored_mm3=20.0),
                lesion_rules=MappingProxyType(
                    {
                        "ET": LesionRule(dilation=3, ignored_mm3=10.0),
                        "NETC": LesionRule(dilation=5, ignored_mm3=20.0),
                        "RC": LesionRule(dilation=5, ignored_mm3=20.0),
                    }
                ),
            ),
            # What has no value has none: NaN, and the number of cases that have one is reported.
            Convention(
                name="nan",
                dice_both_empty=math.nan,
                sensitivity_both_empty=math.nan,
                sensitivity_false_positive=math.nan,
                nsd_both_empty=math.nan,
                distance_both_empty_mm=math.nan,
                distance_one_empty_mm=math.nan,
                hd95_method="medpy",
            ),
        )
    }
)


def get_convention(name: str | Convention) -> Convention:
    """Finds a convention by name; one that is already a Convention comes back as it is.

    Raises:
      InputError: there is no convention of that name.

    >>> get_convention("brats2019").distance_one_empty_mm
    373.12866
    """
    if isinstance(name, Convention):
        return name
    if name not in CONVENTIONS:
        raise InputError(f"convention: expected one of {sorted(CONVENTIONS)}, found {name!r}")
    return CONVENTIONS[name]
