"""Small sets of slices: real image files, or records without any."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from brainjax.records.slice_schema import SliceRecord
from brainjax.scans.slice import SliceFile, SliceSet

CLASS_NAMES = ("glioma", "notumor")


def picture(number: int, shape: tuple[int, ...] = (40, 36)) -> np.ndarray:
    """A smooth head of its own for each number, dark around."""
    rng = np.random.default_rng(number)
    low = Image.fromarray(rng.integers(60, 250, (6, 6), dtype=np.uint8))
    inside = np.asarray(low.resize((shape[1] - 8, shape[0] - 6), Image.Resampling.BICUBIC))
    image = np.zeros(shape[:2], np.uint8)
    image[3:-3, 4:-4] = np.maximum(inside, 40)
    return image


def write_slices(root: Path, count: int) -> SliceSet:
    """Writes ``count`` PNG files; the label is the number's parity."""
    files = []
    for number in range(count):
        label = number % 2
        path = root / "Training" / CLASS_NAMES[label] / f"{number:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(number)).save(path)
        files.append(
            SliceFile(
                slice_id=path.relative_to(root).as_posix(),
                patient_id=f"patient-{number // 3}",
                label=label,
                part="train",
                fold=1 + number % 4,
                files=(path,),
            )
        )
    return SliceSet(
        root=root,
        source="image_folder",
        layout="Training with a folder per class",
        class_names=CLASS_NAMES,
        slices=tuple(sorted(files, key=lambda file: file.slice_id)),
        notes=("one file was left out",),
    )


@dataclass(frozen=True)
class MadeUpSlices:
    """What splitting and the search for duplicates look at."""

    slices: tuple[SliceRecord, ...]
    thumbnails: np.ndarray
    class_names: tuple[str, ...] = ("a", "b", "c")


def made_up_slice(name: str, label: int | None, **known: object) -> SliceRecord:
    """A record of which little is known."""
    values = {"patient_id": "", "part": "", "fold": 0, "digest": name, **known}
    return SliceRecord(
        slice_id=name,
        label=label,
        original_shape=(8, 8, 1),
        **{"difference_hash": "0" * 16, **values},
    )
