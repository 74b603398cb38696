"""Scans to segmentations on disk."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from brainjax.errors import InputError
from brainjax.evaluation import scale_probabilities
from brainjax.inference import (
    segmentation_path,
    uncertainty_paths,
    write_segmentation,
    write_uncertainty,
)
from brainjax.jobs.predictor import load_predictor, output_convention
from brainjax.scans import CaseFiles, find_cases_to_predict, read_volume
from brainjax.training import ProgressPrinter


def predict(
    *,
    checkpoints: Sequence[Path],
    inputs: Sequence[Path],
    output: Path,
    config: Mapping[str, Any] | None,
    overrides: Mapping[str, Any],
    write_probabilities: bool,
    with_uncertainty: bool = False,
) -> int:
    """Segments cases and writes one NIfTI file for each, on the scan's own grid.

    A case that cannot be read is told and passed over; the others are done. Probabilities are
    calibrated where the run has been evaluated; the uncertainty is that of the network itself.

    Returns:
      The exit code: 0, or 1 when a case failed.

    Raises:
      InputError: no usable checkpoint, or every case failed.
    """
    predictor = load_predictor(checkpoints, overrides=overrides, config=config)
    failures: list[InputError] = []
    cases = _find_cases(inputs, predictor.modalities, failures)
    check_writable(output)
    told = ", ".join(f"{path} (step {step})" for path, step in
                     zip(checkpoints, predictor.steps, strict=True))  # fmt: skip
    print(f"{len(cases)} case{'s' * (len(cases) != 1)} with {told}", flush=True)
    if write_probabilities:
        known = predictor.temperature != 1
        told = f"calibrated with the temperature {predictor.temperature:.3f}" if known else "raw"
        print(f"probabilities: {told}", flush=True)
    if with_uncertainty and not predictor.several:
        print(
            "note: one network and no mirroring: entropy only; the makers' disagreement takes "
            "several --checkpoint or --config.inference.mirror=true",
            flush=True,
        )
    done = 0
    for number, case in enumerate(cases, start=1):
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


def _find_cases(
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
