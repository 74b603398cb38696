"""How a step is spread over devices."""

from __future__ import annotations

import dataclasses

LIFTS = ("jit", "shard_map", "pmap")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ParallelOptions:
    """How a step is spread over all devices of all processes; the numbers stay the same.

    Attributes:
      lift: what makes one program for all devices of the step: ``jit`` with shardings,
        ``shard_map`` or ``pmap``.
      space: so many devices share each volume, along its depth; needs ``jit``.
      shard_parameters: whether each device keeps only a part of parameters and optimiser
        state between steps; needs ``jit``.
    """

    lift: str = "jit"
    space: int = 1
    shard_parameters: bool = False

    def __post_init__(self) -> None:
        if self.lift not in LIFTS:
            raise ValueError(f"lift {self.lift!r}: expected one of {', '.join(LIFTS)}")
        if not isinstance(self.space, int) or self.space < 1:
            raise ValueError(f"space {self.space!r}: expected a number of devices, 1 or more")
        if self.lift != "jit" and (self.space > 1 or self.shard_parameters):
            raise ValueError(
                f"lift {self.lift!r} splits the batch only; space and shard_parameters "
                "need lift='jit'"
            )
