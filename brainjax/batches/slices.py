"""Prepared slices to batches: whole images, so cheap that a step of 2 ms need not wait."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from threading import Lock

import grain
import numpy as np

from brainjax.batches.pipeline import Batch, TrainingBatches
from brainjax.errors import InputError

#: Keeps the order's random numbers apart from others drawn with the same seed.
_ORDER_STREAM = 0x6F726472

#: Endless in practice.
_BATCHES = 2**40

#: Orders of epochs kept, for threads that read ahead across the end of one.
_ORDERS_KEPT = 4


@dataclass(frozen=True, kw_only=True)
class SlicePipelineOptions:
    """How batches of slices are drawn.

    Attributes:
      batch_size: examples of a batch, over all processes.
      threads: batches read at a time.
      prefetch_batches: batches kept ready; each of B x h x w x C bytes.
      seed: another seed, another order.
    """

    batch_size: int
    threads: int = 1
    prefetch_batches: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**32:
            raise InputError(f"seed: expected 0 to {2**32 - 1}, found {self.seed}")
        for name in ("batch_size", "threads", "prefetch_batches"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}: expected 1 or more, found {getattr(self, name)}")


def slice_batches(
    images: np.ndarray,
    labels: np.ndarray,
    indices: Sequence[int],
    options: SlicePipelineOptions,
    *,
    texture: np.ndarray | None = None,
    start_step: int = 0,
    shard: tuple[int, int] = (0, 1),
) -> TrainingBatches:
    """Draws batches of slices, endlessly, each ``{"image", "labels"}`` and ``"texture"`` if given.

    Each epoch visits the slices once, in an order of its own. Batch n is made
    of the examples n B to n B + B - 1 of that stream and depends on the seed
    and n alone: not on threads, on where the run began, or on the shards, which
    one after the other are the batch that one process would have had.

    Args:
      images: uint8 [N, h, w, C], an array or a memory map.
      labels: int32 [N].
      indices: the slices to draw from.
      options: how to draw.
      texture: float32 [N, F].
      start_step: the first batch to give.
      shard: (index, count) of this process; it gives ``batch_size / count`` examples.

    Returns:
      Batches of image uint8 [B, h, w, C], labels int32 [B], texture float32 [B, F].

    Raises:
      InputError: no slices, or the batch does not divide by the number of shards.
    """
    if not len(indices):
        raise InputError("slice_batches: expected at least one image, found none")
    count = shard[1]
    if options.batch_size % count:
        raise InputError(
            f"batch_size {options.batch_size} does not divide by the {count} processes; "
            f"try {-(-options.batch_size // count) * count}"
        )
    read = _ReadBatch(
        _named(images, labels, texture), np.asarray(indices, np.int64), options, shard
    )
    dataset = grain.MapDataset.range(start_step, _BATCHES).map(read)
    return TrainingBatches(
        dataset.to_iter_dataset(
            grain.ReadOptions(
                num_threads=options.threads,
                prefetch_buffer_size=max(options.threads, options.prefetch_batches),
            )
        ),
        start_step=start_step,
    )


def evaluation_batches(
    images: np.ndarray,
    labels: np.ndarray,
    indices: Sequence[int],
    batch_size: int,
    texture: np.ndarray | None = None,
) -> Iterator[dict[str, np.ndarray]]:
    """Yields slices in order, in batches of one size, so that a step compiles once.

    Args:
      images: uint8 [N, h, w, C].
      labels: int32 [N].
      indices: the slices.
      batch_size: examples of each batch; the last one is filled up with its last slice.
      texture: float32 [N, F].

    Returns:
      Batches as of :func:`slice_batches`, with ``"valid"``, int32 []: how many count.
    """
    arrays = _named(images, labels, texture)
    for start in range(0, len(indices), batch_size):
        some = np.asarray(indices[start : start + batch_size], np.int64)
        rows = np.pad(some, (0, batch_size - len(some)), mode="edge")
        yield {
            **{name: np.take(array, rows, axis=0) for name, array in arrays.items()},
            "valid": np.asarray(len(some), np.int32),
        }


class _ReadBatch:
    """Reads batch n: which slices follows from the seed and n."""

    def __init__(
        self,
        arrays: dict[str, np.ndarray],
        indices: np.ndarray,
        options: SlicePipelineOptions,
        shard: tuple[int, int],
    ):
        self._arrays = arrays
        self._indices = indices
        self._seed = options.seed
        self._batch_size = options.batch_size
        self._shard = shard
        self._orders: OrderedDict[int, np.ndarray] = OrderedDict()
        self._lock = Lock()

    def __call__(self, batch: int) -> Batch:
        index, count = self._shard
        size = self._batch_size // count
        first = int(batch) * self._batch_size + index * size
        rows = self._rows(first, first + size)
        return {name: np.take(array, rows, axis=0) for name, array in self._arrays.items()}

    def _rows(self, start: int, stop: int) -> np.ndarray:
        """The slices at positions of the endless stream of epochs."""
        epoch, offset = divmod(start, len(self._indices))
        pieces = []
        while start < stop:
            piece = self._order(epoch)[offset : offset + stop - start]
            pieces.append(piece)
            start += len(piece)
            epoch, offset = epoch + 1, 0
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    def _order(self, epoch: int) -> np.ndarray:
        with self._lock:
            if epoch not in self._orders:
                rng = np.random.default_rng([_ORDER_STREAM, self._seed, epoch])
                self._orders[epoch] = rng.permutation(self._indices)
                while len(self._orders) > _ORDERS_KEPT:
                    self._orders.popitem(last=False)
            return self._orders[epoch]


def _named(
    images: np.ndarray, labels: np.ndarray, texture: np.ndarray | None
) -> dict[str, np.ndarray]:
    """The arrays by their names in a batch; a memory map as a plain view of it."""
    arrays = {"image": images, "labels": labels, "texture": texture}
    return {name: np.asarray(array) for name, array in arrays.items() if array is not None}
