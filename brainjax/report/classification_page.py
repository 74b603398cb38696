"""The report of a classifier: one HTML file that needs nothing, and its figures as PNG files."""

from __future__ import annotations

import dataclasses
import html
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from brainjax.files import write_text
from brainjax.report.classification_drawings import CURVES, PageFigure, draw_figures, published_of
from brainjax.report.classification_report import (
    ClassificationReport,
    EvaluatedPart,
    Score,
    part_words,
)
from brainjax.report.classification_tables import (
    PATIENTS,
    PUBLISHED,
    class_table,
    comparison_table,
    group_summary,
    interval,
    interval_text,
    match_published,
    metric_title,
    overall_table,
    score_text_of,
    sources_note,
)
from brainjax.report.figures import save_figure
from brainjax.report.layout import figure_html, page_html, run_html
from brainjax.report.sample_figures import draw_samples, predictions_html, samples_html
from brainjax.report.tables import pairs_table, table_html

_CARDS = ("accuracy", "balanced_accuracy", "f1", "f1/macro", "auroc", "auroc/macro", "ece")


def write_classification_report(
    path: str | os.PathLike[str],
    report: ClassificationReport,
    figures_folder: str | os.PathLike[str] | None = None,
) -> tuple[Path, ...]:
    """Writes the report of a classifier as one HTML file, and its figures as PNG files.

    Args:
      path: of the HTML file, which is replaced only when everything was drawn.
      report: what it tells.
      figures_folder: where the PNG files go: by default ``figures`` beside the page.

    Returns:
      The PNG files that were written, such as ``figures/confusion_test.png``.
    """
    report = _matched(report)
    drawn = draw_figures(report)
    text = _render(report, drawn)
    pictures = {name: drawing.figure for name, drawing in drawn.items()}
    for name, samples, title in (
        ("samples", report.samples, "Training samples"),
        ("mistakes", report.mistakes, "Most confident mistakes"),
        ("least_confident", report.uncertain, "Least confident right predictions"),
    ):
        grid = draw_samples(samples, title=title)
        if grid is not None:
            pictures[name] = grid
    return write_page(path, text, pictures, figures_folder)


def render_classification_report(report: ClassificationReport) -> str:
    """Renders the report of a classifier as HTML that loads nothing from elsewhere."""
    report = _matched(report)
    return _render(report, draw_figures(report))


def write_page(
    path: str | os.PathLike[str],
    text: str,
    figures: Mapping[str, Figure],
    folder: str | os.PathLike[str] | None,
) -> tuple[Path, ...]:
    """Writes a page and its figures (name to figure); returns the files of the figures."""
    target = Path(folder) if folder is not None else Path(path).parent / "figures"
    files = tuple(target / f"{name}.png" for name in figures)
    for file, figure in zip(files, figures.values(), strict=True):
        save_figure(file, figure)
    write_text(path, text)
    return files


def patients_note(rows: Mapping[str, Mapping[str, Score]]) -> str:
    """A warning when the patients of a run are on both sides of its split."""
    counts = [row.get(PATIENTS) for row in rows.values()]
    if not any(isinstance(count, (int, float)) and count > 0 for count in counts):
        return ""
    return (
        '<p class="note">Where patients are on both sides, slices of one patient are both '
        "trained on and tested on: such scores say little about new patients.</p>"
    )


def _matched(report: ClassificationReport) -> ClassificationReport:
    matched = match_published(report.published, report.summary)
    return dataclasses.replace(report, published=matched)


def _render(report: ClassificationReport, drawn: Mapping[str, PageFigure]) -> str:
    sections = {"Scores": _scores(report), "Curves": _plots(drawn, *CURVES)}
    for part in report.parts:
        words = part.words[:1].upper() + part.words[1:]
        names = ("confusion_", "roc_", "precision_recall_", "reliability_")
        plots = _plots(drawn, *(f"{name}{part.name}" for name in names), css="plots large")
        sections[f"{words} part"] = plots + _confusion_table(part, report.class_names)
    sections["Comparison"] = _comparison(report, drawn)
    sections["Mistakes"] = _mistakes(report)
    sections["Data"] = _data(report, drawn)
    sections["Run"] = run_html(report.command, report.environment, report.config)
    notes = "".join(f"<p>{html.escape(note)}</p>" for note in report.notes)
    return page_html(report.title, notes + _cards(report), sections)


def _cards(report: ClassificationReport) -> str:
    """The headline scores, of the test part if it has any, else of validation."""
    parts, _ = group_summary(report.summary)
    for part in ("test", "val", *parts):
        found = [name for name in _CARDS if report.summary.get(f"{part}/{name}") is not None]
        if found:
            break
    else:
        return ""
    theirs = published_of([f"{part}/{name}" for name in found], report.published)
    cards = []
    for name in found:
        value, low, high = interval(report.summary, f"{part}/{name}")
        value_text, _, ends = interval_text(value, low, high).partition(" ")
        small = part_words(part) + (f" {ends}" if ends else "")
        paper = theirs.get(f"{part}/{name}")
        theirs_text = f"{PUBLISHED} {score_text_of(paper)}" if paper is not None else ""
        cards.append(
            f'<li><span class="name">{html.escape(metric_title(f"/{name}"))}</span>'
            f'<span class="value">{value_text}</span>'
            f'<span class="name">{html.escape(small)}</span> '
            f'<span class="name">{html.escape(theirs_text)}</span></li>'
        )
    return f'<ul class="cards">{"".join(cards)}</ul>'


def _scores(report: ClassificationReport) -> str:
    parts, single = group_summary(report.summary)
    tables = [overall_table(report.summary, report.published)]
    named = dict.fromkeys((*parts, *(name.split("/")[0] for name, _, _ in report.published)))
    for part in sorted(named, key=("test", "val").__contains__, reverse=True):
        tables.append(class_table(report.summary, part, report.class_names, report.published))
    if single:
        tables.append(pairs_table(single, caption="Other numbers"))
    return "".join(tables) + sources_note(report.published)


def _comparison(report: ClassificationReport, drawn: Mapping[str, PageFigure]) -> str:
    if not report.comparison:
        return ""
    table = comparison_table(report.comparison, caption=report.comparison_caption)
    return table + patients_note(report.comparison) + _plots(drawn, "comparison")


def _mistakes(report: ClassificationReport) -> str:
    parts = []
    for words, samples in (
        ("Most confident mistakes", report.mistakes),
        ("Least confident right predictions", report.uncertain),
    ):
        if samples:
            parts.append(f"<h3>{words}</h3>{predictions_html(samples)}")
    return "".join(parts)


def _data(report: ClassificationReport, drawn: Mapping[str, PageFigure]) -> str:
    parts = [_plots(drawn, "class_distribution", css="plots large")]
    if report.duplicates:
        parts.append(pairs_table(report.duplicates, caption="Duplicates and split"))
    if report.samples:
        parts.append(samples_html(report.samples))
    return "".join(parts)


def _confusion_table(part: EvaluatedPart, class_names: Sequence[str]) -> str:
    if not part.confusion.sum():
        return ""
    heads = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in class_names)
    rows = [
        f'<tr><th scope="row">{html.escape(name)}</th>'
        + "".join(f"<td>{int(value):,}</td>" for value in row)
        + "</tr>"
        for name, row in zip(class_names, part.confusion, strict=True)
    ]
    caption = f"Confusion matrix, {part.words}: rows true, columns predicted"
    table = table_html(f"<tr><th></th>{heads}</tr>", rows, caption=caption)
    return f"<details><summary>Confusion matrix as a table</summary>{table}</details>"


def _plots(drawn: Mapping[str, PageFigure], *names: str, css: str = "plots") -> str:
    chosen = [drawn[name] for name in names if name in drawn]
    body = "".join(figure_html(d.figure, d.description, wide=d.wide) for d in chosen)
    return f'<div class="{css}">{body}</div>' if chosen else ""
