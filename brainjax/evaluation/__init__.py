"""Scores of segmentations, in mm and with the empty masks counted.

``score_case`` compares two class maps under a convention, ``summarize`` turns
the scores of a cohort into flat names and numbers, and ``write_case_table`` and
``summary_markdown`` write them down. The parts below them can be used alone.
"""

from brainjax.evaluation.conventions import CONVENTIONS, Convention, LesionRule, get_convention
from brainjax.evaluation.lesions import LesionScores, score_lesions
from brainjax.evaluation.overlap import (
    OverlapCounts,
    count_overlap,
    dice,
    sensitivity,
    specificity,
)
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
    "Convention",
    "LesionRule",
    "LesionScores",
    "OverlapCounts",
    "RegionScore",
    "SurfaceDistances",
    "compute_surface_distances",
    "count_overlap",
    "dice",
    "get_convention",
    "hausdorff_distance",
    "read_case_table",
    "score_case",
    "score_lesions",
    "sensitivity",
    "specificity",
    "summarize",
    "summary_markdown",
    "surface_dice",
    "write_case_table",
]
