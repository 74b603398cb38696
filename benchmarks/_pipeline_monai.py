"""MONAI's cached loader over the same files, for ``benchmarks.pipeline``."""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from collections.abc import Generator, Sequence
from typing import Any

from brainjax.scans import CaseFiles


def available() -> bool:
    """Imports MONAI and PyTorch where they are installed; false where they are not."""
    if not all(importlib.util.find_spec(name) for name in ("monai", "torch")):
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of decoders for other formats
        importlib.import_module("monai.data")
    return True


def cached_dataset(cases: Sequence[CaseFiles], patch: tuple[int, int, int]) -> Any:
    """What ours does, by MONAI's own transforms, on cases kept in memory.

    Kept is everything up to the first random transform: loading, channels first, z-scores of
    the brain. Then come a uniform crop, flips of each axis, and a factor and an offset for
    each channel.

    Args:
      cases: files of single modalities.
      patch: voxels of a crop.
    """
    from monai import transforms
    from monai.data import CacheDataset

    keys = ["image", "labels"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of decoders for other formats
        loading = transforms.LoadImaged(keys, ensure_channel_first=True)
    images = sorted(cases[0].images)
    return CacheDataset(
        [
            {"image": [str(case.images[name][0]) for name in images], "labels": str(case.labels)}
            for case in cases
        ],
        transforms.Compose(
            [
                loading,
                transforms.NormalizeIntensityd("image", nonzero=True, channel_wise=True),
                transforms.RandSpatialCropd(keys, roi_size=patch, random_size=False),
                *(transforms.RandFlipd(keys, prob=0.5, spatial_axis=axis) for axis in range(3)),
                transforms.RandScaleIntensityd("image", factors=0.1, prob=1.0, channel_wise=True),
                transforms.RandShiftIntensityd("image", offsets=0.1, prob=1.0, channel_wise=True),
            ]
        ),
        progress=False,
    )


def batches(dataset: Any, *, batch_size: int, threads: int) -> Generator[object, None, None]:
    """Endless batches; ``threads`` transform at the same time, in one process as ours."""
    from monai.data import ThreadDataLoader
    from torch.utils.data import RandomSampler

    yield from ThreadDataLoader(
        dataset,
        batch_size=batch_size,
        sampler=RandomSampler(dataset, replacement=True, num_samples=10**9),
        num_workers=threads,
        use_thread_workers=True,
    )
