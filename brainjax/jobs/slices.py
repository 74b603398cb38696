"""Images of a classification data set to arrays, and which of them train, validate and test."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from brainjax import parallel
from brainjax.batches import oversample
from brainjax.errors import InputError
from brainjax.experiment import ClassificationExperiment, ReconstructionExperiment
from brainjax.records import (
    SliceRecords,
    SliceSplit,
    prepare_slices,
    split_slices,
    texture_features,
)
from brainjax.scans import find_slices, write_phantom_slices
from brainjax.training import ProgressPrinter

PARTS = ("training", "validation", "test")

MADE_UP_NOTE = (
    "Made-up images: these scores say that the software works, nothing about real tumours."
)

PERMUTED_NOTE = (
    "The training images have each other's labels (permute_labels): a control that can learn "
    "nothing of the classes."
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SliceData:
    """What a classifier trains on.

    Attributes:
      records: every image of the data set.
      split: numbers of the training, validation and test images.
      images: uint8 [N, H, W, C]; synthetic training images stand at the end.
      labels: int32 [N].
      training: numbers of what is trained on, synthetic images included.
      texture: float32 [N, F], None when it is not used.
      notes: what a reader of the scores has to know.
    """

    records: SliceRecords
    split: SliceSplit
    images: np.ndarray
    labels: np.ndarray
    training: tuple[int, ...]
    texture: np.ndarray | None
    notes: tuple[str, ...]

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes, in the order of the labels."""
        return self.records.class_names

    def slice_ids(self, part: str) -> list[str]:
        """Names of the images of ``training``, ``validation`` or ``test``."""
        return [self.records.slices[n].slice_id for n in getattr(self.split, part)]

    def patients(self, numbers: tuple[int, ...]) -> list[str]:
        """Patient ids of some images, empty where unknown."""
        return [self.records.slices[n].patient_id for n in numbers]

    def fingerprint(self, part: str) -> str:
        """A hash of the names in a part, whatever their order."""
        names = "\n".join(sorted(self.slice_ids(part)))
        return hashlib.sha256(names.encode()).hexdigest()

    def class_counts(self) -> dict[str, tuple[int, ...]]:
        """Images of each class in each part, and after over-sampling."""
        parts = {part: getattr(self.split, part) for part in PARTS}
        if len(self.training) > len(self.split.training):
            parts["training with SMOTE"] = self.training
        return {
            name: tuple(
                np.bincount(self.labels[list(part)], minlength=len(self.class_names)).tolist()
            )
            for name, part in parts.items()
        }


def find_slice_data(built: ClassificationExperiment, workdir: Path) -> SliceData:
    """Finds or makes up the images, prepares their records, splits and over-samples them.

    Args:
      built: the experiment.
      workdir: folder of the made-up images and of the records.

    Raises:
      InputError: images are missing or cannot be read, or cannot be split as asked.
    """
    with parallel.first_goes_first():
        records, notes = prepare_slice_records(built, workdir)
    split = split_slices(records, built.split)
    for note in split.notes:
        print(f"split: {note}", flush=True)
    if not split.training or not split.validation:
        raise InputError(
            f"data.split={built.data.split}: {len(split.training)} training and "
            f"{len(split.validation)} validation images; raise or lower split.validation_fraction"
        )
    known = records.labels
    more: tuple[str, ...] = ()
    if built.permute_labels:
        known, more = _permuted(known, split.training, built.seed), (PERMUTED_NOTE,)
        print(f"note: {PERMUTED_NOTE}", flush=True)
    images, labels, training = _with_synthetic(built, records, known, split)
    texture = texture_features(images) if built.data.texture else None
    return SliceData(
        records=records,
        split=split,
        images=images,
        labels=labels,
        training=training,
        texture=texture,
        notes=(*notes, *more, *split.notes),
    )


def data_root(built: ClassificationExperiment, workdir: Path) -> Path:
    """Folder of the data set: the user's, or that of the made-up images in ``workdir``."""
    return Path(built.data.root) if built.data.root else workdir / "made_up"


def _permuted(labels: np.ndarray, chosen: tuple[int, ...], seed: int) -> np.ndarray:
    """The labels with those of the chosen images dealt out among these anew."""
    dealt = labels.copy()
    dealt[list(chosen)] = np.random.default_rng(seed).permutation(labels[list(chosen)])
    return dealt


def prepare_slice_records(
    built: ClassificationExperiment, workdir: Path
) -> tuple[SliceRecords, tuple[str, ...]]:
    """Writes the records of all images, once, and tells what was found.

    Raises:
      InputError: images are missing or cannot be read.
    """
    notes: tuple[str, ...] = ()
    source = built.data.source
    if built.data.root:
        root = data_root(built, workdir)
    else:
        made_up = built.made_up
        source = made_up.layout
        root = write_phantom_slices(
            data_root(built, workdir),
            layout=made_up.layout,
            slices_per_class=made_up.slices_per_class,
            patients=made_up.patients,
            slices_per_series=made_up.slices_per_series,
            seed=made_up.seed,
            progress=ProgressPrinter("made-up images", unit="images"),
        )
        notes = (MADE_UP_NOTE,)
    found = find_slices(root, source, options=built.series)
    print(
        f"{found.root}: {found.layout}, {len(found.slices)} images of "
        f"{len(found.class_names)} classes ({', '.join(found.class_names)})",
        flush=True,
    )
    for note in found.notes:
        print(f"note: {note}", flush=True)
    folder = Path(built.data.records) if built.data.records else workdir / "records"
    records = prepare_slices(
        found,
        folder,
        options=built.images,
        parts=built.data.parts,
        progress=ProgressPrinter("records", unit="images"),
    )
    if records.reason:
        print(f"records written to {folder}: {records.reason}", flush=True)
    return records, (*notes, *found.notes)


def _with_synthetic(
    built: ClassificationExperiment, records: SliceRecords, known: np.ndarray, split: SliceSplit
) -> tuple[np.ndarray, np.ndarray, tuple[int, ...]]:
    """Images, labels and training numbers, with SMOTE's images at the end when asked for."""
    if not built.smote.ratio:
        return records.images, known, split.training
    unknown = sorted(set(built.smote.classes) - set(records.class_names))
    if unknown:
        raise InputError(
            f"smote.classes: {', '.join(unknown)} is not among the classes "
            f"{', '.join(records.class_names)}"
        )
    chosen = list(split.training)
    images, labels = oversample(
        records.images[chosen],
        known[chosen],
        ratio=built.smote.ratio,
        classes=tuple(records.class_names.index(name) for name in built.smote.classes),
        neighbours=built.smote.neighbours,
        seed=built.seed,
    )
    added = len(labels) - len(chosen)
    print(f"SMOTE: {added} synthetic training images", flush=True)
    total = len(known)
    return (
        np.concatenate([records.images, images[len(chosen) :]]),
        np.concatenate([known, labels[len(chosen) :]]).astype(np.int32),
        (*split.training, *range(total, total + added)),
    )


def describe_classifier_run(
    built: ClassificationExperiment | ReconstructionExperiment,
    data: SliceData,
    versions: dict[str, str],
    pretrained: bool,
    position: dict[str, Any],
    seconds: float,
) -> dict[str, Any]:
    """What a checkpoint says about itself besides the arrays."""
    return {
        "position": dict(position),
        "seconds": seconds,
        "config": built.config,
        "pretrained": pretrained,
        "class_names": list(data.class_names),
        "training_patients": sorted({name for name in data.patients(data.split.training) if name}),
        **{f"{part}_fingerprint": data.fingerprint(part) for part in PARTS},
        "versions": versions,
    }


def check_slice_data(data: SliceData, run: dict[str, Any], workdir: Path) -> None:
    """Compares the images that a saved run used with those found now.

    Raises:
      InputError: there are others, or they fall into other parts.
    """
    if list(data.class_names) != run["class_names"]:
        raise InputError(
            f"{workdir} was trained on the classes {', '.join(run['class_names'])}, now there are "
            f"{', '.join(data.class_names)}; choose another --workdir"
        )
    changed = [part for part in PARTS if data.fingerprint(part) != run[f"{part}_fingerprint"]]
    if changed:
        raise InputError(
            f"{workdir} was begun with other {' and '.join(changed)} images; going on would mix "
            "both sides; restore the images or choose another --workdir"
        )
