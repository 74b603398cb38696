"""The section ``explain``: which maps, of which cases, and how they are judged."""

from __future__ import annotations

import dataclasses

from brainjax.errors import InputError
from brainjax.explain import METHODS
from brainjax.scans import REGIONS


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExplainOptions:
    """How ``--mode=explain`` works.

    Attributes:
      methods: names in ``explain.METHODS``; empty for all.
      cases: names of the cases; empty for ``count`` of them, evenly spread.
      count: so many cases at the most; 0 for all.
      pictures: so many of them are drawn: the first of ``cases``, else those in which the
        maps point worst.
      samples: noisy copies of SmoothGrad.
      noise: their standard deviation as a share of the image's range.
      steps: of integrated gradients.
      layer: of Grad-CAM; empty for the deepest features.
      window: of occlusion, as a share of each side; half of it is the stride.
      region: of a segmentation, whose logits are explained: ET, WT or TC.
      curve_steps: of the insertion and deletion curves; 0 draws none.
      tolerance: of the pointing game, as a share of the longest side.
      sanity_cases: for which layer after layer is randomised; 0 for none.
      compare: a run of the same network trained with ``permute_labels``; empty for none.
      bootstrap: samples of the intervals.
      chunk: images, copies or steps in memory at once.
      seed: of all that is drawn.
    """

    methods: tuple[str, ...]
    cases: tuple[str, ...]
    count: int
    pictures: int
    samples: int
    noise: float
    steps: int
    layer: str
    window: float
    region: str
    curve_steps: int
    tolerance: float
    sanity_cases: int
    compare: str
    bootstrap: int
    chunk: int
    seed: int

    def __post_init__(self) -> None:
        for name in ("methods", "cases"):
            if isinstance(getattr(self, name), str):
                raise InputError(f"{name}: expected names in brackets, such as ('a',)")
        unknown = sorted(set(self.methods) - set(METHODS))
        if unknown:
            raise InputError(f"methods: {', '.join(unknown)} is none of {', '.join(METHODS)}")
        if self.region not in REGIONS:
            raise InputError(f"region {self.region!r}: expected one of {', '.join(REGIONS)}")
        for name, least in (("count", 0), ("pictures", 0), ("samples", 1), ("steps", 1),
                            ("curve_steps", 0), ("sanity_cases", 0), ("bootstrap", 1),
                            ("chunk", 1)):  # fmt: skip
            if getattr(self, name) < least:
                raise InputError(f"{name} {getattr(self, name)}: expected {least} or more")
        if not 0 < self.window <= 1 or self.noise < 0 or self.tolerance < 0:
            raise InputError(
                f"window {self.window}, noise {self.noise}, tolerance {self.tolerance}: expected "
                "a window from 0 to 1, the others 0 or more"
            )

    @property
    def chosen_methods(self) -> tuple[str, ...]:
        """The methods, all when none is named."""
        return self.methods or tuple(METHODS)
