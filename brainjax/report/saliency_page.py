"""The page of ``--mode=explain``: verdicts, scores, checks and pictures in one HTML file."""

from __future__ import annotations

import dataclasses
import html
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from brainjax.evaluation import MethodSummary, interval_text
from brainjax.files import write_text
from brainjax.report.layout import figure_html, page_html, picture_html, run_html
from brainjax.report.saliency_figures import draw_cascade, draw_localization, method_words
from brainjax.report.tables import table_html


@dataclasses.dataclass(frozen=True, kw_only=True)
class SaliencyReport:
    """What the page tells; what is empty leaves out its section.

    Attributes:
      title: of the page.
      command: how to run it again.
      config: nested settings.
      found: every method over the data set.
      rank_correlation: method to layer to similarity after randomising from the output to it.
      structural_similarity: likewise.
      control: method to rank correlation with a network trained on permuted labels.
      pictures: (caption, PNG file) of each case's maps.
      more_pictures: others of the same cases.
      environment: versions and the machine.
      notes: remarks for the reader.
    """

    title: str
    command: str
    config: Mapping[str, Any]
    found: Sequence[MethodSummary] = ()
    rank_correlation: Mapping[str, Mapping[str, float]] = dataclasses.field(default_factory=dict)
    structural_similarity: Mapping[str, Mapping[str, float]] = dataclasses.field(
        default_factory=dict
    )
    control: Mapping[str, float] = dataclasses.field(default_factory=dict)
    pictures: Sequence[tuple[str, Path]] = ()
    more_pictures: Sequence[tuple[str, Path]] = ()
    environment: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()


def write_saliency_report(path: str | os.PathLike[str], report: SaliencyReport) -> None:
    """Writes the page as one HTML file, atomically."""
    write_text(path, render_saliency_report(report))


def render_saliency_report(report: SaliencyReport) -> str:
    """Renders the page as HTML that loads nothing from elsewhere."""
    sections = {
        "Do the maps point at the tumour?": _localization(report.found),
        "Do they depend on the network?": _sanity(report),
        "Maps": _pictures(report.pictures),
        "More pictures": _pictures(report.more_pictures),
        "Run": run_html(report.command, report.environment, report.config),
    }
    notes = "".join(f'<p class="note">{html.escape(note)}</p>' for note in report.notes)
    return page_html(report.title, notes, sections)


def _localization(found: Sequence[MethodSummary]) -> str:
    if not found:
        return ""
    verdicts = _table(
        ["method", "verdict"],
        [[method_words(row.method), row.verdict] for row in found if row.verdict != "baseline"],
        caption="Verdicts, by the interval of the difference in AUROC to each baseline",
        words=True,
    )
    measures = {
        "saliency_share": "share of saliency", "area_share": "share of area",
        "ratio": "share / area", "pointing": "pointing game", "auroc": "AUROC",
        "insertion": "insertion", "deletion": "deletion",
    }  # fmt: skip
    scores = _table(
        ["method", "cases", *measures.values(), "not finite", "flat"],
        [
            [method_words(row.method), str(row.cases)]
            + [interval_text(*row.means[name]) for name in measures]
            + [str(row.not_finite), str(row.flat)]
            for row in found
        ],
        caption="Means with 95 % bootstrap intervals (patients are drawn; images where unknown)",
    )
    figure = draw_localization(found)
    plot = ""
    if figure is not None:
        words = "AUROC and share over area of each method with intervals; the table has them"
        plot = f'<div class="plots">{figure_html(figure, words, wide=True)}</div>'
    return verdicts + plot + scores


def _sanity(report: SaliencyReport) -> str:
    parts = []
    figure = draw_cascade(report.rank_correlation)
    if figure is not None:
        parts.append(
            '<p class="note">Layer after layer gets random weights, from the output down. A map '
            "that explains the network has to change; one that stays alike shows the image.</p>"
        )
        words = "Rank correlation of maps before and after randomising; the table has the ends"
        parts.append(f'<div class="plots large">{figure_html(figure, words)}</div>')
        rows = []
        for method, by_layer in report.rank_correlation.items():
            first, *_, last = by_layer
            ssim = report.structural_similarity[method]
            rows.append(
                [method_words(method)]
                + [f"{table[layer]:.2f}" for table in (by_layer, ssim) for layer in (first, last)]
            )
        heads = ["method", "rank, output random", "rank, all random", "SSIM, output random",
                 "SSIM, all random"]  # fmt: skip
        parts.append(_table(heads, rows, caption="Likeness to the trained network's maps (mean)"))
    if report.control:
        rows = [[method_words(name), f"{value:.2f}"] for name, value in report.control.items()]
        parts.append(
            _table(["method", "rank correlation"], rows,
                   caption="Likeness to maps of a network trained on permuted labels (mean)")
        )  # fmt: skip
    return "".join(parts)


def _pictures(pictures: Sequence[tuple[str, Path]]) -> str:
    return "".join(
        f"<h3>{html.escape(caption)}</h3>"
        + picture_html(path.read_bytes(), alt=f"{caption}: image and maps", caption="",
                       size=(1000, 560)).replace("<img", '<img style="width:100%;height:auto"', 1)
        for caption, path in pictures
    )  # fmt: skip


def _table(
    heads: Sequence[str], rows: Sequence[Sequence[str]], *, caption: str, words: bool = False
) -> str:
    """A table of cells in plain text; ``words`` are sentences, which may break."""
    kind = ' class="words"' if words else ""
    head = "".join(f"<th{kind}>{html.escape(name)}</th>" for name in heads)
    body = [
        f'<tr><th scope="row">{html.escape(row[0])}</th>'
        + "".join(f"<td{kind}>{html.escape(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows
    ]
    return table_html(f"<tr>{head}</tr>", body, caption=caption)
