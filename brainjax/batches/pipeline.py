"""Records to training batches: random access, exact resume, shards for several processes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import grain
import numpy as np
from absl import flags

from brainjax.batches.crops import Start, padded_shape, start_around, uniform_start
from brainjax.errors import InputError
from brainjax.records import Records, StoredCase

#: Keeps the crops' random numbers apart from others drawn with the same seed.
_CROP_STREAM = 0x63726F70

#: Endless in practice; grain's own infinity overflows when batches of 1 are sliced.
_EPOCHS = 2**40

Batch = dict[str, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class PipelineOptions:
    """How batches are drawn.

    Attributes:
      patch_shape: size of a patch (d, h, w).
      batch_size: examples of a batch, over all processes.
      foreground_fraction: share of patches placed around a random voxel of a
        random tumour class of the case; 0 is the paper's uniform crop.
      pad_multiple: uniform crops are drawn from the volume padded (at its end)
        to a multiple of this: 1 as in the paper, 8 as in its released code.
      workers: processes that read; 0 reads in threads of this process.
      threads: batches read at a time when ``workers`` is 0; a worker reads one at a time.
      prefetch_batches: batches kept ready; each of B x d x h x w x (2 C + 1) bytes.
      seed: another seed, another order and other crops.
    """

    patch_shape: tuple[int, int, int]
    batch_size: int
    foreground_fraction: float = 0.0
    pad_multiple: int = 1
    workers: int = 0
    threads: int = 4
    prefetch_batches: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "patch_shape", tuple(self.patch_shape))
        if len(self.patch_shape) != 3 or min(self.patch_shape) < 1:
            raise InputError(
                f"patch_shape: expected three sizes of 1 or more, found {self.patch_shape}"
            )
        if not 0 <= self.foreground_fraction <= 1:
            raise InputError(
                f"foreground_fraction: expected a share from 0 to 1, "
                f"found {self.foreground_fraction}"
            )
        if not 0 <= self.seed < 2**32:
            raise InputError(f"seed: expected 0 to {2**32 - 1}, found {self.seed}")
        for name, least in (
            ("batch_size", 1),
            ("pad_multiple", 1),
            ("workers", 0),
            ("threads", 1),
            ("prefetch_batches", 1),
        ):
            if getattr(self, name) < least:
                raise InputError(f"{name}: expected {least} or more, found {getattr(self, name)}")


class TrainingBatches(Iterator[Batch]):
    """An endless iterator of batches that knows where it is.

    Each batch is ``{"image": float16 [B, d, h, w, C], "labels": uint8 [B, d, h, w],
    "case_index": int32 [B]}``, with the B of this process. Close it after use.

    Attributes:
      waited_seconds: time that calls of ``next`` have waited for data so far.
    """

    def __init__(self, dataset: grain.IterDataset, *, start_step: int):
        self._iterator: Any = iter(dataset)
        self._batch = start_step
        self.waited_seconds = 0.0

    @property
    def position(self) -> dict[str, int]:
        """What has to be saved to go on from here: ``{"batch": n}``, with batch n the next."""
        return {"batch": self._batch}

    def __next__(self) -> Batch:
        if self._iterator is None:
            raise StopIteration
        began = time.perf_counter()
        batch = next(self._iterator)
        self.waited_seconds += time.perf_counter() - began
        self._batch += 1
        return batch

    def close(self) -> None:
        """Stops the reading threads and processes; there are no batches afterwards."""
        if self._iterator is not None:
            self._iterator.close()
            # grain's worker processes end cleanly only when it is let go of as well.
            self._iterator = None

    def __enter__(self) -> TrainingBatches:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def training_batches(
    records: Records,
    case_indices: Sequence[int],
    options: PipelineOptions,
    *,
    start_step: int = 0,
    shard: tuple[int, int] = (0, 1),
) -> TrainingBatches:
    """Draws batches of random patches, endlessly.

    Each epoch visits the cases once, in an order of its own. Example m of the
    stream depends on the seed and m alone, and batch n is made of the examples
    n B to n B + B - 1. So batches do not depend on threads or workers; starting
    at any step costs nothing and gives the batches that an unbroken run would
    have given; and the shards of several processes, put one after the other,
    are the batch that one process would have had.

    Args:
      records: the prepared cohort.
      case_indices: the cases to draw from.
      options: how to draw.
      start_step: the first batch to give.
      shard: (index, count) of this process; it gives ``batch_size / count`` examples.

    Raises:
      InputError: no cases, or the batch does not divide by the number of shards.
    """
    if not len(case_indices):
        raise InputError("training_batches: expected at least one case, found none")
    index, count = shard
    if options.batch_size % count:
        raise InputError(
            f"batch_size {options.batch_size} does not divide by the {count} processes; "
            f"try {-(-options.batch_size // count) * count}"
        )
    order = grain.MapDataset.range(len(case_indices)).seed(options.seed).shuffle().repeat(_EPOCHS)
    plan = order.map_with_index(_with_number).batch(options.batch_size // count)
    mine = plan[start_step * count + index :: count]
    batches = mine.map(_ReadBatch(records, tuple(int(i) for i in case_indices), options))
    threads = 1 if options.workers else options.threads
    buffered = 1 if options.workers else max(options.threads, options.prefetch_batches)
    dataset = batches.to_iter_dataset(
        grain.ReadOptions(num_threads=threads, prefetch_buffer_size=buffered)
    )
    if options.workers:
        if not flags.FLAGS.is_parsed():
            flags.FLAGS.mark_as_parsed()  # grain 0.2.18 reads a flag; absl refuses unparsed ones
        dataset = dataset.mp_prefetch(
            grain.MultiprocessingOptions(
                num_workers=options.workers,
                per_worker_buffer_size=-(-options.prefetch_batches // options.workers),
            )
        )
    return TrainingBatches(dataset, start_step=start_step)


def evaluation_cases(
    records: Records, case_indices: Sequence[int]
) -> Iterator[tuple[int, StoredCase]]:
    """Yields whole cases, each with its index, in the given order."""
    for case_index in case_indices:
        yield case_index, records.read_case(case_index)


def batches_per_epoch(cases: int, *, batch_size: int) -> int:
    """The batches after which each case has been drawn at least once.

    >>> batches_per_epoch(295, batch_size=8)
    37
    """
    return -(-cases // batch_size)


class _ReadBatch:
    """Reads the patches of a planned batch; picklable, so that workers can."""

    def __init__(self, records: Records, case_indices: tuple[int, ...], options: PipelineOptions):
        self._records = records
        self._case_indices = case_indices
        self._options = options

    def __call__(self, plan: dict[str, np.ndarray]) -> Batch:
        patch = self._options.patch_shape
        size = len(plan["number"])
        batch: Batch = {
            "image": np.empty((size, *patch, len(self._records.modalities)), np.float16),
            "labels": np.empty((size, *patch), np.uint8),
            "case_index": np.array([self._case_indices[i] for i in plan["case"]], np.int32),
        }
        for row, number in enumerate(plan["number"]):
            case_index = int(batch["case_index"][row])
            rng = np.random.default_rng([_CROP_STREAM, self._options.seed, int(number)])
            self._records.read_crop(
                case_index,
                self._choose_start(case_index, rng),
                patch,
                image=batch["image"][row],
                labels=batch["labels"][row],
            )
        return batch

    def _choose_start(self, case_index: int, rng: np.random.Generator) -> Start:
        options = self._options
        case = self._records.cases[case_index]
        if rng.random() < options.foreground_fraction:
            present = [k for k, voxels in enumerate(case.label_counts) if k > 0 and voxels > 0]
            if present:
                voxels = self._records.foreground(case_index, int(rng.choice(present)))
                voxel = voxels[rng.integers(len(voxels))]
                return start_around(rng, voxel.tolist(), case.full_shape, options.patch_shape)
        grid = padded_shape(case.full_shape, multiple=options.pad_multiple)
        return uniform_start(rng, grid, options.patch_shape)


def _with_number(number: int, case: Any) -> dict[str, np.ndarray]:
    return {"number": np.asarray(number, np.int64), "case": np.asarray(case, np.int64)}
