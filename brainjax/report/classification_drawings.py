"""All figures of a classifier's report under the names of their files."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from brainjax.report.classification_figures import (
    WIDE_FROM,
    draw_class_distribution,
    draw_confusion,
    draw_precision_recall,
    draw_reliability,
    draw_roc,
)
from brainjax.report.classification_report import (
    ClassificationReport,
    EvaluatedPart,
    Score,
)
from brainjax.report.classification_tables import (
    PATIENTS,
    interval,
    interval_text,
    sort_metrics,
)
from brainjax.report.comparison_figures import draw_comparison
from brainjax.report.examples import score_text
from brainjax.report.figures import draw_curves
from brainjax.report.tables import number_text

CURVES = {
    "curves_loss": ("Loss", {"training": "train/loss", "validation": "val/loss"}),
    "curves_accuracy": (
        "Accuracy",
        {
            "training": "train/accuracy",
            "validation": "val/accuracy",
            "validation, balanced": "val/balanced_accuracy",
        },
    ),
    "curves_learning_rate": ("Learning rate", {"rate": "train/learning_rate"}),
}
"""Name of a figure to its title and, by their labels, the keys of the history."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PageFigure:
    """A figure with what a screen reader says instead, and whether it needs much room."""

    figure: Figure
    description: str
    wide: bool = False


def draw_figures(report: ClassificationReport) -> dict[str, PageFigure]:
    """Draws what the page and the PNG files both show, by the names of the files."""
    drawn: dict[str, PageFigure | None] = {
        "class_distribution": _page_figure(
            draw_class_distribution(report.class_counts, report.class_names),
            "Images per class. "
            + "; ".join(
                f"{name}: {_pairs(report.class_names, counts)}"
                for name, counts in report.class_counts.items()
            ),
        )
    }
    across = _across(report.history)
    for name, (title, lines) in CURVES.items():
        figure = draw_curves(
            report.history, lines, title=title, ylabel=title.lower(), across=across
        )
        last = {
            label: next((r[key] for r in reversed(report.history) if r.get(key) is not None), None)
            for label, key in lines.items()
        }
        ends = ", ".join(f"{label} {number_text(value)}" for label, value in last.items())
        drawn[name] = _page_figure(figure, f"{title} over {across}s; last values: {ends}")
    for part in report.parts:
        drawn |= _part_figures(part, report)
    metrics = _scores_compared(report.comparison)
    figure = draw_comparison(
        report.comparison, metrics, published=published_of(metrics, report.published)
    )
    words = f"{report.comparison_caption}: the table has the numbers"
    drawn["comparison"] = _page_figure(figure, words, wide=True)
    return {name: found for name, found in drawn.items() if found is not None}


def published_of(
    metrics: Sequence[str], published: Sequence[tuple[str, Score, str]]
) -> dict[str, Score]:
    """The first published value of each metric; a name without part means the test part."""
    values: dict[str, Score] = {}
    for metric in metrics:
        for name, value, _ in published:
            if name in (metric, f"test/{metric}") and metric not in values:
                values[metric] = value
    return values


def _part_figures(
    part: EvaluatedPart, report: ClassificationReport
) -> dict[str, PageFigure | None]:
    names, summary, words = report.class_names, report.summary, part.words
    roc = {name: interval(summary, f"{part.name}/auroc/{name}") for name in names}
    precision = {name: interval(summary, f"{part.name}/average_precision/{name}") for name in names}
    share = {name: part.prevalence(index) for index, name in enumerate(names)}
    before = summary.get(f"{part.name}/ece_uncalibrated")
    after = summary.get(f"{part.name}/ece")
    count = f"{part.labels.size:,} images"
    rows = "; ".join(
        f"{name}: {_pairs(names, row)}" for name, row in zip(names, part.confusion, strict=True)
    )
    return {
        f"confusion_{part.name}": _page_figure(
            draw_confusion(part.confusion, names, title=f"Confusion matrix, {words}"),
            f"Confusion matrix, {words}, {count}; true class: predicted classes. {rows}",
            wide=len(names) >= WIDE_FROM,
        ),
        f"roc_{part.name}": _page_figure(
            draw_roc(part.roc, roc, title=f"ROC, {words}, one against the rest"),
            f"ROC curves, {words}; AUROC {_intervals(roc)}",
        ),
        f"precision_recall_{part.name}": _page_figure(
            draw_precision_recall(
                part.precision_recall, precision, share, title=f"Precision-recall, {words}"
            ),
            f"Precision-recall curves, {words}; average precision {_intervals(precision)}",
        ),
        f"reliability_{part.name}": _page_figure(
            draw_reliability(part, title=f"Reliability, {words}", errors=(after, before)),
            f"Reliability diagram, {words}; ECE {score_text(after)}"
            + (f", {score_text(before)} before temperature scaling" if before is not None else ""),
        ),
    }


def _page_figure(
    figure: Figure | None, description: str, *, wide: bool = False
) -> PageFigure | None:
    return None if figure is None else PageFigure(figure=figure, description=description, wide=wide)


def _across(history: Sequence[Mapping[str, Any]]) -> str:
    with_epoch = bool(history) and all(row.get("epoch") is not None for row in history)
    return "epoch" if with_epoch else "step"


def _scores_compared(rows: Mapping[str, Mapping[str, Score]]) -> list[str]:
    return [
        name for name in sort_metrics(n for row in rows.values() for n in row) if name != PATIENTS
    ]


def _pairs(names: Sequence[str], values: Sequence[int]) -> str:
    return ", ".join(f"{name} {int(value)}" for name, value in zip(names, values, strict=True))


def _intervals(scores: Mapping[str, tuple[float, float, float]]) -> str:
    return ", ".join(f"{name} {interval_text(*score)}" for name, score in scores.items())
