"""One self-contained ``report.html`` at the end of a run, and its figures on their own."""

from brainjax.report.calibration_section import CalibratedPart, draw_region_reliability
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
from brainjax.report.methods_page import (
    draw_differences,
    folds_html,
    text_table_html,
    write_methods_report,
)
from brainjax.report.page import RunReport, render_report, write_report
from brainjax.report.reconstruction_page import write_reconstruction_report
from brainjax.report.reconstruction_report import PicturedSlice, ReconstructionReport
from brainjax.report.robustness_page import (
    RobustnessRow,
    draw_robustness,
    robustness_csv,
    robustness_markdown,
    write_robustness,
)
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
from brainjax.report.tuning_page import (
    TrialRow,
    TuningReport,
    tuning_markdown,
    write_tuning_report,
)
from brainjax.report.viewer import LabelOverlay, MapOverlay, render_viewer, write_viewer

__all__ = [
    "REGION_CLASSES",
    "CalibratedPart",
    "CaseExample",
    "ClassificationReport",
    "EvaluatedPart",
    "LabelOverlay",
    "MapOverlay",
    "MapPicture",
    "PicturedSlice",
    "ReconstructionReport",
    "RobustnessRow",
    "RunReport",
    "SaliencyReport",
    "SampleImage",
    "TrialRow",
    "TuningReport",
    "compare_runs",
    "draw_cascade",
    "draw_case",
    "draw_class_distribution",
    "draw_comparison",
    "draw_confusion",
    "draw_curves",
    "draw_differences",
    "draw_localization",
    "draw_maps",
    "draw_precision_recall",
    "draw_region_reliability",
    "draw_reliability",
    "draw_robustness",
    "draw_roc",
    "draw_samples",
    "draw_scores",
    "draw_slice",
    "folds_html",
    "mean_and_sd",
    "png_bytes",
    "render_classification_report",
    "render_report",
    "render_saliency_report",
    "render_viewer",
    "robustness_csv",
    "robustness_markdown",
    "save_figure",
    "select_examples",
    "select_extremes",
    "svg_text",
    "text_table_html",
    "tuning_markdown",
    "write_classification_report",
    "write_comparison_report",
    "write_methods_report",
    "write_reconstruction_report",
    "write_report",
    "write_robustness",
    "write_saliency_report",
    "write_tuning_report",
    "write_viewer",
]
