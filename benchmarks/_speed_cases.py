"""What ``benchmarks.speed`` measures: networks, sizes, types, and PyTorch's ways to run them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from brainjax.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Network:
    """A network's input and how much of it makes a batch.

    Attributes:
      rank: spatial axes.
      channels: of the input.
      classes: of the output.
      sizes: of the cube or square.
      cpu_batch: examples at a time on a CPU.
      gpu_batch: on a GPU.
      dense: whether every voxel has a label.
    """

    rank: int
    channels: int
    classes: int
    sizes: tuple[int, ...]
    cpu_batch: int
    gpu_batch: int
    dense: bool = False


NETWORKS = {
    "cga_unet": Network(
        rank=3, channels=4, classes=4, sizes=(64, 128), cpu_batch=1, gpu_batch=4, dense=True
    ),
    "resnet18": Network(
        rank=2, channels=3, classes=1000, sizes=(224,), cpu_batch=16, gpu_batch=16
    ),
    "cnn": Network(rank=2, channels=1, classes=4, sizes=(30,), cpu_batch=32, gpu_batch=32),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Case:
    """One row: a network, what is done with it, the size of its input and the type.

    Attributes:
      network: a key of ``NETWORKS``.
      work: ``inference`` or ``train``.
      size: voxels or pixels along each axis.
      dtype: ``f32`` or ``bf16``, of the computation; parameters are f32.
    """

    network: str
    work: str
    size: int
    dtype: str

    @property
    def name(self) -> str:
        """Such as ``cga_unet/train/64/f32``."""
        return f"{self.network}/{self.work}/{self.size}/{self.dtype}"

    @property
    def input(self) -> Network:
        """What the network takes."""
        return NETWORKS[self.network]

    def batch(self, *, gpu: bool) -> int:
        """Examples at a time."""
        return self.input.gpu_batch if gpu else self.input.cpu_batch

    def arrays(self, *, gpu: bool) -> dict[str, np.ndarray]:
        """The same made-up ``image`` [B, *spatial, C] and ``labels`` for both sides."""
        rng = np.random.default_rng(0)
        shape = (self.batch(gpu=gpu), *(self.size,) * self.input.rank)
        image = rng.standard_normal((*shape, self.input.channels), np.float32)
        of = shape if self.input.dense else shape[:1]
        labels = rng.integers(0, self.input.classes, of)
        return {"image": image, "labels": labels.astype(np.uint8 if self.input.dense else np.int32)}


CASES = {
    case.name: case
    for network, options in NETWORKS.items()
    for work in ("inference", "train")
    for size in options.sizes
    for dtype in ("f32", "bf16")
    for case in [Case(network=network, work=work, size=size, dtype=dtype)]
}


def choose_cases(wanted: Sequence[str], *, gpu: bool) -> list[Case]:
    """The cases whose name contains one of ``wanted``.

    Args:
      wanted: names or parts of them; empty is every case, but bf16 on a CPU.
      gpu: whether the measurement is of a GPU.

    Raises:
      InputError: nothing has such a name; the message lists the names there are.
    """
    if not wanted:
        return [case for case in CASES.values() if gpu or case.dtype == "f32"]
    for part in wanted:
        if not any(part in name for name in CASES):
            raise InputError(f"--case={part}: expected a part of one of {', '.join(CASES)}")
    return [case for name, case in CASES.items() if any(part in name for part in wanted)]


def peer_variants(case: Case, *, gpu: bool) -> list[str]:
    """PyTorch's ways to run a case: ``<mode>/<memory format>``, in bf16 also ``/<how>``.

    ``graphs`` is compiled code replayed as a CUDA graph. ``autocast`` picks the type of each
    operation and keeps f32 parameters; ``cast`` turns the whole network to bf16.
    """
    last = "channels_last_3d" if case.input.rank == 3 else "channels_last"
    modes = ("eager", "compile", "graphs") if gpu else ("eager", "compile")
    ways = [""] if case.dtype == "f32" else ["/autocast"]
    if case.dtype == "bf16" and case.work == "inference":
        ways.append("/cast")
    return [
        f"{mode}/{layout}{way}" for mode in modes for layout in ("contiguous", last) for way in ways
    ]
