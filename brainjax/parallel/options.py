"""How a step is spread over devices."""

from __future__ import annotations

import dataclasses

import jax

LIFTS = ("jit", "shard_map", "pmap")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ParallelOptions:
    """How a step is spread over all devices of all processes; the numbers stay the same.

    Attributes:
      lift: what makes one program for all devices of the step: ``jit`` with shardings,
        ``shard_map`` or ``pmap``; or ``auto``, see ``chosen``.
      space: so many devices share each volume, along its depth; needs ``jit``.
      shard_parameters: whether each device keeps only a part of parameters and optimiser
        state between steps; needs ``jit``.
    """

    lift: str = "auto"
    space: int = 1
    shard_parameters: bool = False

    def __post_init__(self) -> None:
        if self.lift not in ("auto", *LIFTS):
            raise ValueError(f"lift {self.lift!r}: expected one of auto, {', '.join(LIFTS)}")
        if not isinstance(self.space, int) or self.space < 1:
            raise ValueError(f"space {self.space!r}: expected a number of devices, 1 or more")
        if self.lift in ("shard_map", "pmap") and (self.space > 1 or self.shard_parameters):
            raise ValueError(
                f"lift {self.lift!r} splits the batch only; space and shard_parameters "
                "need lift='jit'"
            )

    @property
    def chosen(self) -> str:
        """What ``auto`` means here: ``shard_map`` on several GPUs that split the batch only.

        There it has our kernels for convolutions (``layers.gpu_convolution``), which XLA
        cannot split by itself; everywhere else it is ``jit``.
        """
        if self.lift != "auto":
            return self.lift
        split = self.space > 1 or self.shard_parameters
        several = jax.default_backend() == "gpu" and jax.device_count() > 1
        return "shard_map" if several and not split else "jit"
