"""Prediction of whole scans: windows, flips, ensembles, post-processing, files."""

from brainjax.inference.ensemble import Predict, Predictor, Variables, averaged_predictor
from brainjax.inference.mirroring import FLIPS, mirror_average
from brainjax.inference.postprocess import (
    PostprocessOptions,
    keep_largest_component,
    labels_from_probabilities,
    postprocess,
    relabel_small_enhancing,
    remove_small_components,
)
from brainjax.inference.predict import segment_volume, segmentation_path, write_segmentation
from brainjax.inference.sliding_window import (
    PredictionCost,
    SlidingWindowOptions,
    automatic_patch_batch,
    estimate_cost,
    predict_volume,
)
from brainjax.inference.uncertainty import (
    Uncertainty,
    predict_with_uncertainty,
    segment_with_uncertainty,
    uncertainty_paths,
    voxel_entropy,
    write_uncertainty,
)
from brainjax.inference.whole_volume import WholeVolumeOptions, predict_whole_volume

__all__ = [
    "FLIPS",
    "PostprocessOptions",
    "Predict",
    "PredictionCost",
    "Predictor",
    "SlidingWindowOptions",
    "Uncertainty",
    "Variables",
    "WholeVolumeOptions",
    "automatic_patch_batch",
    "averaged_predictor",
    "estimate_cost",
    "keep_largest_component",
    "labels_from_probabilities",
    "mirror_average",
    "postprocess",
    "predict_volume",
    "predict_whole_volume",
    "predict_with_uncertainty",
    "relabel_small_enhancing",
    "remove_small_components",
    "segment_volume",
    "segment_with_uncertainty",
    "segmentation_path",
    "uncertainty_paths",
    "voxel_entropy",
    "write_segmentation",
    "write_uncertainty",
]
