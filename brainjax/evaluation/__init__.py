"""Scores of segmentations, in mm and with the empty masks counted.

``score_case`` compares two class maps under a convention, ``summarize`` turns
the scores of a cohort into flat names and numbers, and ``write_case_table`` and
``summary_markdown`` write them down. The parts below them can be used alone.
"""

from brainjax.evaluation.bootstrap import bootstrap_intervals, interval_numbers, permutation_p_value
from brainjax.evaluation.calibration import (
    ReliabilityBins,
    apply_temperature,
    expected_calibration_error,
    fit_temperature,
    reliability_bins,
)
from brainjax.evaluation.classification import (
    ClassCurves,
    ClassificationScores,
    classification_curves,
    confusion_matrix,
    score_classification,
)
from brainjax.evaluation.confidence import confidence_shares
from brainjax.evaluation.conventions import CONVENTIONS, Convention, LesionRule, get_convention
from brainjax.evaluation.lesions import LesionScores, score_lesions
from brainjax.evaluation.overlap import OverlapCounts, count_overlap, dice, sensitivity, specificity
from brainjax.evaluation.prediction_tables import (
    PatientPredictions,
    PredictionTable,
    aggregate_by_patient,
    classification_markdown,
    read_prediction_table,
    write_prediction_table,
)
from brainjax.evaluation.repeats import repeats_markdown, summarise_repeats
from brainjax.evaluation.scores import RegionScore, score_case, summarize
from brainjax.evaluation.surface import (
    HD95_METHODS,
    NSD_METHODS,
    SurfaceDistances,
    compute_surface_distances,
    hausdorff_distance,
    surface_dice,
)
from brainjax.evaluation.tables import read_case_table, summary_markdown, write_case_table

__all__ = [
    "CONVENTIONS",
    "HD95_METHODS",
    "NSD_METHODS",
    "ClassCurves",
    "ClassificationScores",
    "Convention",
    "LesionRule",
    "LesionScores",
    "OverlapCounts",
    "PatientPredictions",
    "PredictionTable",
    "RegionScore",
    "ReliabilityBins",
    "SurfaceDistances",
    "aggregate_by_patient",
    "apply_temperature",
    "bootstrap_intervals",
    "classification_curves",
    "classification_markdown",
    "compute_surface_distances",
    "confidence_shares",
    "confusion_matrix",
    "count_overlap",
    "dice",
    "expected_calibration_error",
    "fit_temperature",
    "get_convention",
    "hausdorff_distance",
    "interval_numbers",
    "permutation_p_value",
    "read_case_table",
    "read_prediction_table",
    "reliability_bins",
    "repeats_markdown",
    "score_case",
    "score_classification",
    "score_lesions",
    "sensitivity",
    "specificity",
    "summarise_repeats",
    "summarize",
    "summary_markdown",
    "surface_dice",
    "write_case_table",
    "write_prediction_table",
]
