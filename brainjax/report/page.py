"""The report of a run: one HTML file that needs nothing beside it."""

from __future__ import annotations

import dataclasses
import html
import os
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any

from brainjax.files import write_text
from brainjax.report.calibration_section import CalibratedPart, calibration_html
from brainjax.report.examples import (
    PREDICTION_COLOUR,
    REFERENCE_COLOUR,
    CaseExample,
    case_views,
    draw_slice,
    score_text,
    view_name,
)
from brainjax.report.figures import draw_curves, draw_scores, png_bytes
from brainjax.report.layout import figure_html, page_html, picture_html, run_html
from brainjax.report.tables import (
    REGION_NAMES,
    REGION_ORDER,
    case_table,
    number_text,
    pairs_table,
    score_table,
    split_summary,
)

_SPLIT_NAMES = {
    "val": "Validation", "test": "Test", "train": "Training", "cv": "Cross-validation",
}  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunReport:
    """What a report tells.

    Attributes:
      title: of the page.
      command: how to run it again.
      config: nested settings.
      history: rows of ``metrics.jsonl``; any key but ``step`` may be missing.
      summary: flat names such as ``val/dice/WT`` to numbers, as in ``summary.json``.
      case_scores: one row per case: ``case_id``, ``WT_dice`` and so on.
      examples: cases to show in pictures.
      calibration: of the probabilities of each set of cases.
      environment: versions and the machine.
      notes: remarks for the reader.
      sections: heading to HTML of further sections, which stand before the others.
    """

    title: str
    command: str
    config: Mapping[str, Any]
    history: Sequence[Mapping[str, Any]] = ()
    summary: Mapping[str, float] = dataclasses.field(default_factory=dict)
    case_scores: Sequence[Mapping[str, Any]] = ()
    examples: tuple[CaseExample, ...] = ()
    calibration: tuple[CalibratedPart, ...] = ()
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()
    sections: Mapping[str, str] = dataclasses.field(default_factory=dict)


def write_report(path: str | os.PathLike[str], run: RunReport) -> None:
    """Writes the report of a run as one HTML file, atomically."""
    write_text(path, render_report(run))


def render_report(run: RunReport) -> str:
    """Renders the report of a run as HTML that loads nothing from elsewhere."""
    sections = {
        **run.sections,
        "Scores": _scores(run),
        "Curves": _curves(run.history),
        "Cases": _cases(run.case_scores),
        "Examples": _examples(run.examples),
        "Calibration": calibration_html(run.calibration),
        "Run": run_html(run.command, run.environment, run.config),
    }
    notes = "".join(f"<p>{html.escape(note)}</p>" for note in run.notes)
    return page_html(run.title, notes + _cards(run.summary), sections)


def _cards(summary: Mapping[str, float]) -> str:
    """The mean Dice of each region, of the test cases if there are any, else of validation."""
    nested, _ = split_summary(summary)
    for split in ("test", "val", *nested):
        dice = nested.get(split, {}).get("dice")
        if dice:
            break
    else:
        return ""
    order = sorted(dice, key=lambda name: (_place(name), name))
    words = _SPLIT_NAMES.get(split, split).lower()
    cards = "".join(
        f'<li><span class="name">{html.escape(REGION_NAMES.get(name, name))}</span>'
        f'<span class="value">{score_text(dice[name])}</span>'
        f'<span class="name">mean Dice, {html.escape(words)}</span></li>'
        for name in order
    )
    return f'<ul class="cards">{cards}</ul>'


def _scores(run: RunReport) -> str:
    nested, single = split_summary(run.summary)
    parts = []
    for split, metrics in nested.items():
        cases = single.pop(f"{split}/cases", None)
        words = _SPLIT_NAMES.get(split, split)
        if cases is not None:
            words += f", {number_text(cases)} {'case' if cases == 1 else 'cases'}"
        parts.append(score_table(metrics, caption=f"{words}: mean ± standard deviation over cases"))
    if single:
        parts.append(pairs_table(single, caption="Other numbers"))
    return "".join(parts)


def _curves(history: Sequence[Mapping[str, Any]]) -> str:
    keys = list(dict.fromkeys(key for row in history for key in row))
    losses = [key for key in keys if key.startswith("train/") and key.endswith("loss")]
    dice = [key for key in keys if key.startswith("val/dice/")]
    rates = [key for key in keys if key.endswith("learning_rate")]
    wanted = (
        ("Training loss", "loss", losses, None),
        ("Validation Dice", "mean Dice", dice, (0.0, 1.0)),
        ("Learning rate", "learning rate", rates, None),
    )
    plots = []
    for title, ylabel, chosen, limits in wanted:
        lines = {key.split("/")[-1].replace("_", " "): key for key in chosen[:6]}
        figure = draw_curves(history, lines, title=title, ylabel=ylabel, limits=limits)
        if figure is not None:
            last = {
                label: next((r[key] for r in reversed(history) if r.get(key) is not None), None)
                for label, key in lines.items()
            }
            ends = ", ".join(f"{label} {number_text(value)}" for label, value in last.items())
            plots.append(figure_html(figure, f"{title} over steps; last values: {ends}"))
    return f'<div class="plots">{"".join(plots)}</div>' if plots else ""


def _cases(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return ""
    plots = []
    for metric, title, ylabel in (
        ("dice", "Dice of every case", "Dice"),
        ("hd95_mm", "HD95 of every case", "HD95 (mm)"),
    ):
        columns = dict.fromkeys(name for row in rows for name in row if name.endswith(f"_{metric}"))
        regions = {name.removesuffix(f"_{metric}"): name for name in columns}
        regions = {name: col for name, col in regions.items() if "_" not in name}
        order = sorted(regions, key=lambda name: (name not in REGION_ORDER, _place(name), name))
        scores = {name: _numbers(rows, regions[name]) for name in order}
        figure = draw_scores(scores, title=title, ylabel=ylabel)
        if figure is not None:
            plots.append(
                figure_html(figure, f"{title} per region, with quartiles; the table has them")
            )
    spread = f'<div class="plots">{"".join(plots)}</div>' if plots else ""
    caption = "Scores of every case; click on a head to sort"
    return spread + case_table(rows, caption=caption)


def _examples(examples: Sequence[CaseExample]) -> str:
    if not examples:
        return ""
    ranks: dict[str, list[str]] = {}
    for example in examples:
        ranks.setdefault(example.case_id, []).append(example.rank)
    unique = {example.case_id: example for example in reversed(examples)}
    legend = (
        f'<p class="legend"><span><i style="border-color:{REFERENCE_COLOUR}"></i>reference</span>'
        f'<span><i class="dashed" style="border-color:{PREDICTION_COLOUR}"></i>prediction</span>'
        "</p>"
    )
    names = ", ".join(REGION_NAMES.get(name, name).lower() for name in examples[0].regions)
    text = (
        f'<p class="note">Outlined from the outside in: {html.escape(names)}; at the slice with '
        "the largest tumour area. The patient's right is on the left of a picture.</p>"
    )
    parts = [_example(unique[name], ", ".join(words)) for name, words in ranks.items()]
    return legend + text + "".join(parts)


def _example(example: CaseExample, rank: str) -> str:
    scores = ", ".join(f"{name} {score_text(value)}" for name, value in example.scores.items())
    against = "prediction" if example.reference is None else "reference and prediction"
    pictures = []
    for plane, modality in case_views(example):
        data = png_bytes(draw_slice(example, modality, plane))
        words = f"{view_name(modality, plane)}, slice {example.slices[plane]}"
        alt = f"{example.case_id}: {words}, {against} outlined"
        pictures.append(picture_html(data, alt=alt, caption=words))
    missing = "" if example.reference is not None else '<p class="note">No reference.</p>'
    viewer = ""
    if example.viewer:
        target = html.escape(urllib.parse.quote(example.viewer))
        viewer = f'<p><a href="{target}">Slices and rendering in the viewer</a></p>'
    return (
        f"<h3>{html.escape(rank.capitalize())}: {html.escape(example.case_id)}</h3>"
        f'<p class="note">{html.escape(scores)}</p>{missing}{viewer}'
        f'<div class="views">{"".join(pictures)}</div>'
    )


def _numbers(rows: Sequence[Mapping[str, Any]], column: str) -> list[float]:
    values = [row.get(column) for row in rows]
    return [float(v) if isinstance(v, (int, float)) else float("nan") for v in values]


def _place(region: str) -> int:
    return REGION_ORDER.index(region) if region in REGION_ORDER else len(REGION_ORDER)
