"""The report of several runs: repeated seeds, kinds of split, or an ablation."""

from __future__ import annotations

import html
import math
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from brainjax.report.classification_drawings import published_of
from brainjax.report.classification_page import patients_note, write_page
from brainjax.report.classification_report import Score
from brainjax.report.classification_tables import (
    PATIENTS,
    PUBLISHED,
    comparison_table,
    match_published,
    sort_metrics,
    sources_note,
)
from brainjax.report.comparison_figures import MOST_PANELS, draw_comparison
from brainjax.report.layout import figure_html, page_html, run_html

HEADLINES = ("accuracy", "balanced_accuracy", "f1/macro", "auroc/macro")
"""What is compared unless told otherwise, where the runs have it."""

_PATIENTS = "data/patients_on_both_sides"

Summary = Mapping[str, float | None]
Published = Sequence[tuple[str, Score, str]]


def write_comparison_report(
    path: str | os.PathLike[str],
    *,
    title: str,
    runs: Mapping[str, Sequence[Summary]],
    command: str = "",
    config: Mapping[str, Any] | None = None,
    metrics: Sequence[str] = (),
    published: Published = (),
    environment: Mapping[str, Any] | None = None,
    notes: Sequence[str] = (),
    figures_folder: str | os.PathLike[str] | None = None,
) -> tuple[Path, ...]:
    """Writes the report of several runs as one HTML file, and its dot plot as a PNG file.

    Args:
      path: of the HTML file.
      title: of the page.
      runs: label, such as ``"focal + SMOTE"`` or ``"split by patient"``, to the
        summaries of its repeats; ``data/patients_on_both_sides`` has its own column.
      command: how to run it again.
      config: nested settings that the runs share.
      metrics: names in the summaries; by default accuracy, balanced accuracy, F1 and
        AUROC of the test part, or else of validation.
      published: rows (name as in the summary, value, source) from the paper.
      environment: versions and the machine.
      notes: remarks for the reader.
      figures_folder: where the PNG goes: by default ``figures`` beside the page.

    Returns:
      The PNG files that were written.
    """
    names = {name for group in runs.values() for summary in group for name in summary}
    chosen = list(metrics) or _headlines(names)
    matched = match_published(published, names)
    paper = published_of(chosen, matched)
    points = {
        label: {name: _values(group, name) for name in chosen} for label, group in runs.items()
    }
    rows = compare_runs(runs, chosen)
    figure = draw_comparison(rows, chosen, points=points, published=paper)
    shown = rows | ({PUBLISHED: paper} if paper else {})
    single = {
        f"{label}, run {number}" if len(group) > 1 else label: _single(summary, chosen)
        for label, group in runs.items()
        for number, summary in enumerate(group, start=1)
    }
    caption = "Mean ± standard deviation over the runs of a row; click on a head to sort"
    dots = ""
    if figure is not None:
        words = f"Dot plot of {', '.join(rows)}: the tables have the numbers"
        dots = f'<div class="plots">{figure_html(figure, words, wide=True)}</div>'
    sections = {}
    if rows:
        means = comparison_table(shown, caption=caption)
        every = comparison_table(single, caption="Every run; click on a head to sort")
        sections["Comparison"] = means + patients_note(rows) + dots + sources_note(matched)
        sections["Every run"] = every if len(single) > len(rows) else ""
    sections["Run"] = run_html(command, environment or {}, config or {})
    top = "".join(f"<p>{html.escape(note)}</p>" for note in notes)
    figures = {} if figure is None else {"comparison": figure}
    return write_page(path, page_html(title, top, sections), figures, figures_folder)


def mean_and_sd(values: Sequence[float | None]) -> tuple[float, float]:
    """Mean and standard deviation (n - 1) of what is finite; NaN where there is none.

    >>> mean_and_sd([0.8, 0.9, 1.0, None])
    (0.9, 0.1)
    >>> mean_and_sd([0.8])
    (0.8, nan)
    """
    finite = [float(value) for value in values if value is not None and math.isfinite(value)]
    if not finite:
        return math.nan, math.nan
    mean = math.fsum(finite) / len(finite)
    if len(finite) == 1:
        return mean, math.nan
    return mean, math.sqrt(math.fsum((v - mean) ** 2 for v in finite) / (len(finite) - 1))


def compare_runs(
    runs: Mapping[str, Sequence[Summary]], metrics: Sequence[str]
) -> dict[str, dict[str, Score]]:
    """Mean and standard deviation over the runs of each label, with their number.

    Returns:
      What ``ClassificationReport.comparison`` takes. Patients on both sides are a
      column only where they are known, the largest number of the repeats.

    >>> compare_runs({"focal": [{"test/accuracy": 0.8}, {"test/accuracy": 0.9}]}, ["test/accuracy"])
    {'focal': {'runs': 2, 'test/accuracy': (0.85, 0.07071)}}
    """
    rows: dict[str, dict[str, Score]] = {}
    for label, group in runs.items():
        rows[label] = {"runs": len(group)}
        rows[label] |= {
            name: mean_and_sd([summary.get(name) for summary in group]) for name in metrics
        }
        known = _values(group, _PATIENTS)
        if known:
            rows[label][PATIENTS] = int(max(known))
    return rows


def _single(summary: Summary, metrics: Sequence[str]) -> dict[str, Score]:
    row: dict[str, Score] = {name: summary.get(name) for name in metrics}
    known = _values([summary], _PATIENTS)
    return row | ({PATIENTS: int(known[0])} if known else {})


def _values(group: Sequence[Summary], name: str) -> list[float]:
    found = [summary.get(name) for summary in group]
    return [float(value) for value in found if value is not None and math.isfinite(value)]


def _headlines(names: Collection[str]) -> list[str]:
    for part in ("test", "val"):
        found = [f"{part}/{name}" for name in HEADLINES if f"{part}/{name}" in names]
        if found:
            return found
    return sort_metrics(sorted(names))[:MOST_PANELS]
