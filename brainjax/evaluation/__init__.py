"""Scores of segmentations, in mm and with the empty masks counted.

``score_case`` compares two class maps under a convention, ``summarize`` turns
the scores of a cohort into flat names and numbers, and ``write_case_table`` and
``summary_markdown`` write them down. The parts below them can be used alone.
"""

from brainjax.evaluation.bootstrap import (
    bootstrap_intervals,
    bootstrap_means,
    interval_numbers,
    permutation_p_value,
)
from brainjax.evaluation.calibration import (
    ReliabilityBins,
    apply_temperature,
    event_reliability,
    expected_calibration_error,
    fit_temperature,
    reliability_bins,
    scale_probabilities,
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
from brainjax.evaluation.localization import (
    LocalizationScore,
    centre_map,
    insertion_deletion,
    score_localization,
)
from brainjax.evaluation.localization_tables import (
    BASELINES,
    MapScore,
    MethodSummary,
    interval_text,
    localization_markdown,
    localization_numbers,
    summarize_localization,
    write_map_scores,
)
from brainjax.evaluation.map_similarity import rank_correlation, structural_similarity
from brainjax.evaluation.methods import (
    COMPARED,
    MethodDifference,
    PublishedScores,
    Spreads,
    TextTable,
    compare_methods,
    deviations_table,
    differences_table,
    folds_table,
    means_table,
    published_table,
    spreads_of,
    table_markdown,
)
from brainjax.evaluation.overlap import OverlapCounts, count_overlap, dice, sensitivity, specificity
from brainjax.evaluation.paired import (
    PairedDifference,
    adjust_holm,
    compare_paired,
    signed_rank_p_value,
)
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
from brainjax.evaluation.voxel_calibration import (
    RegionReliability,
    VoxelSample,
    draw_voxels,
    error_detection,
    fit_voxel_temperature,
    region_reliability,
)

__all__ = [
    "BASELINES",
    "COMPARED",
    "CONVENTIONS",
    "HD95_METHODS",
    "NSD_METHODS",
    "ClassCurves",
    "ClassificationScores",
    "Convention",
    "LesionRule",
    "LesionScores",
    "LocalizationScore",
    "MapScore",
    "MethodDifference",
    "MethodSummary",
    "OverlapCounts",
    "PairedDifference",
    "PatientPredictions",
    "PredictionTable",
    "PublishedScores",
    "RegionReliability",
    "RegionScore",
    "ReliabilityBins",
    "Spreads",
    "SurfaceDistances",
    "TextTable",
    "VoxelSample",
    "adjust_holm",
    "aggregate_by_patient",
    "apply_temperature",
    "bootstrap_intervals",
    "bootstrap_means",
    "centre_map",
    "classification_curves",
    "classification_markdown",
    "compare_methods",
    "compare_paired",
    "compute_surface_distances",
    "confidence_shares",
    "confusion_matrix",
    "count_overlap",
    "deviations_table",
    "dice",
    "differences_table",
    "draw_voxels",
    "error_detection",
    "event_reliability",
    "expected_calibration_error",
    "fit_temperature",
    "fit_voxel_temperature",
    "folds_table",
    "get_convention",
    "hausdorff_distance",
    "insertion_deletion",
    "interval_numbers",
    "interval_text",
    "localization_markdown",
    "localization_numbers",
    "means_table",
    "permutation_p_value",
    "published_table",
    "rank_correlation",
    "read_case_table",
    "read_prediction_table",
    "region_reliability",
    "reliability_bins",
    "repeats_markdown",
    "scale_probabilities",
    "score_case",
    "score_classification",
    "score_lesions",
    "score_localization",
    "sensitivity",
    "signed_rank_p_value",
    "specificity",
    "spreads_of",
    "structural_similarity",
    "summarise_repeats",
    "summarize",
    "summarize_localization",
    "summary_markdown",
    "surface_dice",
    "table_markdown",
    "write_case_table",
    "write_map_scores",
    "write_prediction_table",
]
