"""Scans to segmentations on disk."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from brainjax.errors import InputError
from brainjax.inference import segmentation_path, write_segmentation
from brainjax.jobs.predictor import load_predictor, output_convention
from brainjax.report import LabelOverlay, MapOverlay, write_viewer
from brainjax.scans import CONVENTIONS, CaseFiles, find_cases_to_predict, read_volume
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
) -> int:
    """Segments cases and writes one NIfTI file for each, on the scan's own grid.

    With probabilities come those of each class, with a viewer ``<case>.html`` to look at the
    case in a browser.

    A case that cannot be read is told and passed over; the others are done.

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
    print(f"{len(cases)} case{'s' * (len(cases) != 1)} with {told}", flush=True)
    done = 0
    for number, case in enumerate(cases, start=1):
        begun = time.perf_counter()
        try:
            volume = read_volume(case, modalities=predictor.modalities, with_labels=False)
            values = output_convention(predictor, volume)
            segmentation_path(output, volume)
            if write_probabilities:
                segmentation_path(output, volume, probabilities=True)
            labels, probabilities = predictor.segment(
                volume,
                with_probabilities=write_probabilities,
                progress=ProgressPrinter(f"  {case.case_id}", unit="patches"),
            )
            path = write_segmentation(
                output, volume, labels, output_convention=values, probabilities=probabilities
            )
            if with_viewer:
                names = CONVENTIONS[predictor.label_convention].classes
                overlays = prediction_overlays(labels, probabilities, names)
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
    if failures and not done:
        raise failures[0]
    if failures:
        print(f"{done} written, {len(failures)} failed", flush=True)
    return 1 if failures else 0


def prediction_overlays(
    labels: np.ndarray, probabilities: np.ndarray | None, class_names: Sequence[str]
) -> list[LabelOverlay | MapOverlay]:
    """A prediction as a viewer shows it: the classes, and each tissue's probability if given."""
    overlays: list[LabelOverlay | MapOverlay] = [
        LabelOverlay(name="prediction", classes=labels, class_names=class_names)
    ]
    if probabilities is not None:
        overlays += [
            MapOverlay(
                name=f"probability of {name}", values=probabilities[..., number], limits=(0.0, 1.0)
            )
            for number, name in enumerate(class_names)
            if number
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
