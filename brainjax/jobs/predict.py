"""Scans to segmentations on disk."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from brainjax import parallel
from brainjax.errors import InputError
from brainjax.evaluation import scale_probabilities
from brainjax.inference import (
    segmentation_path,
    uncertainty_paths,
    write_segmentation,
    write_uncertainty,
)
from brainjax.jobs.predictor import Predictor, load_predictor, output_convention
from brainjax.report import LabelOverlay, MapOverlay, write_viewer
from brainjax.scans import CONVENTIONS, PAINTED, CaseFiles, find_cases_to_predict, read_volume
from brainjax.training import ProgressPrinter


def predict(
    *,
    checkpoints: Sequence[Path],
    inputs: Sequence[Path],
    output: Path,
    config: Mapping[str, Any] | None,
    overrides: Mapping[str, Any],
    write_probabilities: bool,
    with_viewer: bool = False,
    with_uncertainty: bool = False,
) -> int:
    """Segments cases and writes one NIfTI file for each, on the scan's own grid.

    Probabilities are calibrated where the run has been evaluated; the uncertainty is that of
    the network itself. A viewer is a page ``<case>.html`` to look at the case in a browser.

    A case that cannot be read is told and passed over; the others are done. Several
    processes each take some of the cases.

    Returns:
      The exit code: 0, or 1 when a case failed.

    Raises:
      InputError: no usable checkpoint, or every case failed.
    """
    predictor = load_predictor(checkpoints, overrides=overrides, config=config)
    failures: list[InputError] = []
    cases = find_cases(inputs, predictor.modalities, failures)
    check_writable(output)
    told = ", ".join(f"{path} (step {step})" for path, step in
                     zip(checkpoints, predictor.steps, strict=True))  # fmt: skip
    if parallel.is_first():
        print(f"{len(cases)} case{'s' * (len(cases) != 1)} with {told}", flush=True)
        if write_probabilities:
            known = predictor.temperature != 1
            told = (
                f"calibrated with the temperature {predictor.temperature:.3f}" if known else "raw"
            )
            print(f"probabilities: {told}", flush=True)
        if with_uncertainty and not predictor.several:
            print(
                "note: one network and no mirroring: entropy only; the makers' disagreement takes "
                "several --checkpoint or --config.inference.mirror=true",
                flush=True,
            )
    else:
        failures.clear()  # the first process counts those that were not found
    done = 0
    for number, case in parallel.own_share(list(enumerate(cases, start=1))):
        begun = time.perf_counter()
        try:
            volume = read_volume(case, modalities=predictor.modalities, with_labels=False)
            values = output_convention(predictor, volume)
            segmentation_path(output, volume)
            if write_probabilities:
                segmentation_path(output, volume, probabilities=True)
            progress = ProgressPrinter(f"  {case.case_id}", unit="patches")
            if with_uncertainty:
                uncertainty_paths(output, volume)
                labels, probabilities, uncertainty = predictor.segment_with_uncertainty(
                    volume, progress=progress
                )
                write_uncertainty(output, volume, uncertainty)
            else:
                labels, probabilities = predictor.segment(
                    volume, with_probabilities=write_probabilities, progress=progress
                )
            if write_probabilities:
                probabilities = scale_probabilities(probabilities, predictor.temperature)
            else:
                probabilities = None
            path = write_segmentation(
                output, volume, labels, output_convention=values, probabilities=probabilities
            )
            if with_viewer:
                overlays = prediction_overlays(predictor, labels, probabilities)
                write_viewer(output / f"{volume.case_id}.html", volume, overlays)
        except InputError as error:
            failures.append(error)
            print(f"case {number}/{len(cases)} {case.case_id}: failed: {error}", flush=True)
            continue
        done += 1
        print(
            f"case {number}/{len(cases)} {case.case_id}: {path}  "
            f"{(labels > 0).sum()} tumour voxels, values of {values}  "
            f"{time.perf_counter() - begun:.1f} s",
            flush=True,
        )
    shares = parallel.gather((done, failures))
    written = sum(done for done, _ in shares)
    failed = [error for _, failures in shares for error in failures]
    if failed and not written:
        raise failed[0]
    if failed and parallel.is_first():
        print(f"{written} written, {len(failed)} failed", flush=True)
    return 1 if failed else 0


def prediction_overlays(
    predictor: Predictor, labels: np.ndarray, probabilities: np.ndarray | None
) -> list[LabelOverlay | MapOverlay]:
    """A prediction as a viewer shows it: the classes, and if given the probability of each
    tissue, or region of a network that was trained on these."""
    classes = CONVENTIONS[predictor.label_convention].classes
    overlays: list[LabelOverlay | MapOverlay] = [
        LabelOverlay(name="prediction", classes=labels, class_names=classes)
    ]
    if probabilities is not None:
        names = tuple(PAINTED) if predictor.experiment.trains_regions else classes[1:]
        overlays += [
            MapOverlay(
                name=f"probability of {name}", values=probabilities[..., number], limits=(0.0, 1.0)
            )
            for number, name in enumerate(names, start=1)
        ]
    return overlays


def find_cases(
    inputs: Sequence[Path], modalities: Sequence[str], failures: list[InputError]
) -> list[CaseFiles]:
    """All cases that can be found; in a folder of cases a broken one does not hide the rest."""
    try:
        return list(find_cases_to_predict(inputs, modalities=modalities))
    except InputError as error:
        folders = sorted(
            child
            for path in inputs
            if path.is_dir()
            for child in path.iterdir()
            if child.is_dir() and not child.name.startswith(".")
        )
        if len(folders) < 2:
            raise
        first = error
    cases: list[CaseFiles] = []
    for folder in folders:
        try:
            cases += find_cases_to_predict([folder], modalities=modalities)
        except InputError as error:
            failures.append(error)
            print(f"failed: {error}", flush=True)
    if not cases:
        raise first
    return cases


def check_writable(output: Path) -> None:
    """Makes a folder for predictions.

    Raises:
      InputError: it cannot be made or written.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=output):
            pass
    except OSError as error:
        raise InputError(
            f"--output={output}: cannot be written ({error.strerror}); choose another folder"
        ) from error
