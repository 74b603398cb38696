"""Several trained segmentation networks beside one another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from brainjax.errors import InputError
from brainjax.evaluation import confidence_shares, dice
from brainjax.jobs.predict import check_writable, find_cases
from brainjax.jobs.predictor import Predictor, find_checkpoint, load_predictor
from brainjax.report import CaseExample, save_figure
from brainjax.report.model_figures import (
    draw_attention_losses,
    draw_confidence,
    draw_prototype_distances,
    draw_segmentations,
)
from brainjax.scans import CONVENTIONS, REGIONS, CaseFiles, Volume, read_volume
from brainjax.training import ProgressPrinter, read_history

_TENTHS = np.linspace(0.0, 1.0, 11)


def compare(
    *,
    checkpoints: Sequence[Path],
    inputs: Sequence[Path],
    output: Path,
    overrides: Mapping[str, Any],
) -> int:
    """Draws trained networks beside one another, of whatever kind each is.

    Of every case: the segmentations beside the reference, and how sure the networks are. Of
    the runs: their attention losses, and how far apart their prototypes are.

    Args:
      checkpoints: runs or checkpoints.
      inputs: cases; none draws the runs only.
      output: the folder for the pictures.
      overrides: dotted names of the configuration to new values.

    Returns:
      The exit code: 0, or 1 when a case failed.

    Raises:
      InputError: no usable checkpoint, or no case can be drawn.
    """
    predictors = {
        name: load_predictor([path], overrides=overrides)
        for name, path in _names(checkpoints).items()
    }
    first = next(iter(predictors.values()))
    failures: list[InputError] = []
    cases = find_cases(inputs, first.modalities, failures) if inputs else []
    check_writable(output)
    pictures = _draw_training(predictors, _names(checkpoints), output)
    for case in cases:
        try:
            pictures += draw_models(predictors, read_case(first, case), output)
        except InputError as error:
            failures.append(error)
            print(f"{case.case_id}: failed: {error}", flush=True)
    for picture in pictures:
        print(picture, flush=True)
    if failures and not pictures:
        raise failures[0]
    return 1 if failures else 0


def read_case(predictor: Predictor, case: CaseFiles) -> Volume:
    """Reads a case as a network needs it, with its reference where it has one.

    Raises:
      InputError: a file is missing or cannot be used.
    """
    return read_volume(
        case,
        modalities=predictor.modalities,
        label_convention=predictor.experiment.data.label_convention,
        with_labels=case.labels is not None,
    )


def draw_models(predictors: Mapping[str, Predictor], volume: Volume, output: Path) -> list[Path]:
    """Draws the segmentations of a case beside its reference, and how sure the networks are.

    Args:
      predictors: by the name that the pictures give them.
      volume: the case.
      output: the folder for the pictures.

    Returns:
      The pictures, PNG files.

    Raises:
      InputError: the networks differ in classes or modalities, or cannot segment the case.
    """
    first = next(iter(predictors.values()))
    labels_of = CONVENTIONS[first.label_convention]
    regions = {name: labels_of.region_classes(name) for name in REGIONS}
    brain = (volume.image != 0).any(axis=-1)
    segmentations, scores, shares, largest = {}, {}, {}, {}
    for name, predictor in predictors.items():
        if CONVENTIONS[predictor.label_convention].classes != labels_of.classes:
            raise InputError(
                f"{name}: tells apart {CONVENTIONS[predictor.label_convention].classes}, "
                f"the others {labels_of.classes}; compare networks of the same classes"
            )
        classes, probabilities = predictor.segment(
            volume,
            with_probabilities=True,
            progress=ProgressPrinter(f"  {volume.case_id}: {name}", unit="patches"),
        )
        segmentations[name] = classes
        inside, said = probabilities[brain], classes[brain]
        shares[name] = {
            region: confidence_shares(inside[:, list(members)].sum(axis=1))
            for region, members in regions.items()
        }
        largest[name] = {
            region: confidence_shares(inside[np.isin(said, members)].max(axis=1), _TENTHS)
            for region, members in regions.items()
        }
        if volume.labels is not None:
            scores[name] = {
                region: dice(np.isin(classes, members), np.isin(volume.labels, members))
                for region, members in regions.items()
            }
    example = CaseExample(
        case_id=volume.case_id,
        rank="",
        image=volume.image,
        modalities=volume.modalities,
        reference=volume.labels,
        predicted=next(iter(segmentations.values())),
        spacing_mm=volume.spacing_mm,
        scores={},
    )
    figures = {
        "segmentations": draw_segmentations(example, segmentations, labels_of.classes, scores),
        "confidence": draw_confidence(volume.case_id, shares, largest),
    }
    pictures = []
    for name, figure in figures.items():
        pictures.append(output / f"{volume.case_id}_{name}.png")
        save_figure(pictures[-1], figure)
    return pictures


def _draw_training(
    predictors: Mapping[str, Predictor], paths: Mapping[str, Path], output: Path
) -> list[Path]:
    """Curves of the runs; of checkpoints without a ``metrics.jsonl`` there are none."""
    histories = {
        name: read_history(find_checkpoint(path)[0].parent / "metrics.jsonl")
        for name, path in paths.items()
        if path.is_dir()
    }
    figures = {
        "attention_loss": draw_attention_losses(
            {f"{name}: {_attention_of(predictors[name])}": rows for name, rows in histories.items()}
        )
    }
    for name, history in histories.items():
        figures[f"prototype_distances_{name.replace('/', '_')}"] = draw_prototype_distances(
            history,
            CONVENTIONS[predictors[name].label_convention].classes,
            title=f"{name}: distances of prototypes in training",
        )
    pictures = []
    for name, figure in figures.items():
        if figure is not None:
            pictures.append(output / f"{name}.png")
            save_figure(pictures[-1], figure)
    return pictures


def _attention_of(predictor: Predictor) -> str:
    """Where a network's attention map comes from, in words."""
    source = predictor.experiment.config["model"].get("attention_from")
    return {"image": "attention path", "features": "one convolution on features"}.get(
        source, "no attention"
    )


def _names(checkpoints: Sequence[Path]) -> dict[str, Path]:
    """Checkpoints by the shortest ends of their paths that differ."""
    paths = [path.absolute() for path in dict.fromkeys(checkpoints)]
    for length in range(1, max(len(path.parts) for path in paths) + 1):
        names = ["/".join(path.parts[-length:]) for path in paths]
        if len(set(names)) == len(names):
            break
    return dict(zip(names, paths, strict=True))
