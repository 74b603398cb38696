"""The report of a search over settings: what was found, its history and what mattered."""

from __future__ import annotations

import dataclasses
import html
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from brainjax.report.classification_page import write_page
from brainjax.report.layout import figure_html, page_html, run_html
from brainjax.report.tables import number_text, pairs_table, sortable_heads, table_html
from brainjax.report.tuning_figures import (
    draw_importances,
    draw_search_history,
    draw_settings,
)

_STATES = {"pruned": "stopped early"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrialRow:
    """One trial of a search.

    Attributes:
      number: from 0, which is the starting configuration.
      state: ``complete``, ``pruned``, ``failed`` or ``running``.
      score: its best validation score, None where there is none.
      values: searched setting to its value.
      validations: how many scores it reported.
      seconds: of training.
      reason: why it failed.
    """

    number: int
    state: str
    score: float | None
    values: Mapping[str, Any]
    validations: int
    seconds: float | None
    reason: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TuningReport:
    """What the report of a search tells.

    Attributes:
      title: of the page.
      command: how to run it again.
      score_name: what the trials were judged by.
      maximise: whether a higher score is better.
      trials: every trial.
      found: number of the best one.
      logarithmic: settings that were drawn on a logarithmic scale.
      importances: setting to its share of the scores' variance.
      test: names to numbers of the found configuration on the test part.
      page_of_found: of the found trial's own report, relative to this one.
      config: nested settings that the trials share.
      environment: versions and the machine.
      notes: remarks for the reader.
    """

    title: str
    command: str
    score_name: str
    maximise: bool
    trials: Sequence[TrialRow]
    found: int
    logarithmic: frozenset[str]
    importances: Mapping[str, float]
    test: Mapping[str, float]
    page_of_found: Path
    config: Mapping[str, Any]
    environment: Mapping[str, Any]
    notes: Sequence[str] = ()

    def trial(self, number: int) -> TrialRow:
        """The trial with this number."""
        return next(one for one in self.trials if one.number == number)


def tuning_markdown(report: TuningReport) -> str:
    """Starting and found configuration side by side, and the test scores, as Markdown."""
    start, found = report.trial(0), report.trial(report.found)
    lines = [
        f"| | start (trial 0) | found (trial {report.found}) |",
        "|---|---:|---:|",
        f"| {report.score_name} | {_score(start.score)} | {_score(found.score)} |",
    ]
    lines += [
        f"| {name} | {_value(start.values.get(name))} | {_value(value)} |"
        for name, value in found.values.items()
    ]
    chosen = _headlines(report.test)
    lines += [f"| {name} | | {_score(report.test[name])} |" for name in chosen]
    return "\n".join(lines)


def write_tuning_report(
    path: str | os.PathLike[str],
    report: TuningReport,
    *,
    figures_folder: str | os.PathLike[str] | None = None,
) -> tuple[Path, ...]:
    """Writes the report as one HTML file, and its figures as PNG files, which it returns."""
    scored = [one for one in report.trials if one.score is not None]
    points = [(one.number, float(one.score or 0.0), one.state == "pruned") for one in scored]
    names = list(report.importances) or list(report.trial(report.found).values)
    figures = {
        "history": draw_search_history(
            points, score_name=report.score_name, maximise=report.maximise
        ),
        "importance": draw_importances(report.importances),
        "settings": draw_settings(
            {name: [one.values.get(name) for one in scored] for name in names},
            points, found=report.found, score_name=report.score_name,
            logarithmic=report.logarithmic,
        ),
    }  # fmt: skip
    drawn = {name: figure for name, figure in figures.items() if figure is not None}
    words = {
        "history": f"{report.score_name} of every trial and the best so far; the table has them",
        "importance": "share of the scores' variance: "
        + ", ".join(f"{name} {share:.0%}" for name, share in report.importances.items()),
        "settings": f"{report.score_name} over each setting; the table has the values",
    }
    shown = {
        name: figure_html(figure, words[name], wide=name == "settings")
        for name, figure in drawn.items()
    }
    start, found = report.trial(0), report.trial(report.found)
    sections = {
        "Found": _found(report),
        "History": f'<div class="plots large">{shown.get("history", "")}'
        f"{shown.get('importance', '')}</div>",
        "Settings": f'<div class="plots">{shown["settings"]}</div>' if "settings" in shown else "",
        "Trials": _trials(report),
        "Run": run_html(report.command, report.environment, report.config),
    }
    cards = "".join(
        f'<li><span class="name">{html.escape(title)}</span>'
        f'<span class="value">{html.escape(value)}</span>'
        f'<span class="name">{html.escape(below)}</span></li>'
        for title, value, below in (
            ("Start", _score(start.score), report.score_name),
            ("Found", _score(found.score), report.score_name),
            *(("Found", _score(report.test[name]), name) for name in _headlines(report.test)[:2]),
        )
    )
    notes = "".join(f"<p>{html.escape(note)}</p>" for note in report.notes)
    text = page_html(report.title, f'{notes}<ul class="cards">{cards}</ul>', sections)
    return write_page(path, text, drawn, figures_folder)


def _found(report: TuningReport) -> str:
    start, found = report.trial(0), report.trial(report.found)
    rows = [
        f'<tr><th scope="row">{html.escape(name)}</th><td>{html.escape(_value(first))}</td>'
        f"<td>{html.escape(_value(second))}</td></tr>"
        for name, first, second in (
            (report.score_name, _score(start.score), _score(found.score)),
            *((name, start.values.get(name), value) for name, value in found.values.items()),
        )
    ]
    head = (
        '<tr><th></th><th scope="col">start, trial 0</th>'
        f'<th scope="col">found, trial {report.found}</th></tr>'
    )
    table = table_html(head, rows, caption="Starting and found configuration")
    chosen = {name: report.test[name] for name in _headlines(report.test)}
    test = pairs_table(chosen, caption="The found one on the test part, scored once")
    page = html.escape(report.page_of_found.as_posix())
    link = f'<p>All its scores: <a href="{page}">{page}</a></p>'
    return table + (test if chosen else "") + link


def _trials(report: TuningReport) -> str:
    names = list(dict.fromkeys(name for one in report.trials for name in one.values))
    heads = sortable_heads(["Trial", report.score_name, "State", *names, "Validations", "Seconds"])
    rows = []
    for one in report.trials:
        state = _STATES.get(one.state, one.state) + (f": {one.reason}" if one.reason else "")
        cells = [f'<th scope="row" data-value="{one.number}">{one.number}</th>']
        cells += [_cell(one.score, _score(one.score)), f"<td>{html.escape(state)}</td>"]
        cells += [_cell(one.values.get(name), _value(one.values.get(name))) for name in names]
        seconds = None if one.seconds is None else round(one.seconds)
        cells += [_cell(value, _value(value)) for value in (one.validations, seconds)]
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return table_html(heads, rows, caption="Every trial; click on a head to sort", css="sortable")


def _cell(value: Any, text: str) -> str:
    numeric = isinstance(value, (int, float)) and not isinstance(value, bool)
    sort = f' data-value="{float(value)!r}"' if numeric else ""
    return f"<td{sort}>{html.escape(text)}</td>"


def _value(value: Any) -> str:
    return str(value) if isinstance(value, (tuple, list)) else number_text(value)


def _score(score: float | None) -> str:
    return "n/a" if score is None else f"{score:.4f}"


def _headlines(test: Mapping[str, float]) -> list[str]:
    wanted = (
        "test/accuracy", "test/balanced_accuracy", "test/f1/macro", "test/auroc/macro",
        "test/log_loss", "test/dice/mean", "test/dice/ET", "test/dice/WT", "test/dice/TC",
    )  # fmt: skip
    return [name for name in wanted if name in test]
