"""One self-contained ``report.html`` at the end of a run, and its figures on their own."""

from brainjax.report.classification_figures import (
    draw_class_distribution,
    draw_confusion,
    draw_precision_recall,
    draw_reliability,
    draw_roc,
)
from brainjax.report.classification_page import (
    render_classification_report,
    write_classification_report,
)
from brainjax.report.classification_report import (
    ClassificationReport,
    EvaluatedPart,
    SampleImage,
    select_extremes,
)
from brainjax.report.comparison_figures import draw_comparison
from brainjax.report.comparison_page import compare_runs, mean_and_sd, write_comparison_report
from brainjax.report.examples import (
    REGION_CLASSES,
    CaseExample,
    draw_case,
    draw_slice,
    select_examples,
)
from brainjax.report.figures import draw_curves, draw_scores, png_bytes, save_figure, svg_text
from brainjax.report.page import RunReport, render_report, write_report
from brainjax.report.reconstruction_page import write_reconstruction_report
from brainjax.report.reconstruction_report import PicturedSlice, ReconstructionReport
from brainjax.report.saliency_figures import (
    MapPicture,
    draw_cascade,
    draw_localization,
    draw_maps,
)
from brainjax.report.saliency_page import (
    SaliencyReport,
    render_saliency_report,
    write_saliency_report,
)
from brainjax.report.sample_figures import draw_samples

__all__ = [
    "REGION_CLASSES",
    "CaseExample",
    "ClassificationReport",
    "EvaluatedPart",
    "MapPicture",
    "PicturedSlice",
    "ReconstructionReport",
    "RunReport",
    "SaliencyReport",
    "SampleImage",
    "compare_runs",
    "draw_cascade",
    "draw_case",
    "draw_class_distribution",
    "draw_comparison",
    "draw_confusion",
    "draw_curves",
    "draw_localization",
    "draw_maps",
    "draw_precision_recall",
    "draw_reliability",
    "draw_roc",
    "draw_samples",
    "draw_scores",
    "draw_slice",
    "mean_and_sd",
    "png_bytes",
    "render_classification_report",
    "render_report",
    "render_saliency_report",
    "save_figure",
    "select_examples",
    "select_extremes",
    "svg_text",
    "write_classification_report",
    "write_comparison_report",
    "write_reconstruction_report",
    "write_report",
    "write_saliency_report",
]
