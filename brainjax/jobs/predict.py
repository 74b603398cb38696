"""Scans to segmentations on disk."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from brainjax.errors import InputError
from brainjax.inference import segmentation_path, write_segmentation
from brainjax.jobs.predictor import load_predictor
from brainjax.scans import find_cases_to_predict, read_volume
from brainjax.training import ProgressPrinter


def predict(
    *,
    checkpoints: Sequence[Path],
    inputs: Sequence[Path],
    output: Path,
    config: Mapping[str, Any] | None,
    overrides: Mapping[str, Any],
    write_probabilities: bool,
) -> int:
    """Segments cases and writes one NIfTI file for each, on the scan's own grid.

    A case that cannot be read is told and passed over; the others are done.

    Returns:
      The exit code: 0, or 1 when a case failed.

    Raises:
      InputError: no input, no usable checkpoint, or every case failed.
    """
    if not inputs:
        raise InputError("predict needs --input=PATH: a case folder, a folder of cases, or files")
    predictor = load_predictor(checkpoints, overrides=overrides, config=config)
    cases = find_cases_to_predict(inputs, modalities=predictor.modalities)
    told = ", ".join(f"{path} (step {step})" for path, step in
                     zip(checkpoints, predictor.steps, strict=True))  # fmt: skip
    print(f"{len(cases)} cases with {told}", flush=True)
    failures: list[InputError] = []
    for number, case in enumerate(cases, start=1):
        begun = time.perf_counter()
        try:
            volume = read_volume(case, modalities=predictor.modalities, with_labels=False)
            segmentation_path(output, volume)
            labels, probabilities = predictor.segment(
                volume,
                with_probabilities=write_probabilities,
                progress=ProgressPrinter(f"  {case.case_id}", unit="patches"),
            )
            path = write_segmentation(output, volume, labels, probabilities=probabilities)
        except InputError as error:
            failures.append(error)
            print(f"case {number}/{len(cases)} {case.case_id}: failed: {error}", flush=True)
            continue
        print(
            f"case {number}/{len(cases)} {case.case_id}: {path}  "
            f"{(labels > 0).sum()} tumour voxels  {time.perf_counter() - begun:.1f} s",
            flush=True,
        )
    if len(failures) == len(cases):
        raise failures[0]
    return 1 if failures else 0
