"""What paper 2's U-Nets show, how well their maps find the tumour, and the page about it."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from brainjax.batches import evaluation_batches
from brainjax.evaluation import write_map_scores
from brainjax.experiment import ReconstructionExperiment
from brainjax.explain import compiled_reconstruct, keep_left, keep_right
from brainjax.files import write_json, write_text
from brainjax.jobs.classifier import compiled_classify, log_probabilities
from brainjax.jobs.predictor import versions
from brainjax.jobs.reconstruction_saliency import Saliency, find_tumours, make_saliency
from brainjax.jobs.reconstruction_snapshots import (
    AUTOENCODER,
    CLASSIFIER,
    Snapshot,
    autoencoder_snapshots,
    classifier_snapshots,
)
from brainjax.jobs.slices import SliceData, data_root
from brainjax.report import PicturedSlice, ReconstructionReport, write_reconstruction_report
from brainjax.report.reconstruction_report import epoch_text
from brainjax.training import ProgressPrinter, read_history

_PARTS = {"test": "test part", "val": "validation part"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Side:
    """The U-Net, or one of its sides, at every snapshot.

    Attributes:
      errors: mean squared error of each snapshot.
      pictures: number of a slice to its outputs [H, W] by each snapshot.
    """

    errors: list[float]
    pictures: dict[int, list[np.ndarray]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Classified:
    """The classifier at every snapshot: accuracy by part, and confusion on the scored part."""

    accuracy: dict[str, list[float]]
    confusions: list[np.ndarray]


def finish_reconstruction(built: ReconstructionExperiment, data: SliceData, workdir: Path) -> None:
    """Looks at every snapshot, joins the last two networks, and writes summary and page.

    Args:
      built: the experiment.
      data: its images.
      workdir: holds both networks, and gets ``summary.json``, ``localisation.csv``,
        ``report.html`` and ``figures``.

    Raises:
      InputError: a network or the tumours' boxes cannot be read.
    """
    part = "test" if data.split.test else "val"
    chosen = data.split.test or data.split.validation
    tumours = find_tumours(built, data, chosen, data_root(built.classification, workdir))
    pictured = _choose(built, data, chosen, tumours)
    autoencoders = autoencoder_snapshots(built, data, workdir / AUTOENCODER)
    classifiers = classifier_snapshots(built, data, workdir / CLASSIFIER)
    sides = _look_at_sides(built, data, chosen, autoencoders, pictured)
    classified = _classify(built, data, classifiers, {"training": data.split.training,
                                                      _PARTS[part]: chosen})  # fmt: skip
    saliency = make_saliency(
        built, data, chosen, tumours,
        autoencoder=autoencoders[-1].variables, classifier=classifiers[-1].variables,
        pictured=[number for row in pictured for number in row],
    )  # fmt: skip
    gain = float(np.sum(autoencoders[-1].variables["batch_stats"]["location"]["kernel"]))
    numbers: dict[str, float] = {
        "part/slices": float(len(chosen)),
        "location/gain": gain,
    }
    for place, snapshot in enumerate(autoencoders):
        for name, side in sides.items():
            key = "autoencoder" if name == "both" else f"{name}_only"
            numbers[f"{key}/mse/epoch_{epoch_text(snapshot.epoch)}"] = side.errors[place]
    for place, snapshot in enumerate(classifiers):
        for name, values in classified.accuracy.items():
            key = "train" if name == "training" else part
            numbers[f"classifier/{key}_accuracy/epoch_{epoch_text(snapshot.epoch)}"] = values[place]
    numbers |= saliency.numbers
    write_json(workdir / "summary.json", numbers)
    write_map_scores(workdir / "localisation.csv", saliency.scores)
    report = ReconstructionReport(
        title=f"Saliency by U-Net: {workdir.name}",
        command=shlex.join(["python", "-m", "brainjax.main", *sys.argv[1:]]),
        config=built.config,
        part=f"{_PARTS[part]}, {len(chosen)} slices",
        class_names=data.class_names,
        history=read_history(workdir / AUTOENCODER / "metrics.jsonl"),
        classifier_history=read_history(workdir / CLASSIFIER / "metrics.jsonl"),
        epochs=tuple(snapshot.epoch for snapshot in autoencoders),
        errors={name: side.errors for name, side in sides.items()},
        classifier_epochs=tuple(snapshot.epoch for snapshot in classifiers),
        accuracy=classified.accuracy,
        confusions=tuple(classified.confusions),
        pictured=(
            tuple(_picture(data, n, sides, saliency, tumours) for n in pictured[0]),
            tuple(_picture(data, n, sides, saliency, tumours) for n in pictured[1]),
        ),
        localisation=saliency.localisation,
        verdict=saliency.verdict,
        summary=numbers,
        environment=versions(),
        notes=(*data.notes, *saliency.notes, *_note_on_grey(data, chosen, gain)),
    )
    write_reconstruction_report(workdir / "report.html", report)
    _write_summary(workdir / "summary.md", report)
    print("\n", *saliency.verdict, f"report: {workdir / 'report.html'}", sep="\n", flush=True)


def _note_on_grey(data: SliceData, chosen: Sequence[int], gain: float) -> tuple[str, ...]:
    """In grey images the frozen path cannot do what the paper wants of it."""
    images = data.images
    if any((images[number] != images[number][..., :1]).any() for number in chosen):
        return ()
    return (
        f"The images are grey: their channels are equal, so the frozen 1x1 path is the image times "
        f"{gain:.2f}. It carries brightness, not place alone as the paper has it.",
    )


def _choose(
    built: ReconstructionExperiment,
    data: SliceData,
    chosen: Sequence[int],
    tumours: Mapping[int, np.ndarray],
) -> tuple[list[int], list[int]]:
    """Slices to be shown, spread over each class: the first of each, and the others."""
    rows: tuple[list[int], list[int]] = ([], [])
    candidates = [number for number in chosen if number in tumours] or list(chosen)
    for label in range(len(data.class_names)):
        of_class = [number for number in candidates if data.labels[number] == label]
        count = min(built.options.pictures, len(of_class))
        places = ((2 * k + 1) * len(of_class) // (2 * count) for k in range(count))
        for k, place in enumerate(places):
            rows[k > 0].append(of_class[place])
    return rows


def _look_at_sides(
    built: ReconstructionExperiment,
    data: SliceData,
    chosen: Sequence[int],
    snapshots: Sequence[Snapshot],
    pictured: tuple[list[int], list[int]],
) -> dict[str, _Side]:
    """The autoencoder and both controls at every snapshot."""
    model = built.make_autoencoder()
    shape = (1, *data.images.shape[1:])
    # Another key than training began with, so that what is drawn anew is new.
    key = jax.random.fold_in(jax.random.key(built.classification.seed), 1)
    fresh: Any = jax.jit(model.init)(key, np.zeros(shape, np.float32))
    made = {
        "both": lambda variables: variables,
        "right": lambda variables: keep_right(variables, fresh),
        "left": lambda variables: keep_left(variables, fresh),
    }
    reconstruct = compiled_reconstruct(model)
    size = built.classification.evaluation.batch_size
    wanted = {number for row in pictured for number in row}
    progress = ProgressPrinter("snapshots looked at", unit="networks")
    found = {}
    for row, (name, make) in enumerate(made.items()):
        errors: list[float] = []
        pictures: dict[int, list[np.ndarray]] = {number: [] for number in wanted}
        for place, snapshot in enumerate(snapshots):
            variables, total, start = make(snapshot.variables), 0.0, 0
            for batch in evaluation_batches(data.images, data.labels, chosen, size):
                valid = int(batch["valid"])
                output = np.asarray(reconstruct(variables, batch["image"]).image)[:valid]
                target = batch["image"][:valid].astype(np.float32) / 255.0
                total += float(np.mean((output - target) ** 2, axis=(1, 2, 3)).sum())
                for number, picture in zip(chosen[start : start + valid], output, strict=True):
                    if number in wanted:
                        pictures[number].append(picture.mean(axis=-1))
                start += valid
            errors.append(total / len(chosen))
            progress(row * len(snapshots) + place + 1, len(made) * len(snapshots))
        found[name] = _Side(errors=errors, pictures=pictures)
    return found


def _classify(
    built: ReconstructionExperiment,
    data: SliceData,
    snapshots: Sequence[Snapshot],
    parts: Mapping[str, Sequence[int]],
) -> _Classified:
    """Accuracy of every snapshot on each part, and the confusion matrix on the last of them."""
    count = len(data.class_names)
    images = built.classification
    classify = compiled_classify(images.make_model(count), mirror=False, options=images.parallel)
    accuracy: dict[str, list[float]] = {name: [] for name in parts}
    confusions = []
    for snapshot in snapshots:
        confusion = np.zeros((count, count), int)
        for name, chosen in parts.items():
            found = log_probabilities(
                classify, [snapshot.variables], data.images, chosen, texture=None,
                batch_size=images.evaluation.batch_size,
            ).argmax(axis=1)  # fmt: skip
            truth = data.labels[list(chosen)]
            accuracy[name].append(float(np.mean(found == truth)))
            confusion = np.zeros((count, count), int)
            np.add.at(confusion, (truth, found), 1)
        confusions.append(confusion)
    return _Classified(accuracy=accuracy, confusions=confusions)


def _picture(
    data: SliceData,
    number: int,
    sides: Mapping[str, _Side],
    saliency: Saliency,
    tumours: Mapping[int, np.ndarray],
) -> PicturedSlice:
    shown = saliency.pictured[number]
    return PicturedSlice(
        title=data.records.slices[number].slice_id,
        truth=data.class_names[int(data.labels[number])],
        prediction=data.class_names[shown.predicted],
        image=shown.maps["intensity"],
        box=_box(tumours[number]) if number in tumours else None,
        sides={name: side.pictures[number] for name, side in sides.items()},
        joined=shown.joined,
        maps=shown.maps,
        scores=shown.scores,
    )


def _box(region: np.ndarray) -> tuple[float, float, float, float]:
    """Left, top, width and height of a region [H, W] that is not empty."""
    rows, columns = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
    return (float(columns[0]), float(rows[0]), float(columns[-1] - columns[0] + 1),
            float(rows[-1] - rows[0] + 1))  # fmt: skip


def _write_summary(path: Path, report: ReconstructionReport) -> None:
    lines = [f"# {report.title}\n", *(f"{sentence}\n" for sentence in report.verdict)]
    lines += [f"> {note}\n" for note in report.notes]
    lines += [f"- {name}: {value:.4g}" for name, value in report.summary.items()]
    write_text(path, "\n".join(lines) + "\n")
