"""The joined U-Net's maps beside gradient and baselines, and how well each finds the tumour."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from brainjax.batches import evaluation_batches
from brainjax.evaluation import (
    MapScore,
    MethodSummary,
    centre_map,
    localization_numbers,
    score_localization,
    summarize_localization,
)
from brainjax.experiment import ReconstructionExperiment
from brainjax.explain import (
    brightness_map,
    change_map,
    class_target,
    gradient,
    join_classifier,
    magnitude,
)
from brainjax.jobs.slices import SliceData
from brainjax.records import fit_region
from brainjax.report.reconstruction_report import MAPS
from brainjax.scans import SliceFile, read_boxes, read_region, read_slice
from brainjax.training import ProgressPrinter

PAPERS_MAPS = ("joined", "gradient")
"""The maps that the paper judges."""

_HALF = 0.5  # of the slices: whose greatest value a useful map has in the tumour


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShownSlice:
    """The maps of one slice that is shown.

    Attributes:
      predicted: the class that the encoder says.
      joined: output of the joined U-Net, mean of the channels, [H, W].
      maps: name to map [H, W].
      scores: name of a map to its scores; empty where no tumour is known.
    """

    predicted: int
    joined: np.ndarray
    maps: dict[str, np.ndarray]
    scores: dict[str, MapScore]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Saliency:
    """What the maps show.

    Attributes:
      pictured: number of a slice to its maps.
      scores: of every map of every slice whose tumour is known.
      localisation: each map over all of them.
      verdict: one sentence on the paper's own judgement, then one on each of our maps.
      numbers: for ``summary.json``.
      notes: what a reader of the scores has to know.
    """

    pictured: dict[int, ShownSlice]
    scores: tuple[MapScore, ...]
    localisation: tuple[MethodSummary, ...]
    verdict: tuple[str, ...]
    numbers: dict[str, float]
    notes: tuple[str, ...]


def find_tumours(
    built: ReconstructionExperiment, data: SliceData, chosen: Sequence[int], root: Path
) -> dict[int, np.ndarray]:
    """Where the tumour is, bool [H, W] at the network's size, by the number of the slice.

    A slice of which nothing says so, or whose tumour is smaller than a pixel, is left out.

    Args:
      built: the experiment.
      data: its images.
      chosen: numbers of slices.
      root: folder of the data set, with ``boxes.csv`` or ``.mat`` files with masks.

    Raises:
      InputError: the boxes or a slice cannot be read.
    """
    boxes = read_boxes(root)
    found = {}
    for number in chosen:
        record = data.records.slices[number]
        file = SliceFile(slice_id=record.slice_id, files=(root / record.slice_id,))
        region = read_region(file, record.original_shape[:2], boxes)
        if region is not None:
            images = built.classification.images
            fitted = fit_region(region, read_slice(file).image, images)
            if 0 < np.count_nonzero(fitted) < fitted.size:
                found[number] = fitted
    return found


def make_saliency(
    built: ReconstructionExperiment,
    data: SliceData,
    chosen: Sequence[int],
    tumours: Mapping[int, np.ndarray],
    *,
    autoencoder: Mapping[str, Any],
    classifier: Mapping[str, Any],
    pictured: Sequence[int],
) -> Saliency:
    """Makes and scores every map of every chosen slice, a batch in memory at a time.

    Args:
      built: the experiment.
      data: its images.
      chosen: numbers of the slices.
      tumours: of ``find_tumours``.
      autoencoder: variables at its last snapshot.
      classifier: likewise.
      pictured: numbers of the slices whose maps are kept.
    """
    explain = _compiled_maps(built, len(data.class_names))
    joined = join_classifier(autoencoder, classifier)
    shape = data.images.shape[1:3]
    tolerance = built.classification.explain.tolerance * max(shape)
    baselines = {"uniform": np.ones(shape), "centre": centre_map(shape)}
    shown: dict[int, ShownSlice] = {}
    scores: list[MapScore] = []
    progress = ProgressPrinter("maps", unit="slices")
    done, size = 0, built.classification.evaluation.batch_size
    for batch in evaluation_batches(data.images, data.labels, chosen, size):
        valid = int(batch["valid"])
        maps, output, predicted = jax.device_get(
            explain(autoencoder, joined, classifier, batch["image"])
        )
        for place, number in enumerate(chosen[done : done + valid]):
            own = {name: values[place] for name, values in maps.items()}
            rows = {}
            if number in tumours:
                every = {**own, **baselines}
                rows = {
                    name: _score(data, number, name, every[name], tumours[number], tolerance)
                    for name in MAPS
                }
                scores += rows.values()
            if number in pictured:
                shown[number] = ShownSlice(
                    predicted=int(predicted[place]), joined=output[place], maps=own, scores=rows
                )
        done += valid
        progress(done, len(chosen))
    return _summarize(built, shown, scores)


def _compiled_maps(built: ReconstructionExperiment, num_classes: int) -> Any:
    """Maps, joined output and predicted class of a batch, as one compiled function."""
    unet: Any = built.make_autoencoder()
    network: Any = built.classification.make_model(num_classes)

    def explain(autoencoder: Any, joined: Any, classifier: Any, image: jax.Array) -> Any:
        image = image.astype(jnp.float32) / 255.0
        before, after = (
            unet.apply(variables, image, train=False).image for variables in (autoencoder, joined)
        )

        def logits(image: jax.Array) -> jax.Array:
            return network.apply(classifier, image, train=False).logits

        predicted = jnp.argmax(logits(image), axis=-1)
        maps = {
            "joined": brightness_map(after),
            "change": change_map(after, before),
            "gradient": magnitude(gradient(class_target(logits), image, predicted)),
            "intensity": brightness_map(image),
        }
        return maps, jnp.mean(after, axis=-1), predicted

    return jax.jit(explain)


def _score(
    data: SliceData,
    number: int,
    method: str,
    values: np.ndarray,
    tumour: np.ndarray,
    tolerance: float,
) -> MapScore:
    record = data.records.slices[number]
    found = score_localization(values, tumour, tolerance=tolerance)
    measures = ("saliency_share", "area_share", "ratio", "pointing", "auroc")
    return MapScore(
        case_id=record.slice_id,
        patient_id=record.patient_id,
        method=method,
        values={name: getattr(found, name) for name in measures},
        finite=found.finite,
        flat=found.flat,
    )


def _summarize(
    built: ReconstructionExperiment, shown: dict[int, ShownSlice], scores: Sequence[MapScore]
) -> Saliency:
    if not scores:
        return Saliency(
            pictured=shown, scores=(), localisation=(), verdict=(), numbers={"saliency/cases": 0.0},
            notes=("no tumour box or mask is known: the maps are shown, not scored",),
        )  # fmt: skip
    found = summarize_localization(
        scores,
        samples=built.classification.evaluation.bootstrap,
        seed=built.classification.seed,
    )
    numbers = {
        f"saliency/{name}": value
        for name, value in localization_numbers(found).items()
        if not name.startswith(("insertion", "deletion"))
    }
    for row in found:
        for baseline, (low, high) in row.above.items():
            if row.method not in row.above and baseline == "intensity":
                numbers[f"saliency/auroc_above_intensity_low/{row.method}"] = low
                numbers[f"saliency/auroc_above_intensity_high/{row.method}"] = high
    numbers["saliency/cases"] = float(found[0].cases)
    notes: tuple[str, ...] = ()
    if not any(score.patient_id for score in scores):
        notes = (
            "No patients are named in this data set, so the intervals draw single slices: slices "
            "of one patient are alike, and the intervals are too narrow.",
        )
    return Saliency(
        pictured=shown,
        scores=tuple(scores),
        localisation=tuple(found),
        verdict=_verdict(found),
        numbers=numbers,
        notes=notes,
    )


def _verdict(found: Sequence[MethodSummary]) -> tuple[str, ...]:
    """Whether each map is adequate to localise, with the numbers that say so.

    It is when its AUROC is above that of every baseline and its greatest value lies in or
    near the tumour more often than not, each by the whole interval.
    """
    adequate, sentences = [], []
    for row in found:
        if row.method in row.above or not row.above or row.verdict == "baseline":
            continue
        finds = min(low for low, _ in row.above.values()) > 0 and row.means["pointing"][1] > _HALF
        adequate += [row.method] if finds else []
        words = MAPS[row.method]
        low, high = row.above["intensity"]
        sentences.append(
            f"{words[:1].upper()}{words[1:]}: {'' if finds else 'not '}adequate ({row.verdict}). "
            f"AUROC {_told(row.means['auroc'])}, against the image's own brightness {low:+.3f} to "
            f"{high:+.3f}; greatest value in or near the tumour in {_told(row.means['pointing'])} "
            f"of {row.cases} slices; {row.means['ratio'][0]:.2f} times as much of the map as of "
            "the area inside."
        )
    refuting = [MAPS[name] for name in PAPERS_MAPS if name in adequate]
    judgement = f"refuted by: {'; '.join(refuting)}" if refuting else "confirmed"
    return (f"The paper's judgement that neither of its maps localises the tumour is {judgement}.",
            *sentences)  # fmt: skip


def _told(score: tuple[float, float, float]) -> str:
    return "{:.3f} ({:.3f} to {:.3f})".format(*score)
