"""Calibration of a segmentation network: one temperature, and whether doubts find errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from brainjax.evaluation import (
    VoxelSample,
    draw_voxels,
    error_detection,
    fit_voxel_temperature,
    region_reliability,
)
from brainjax.inference import Uncertainty, voxel_entropy
from brainjax.jobs.predictor import Predictor
from brainjax.report import CalibratedPart
from brainjax.scans import Volume, brain_mask


def segment_and_sample(predictor: Predictor, volume: Volume) -> tuple[np.ndarray, VoxelSample]:
    """Segments a labelled scan and draws voxels of its brain with what is said of them.

    Of an ensemble, or with mirroring, the makers' disagreement is among the doubts.

    Returns:
      Classes ``[D, H, W]`` uint8, and the voxels.
    """
    if predictor.several:
        predicted, probabilities, uncertainty = predictor.segment_with_uncertainty(volume)
    else:
        predicted, probabilities = predictor.segment(volume, with_probabilities=True)
        uncertainty = Uncertainty(entropy=voxel_entropy(probabilities), mutual_information=None)
    doubts = {
        name: values
        for name in ("entropy", "mutual_information")
        if (values := getattr(uncertainty, name)) is not None
    }
    assert volume.labels is not None
    sample = draw_voxels(
        case_id=volume.case_id,
        brain=brain_mask(volume.image),
        probabilities=probabilities,
        reference=volume.labels,
        predicted=predicted,
        doubts=doubts,
    )
    return predicted, sample


def calibrate(
    samples: Mapping[str, Sequence[VoxelSample]], regions: Mapping[str, tuple[int, ...]]
) -> tuple[float, tuple[CalibratedPart, ...], dict[str, float]]:
    """Fits the temperature on the validation cases and measures every part with it.

    Args:
      samples: ``val``, and ``test`` where there is one, to voxels of their cases.
      regions: region to classes.

    Returns:
      The temperature, what the report shows, and numbers for ``summary.json``:
      ``val/ece/WT``, ``val/ece_uncalibrated/WT``, ``val/error_auroc_entropy`` and so on.
    """
    temperature = fit_voxel_temperature(samples["val"])
    numbers = {"calibration/temperature": temperature}
    parts = []
    for prefix, drawn in samples.items():
        reliability = region_reliability(drawn, regions, temperature)
        detection = error_detection(drawn)
        for one in reliability:
            numbers[f"{prefix}/ece/{one.region}"] = one.after.expected_calibration_error
            numbers[f"{prefix}/ece_uncalibrated/{one.region}"] = (
                one.before.expected_calibration_error
            )
        numbers |= {f"{prefix}/error_auroc_{name}": area for name, area in detection.items()}
        parts.append(
            CalibratedPart(
                name=prefix,
                temperature=temperature,
                reliability=tuple(reliability),
                error_detection=detection,
            )
        )
    return temperature, tuple(parts), numbers
