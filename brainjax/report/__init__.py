"""One self-contained ``report.html`` at the end of a run, and its figures on their own."""

from brainjax.report.examples import (
    REGION_CLASSES,
    CaseExample,
    draw_case,
    draw_slice,
    select_examples,
)
from brainjax.report.figures import (
    draw_curves,
    draw_scores,
    png_bytes,
    save_figure,
    svg_text,
)
from brainjax.report.page import RunReport, render_report, write_report

__all__ = [
    "REGION_CLASSES",
    "CaseExample",
    "RunReport",
    "draw_case",
    "draw_curves",
    "draw_scores",
    "draw_slice",
    "png_bytes",
    "render_report",
    "save_figure",
    "select_examples",
    "svg_text",
    "write_report",
]
