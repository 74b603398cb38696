"""The report of paper 2's saliency by U-Net: its Figures 7 to 14 as one HTML file."""

from __future__ import annotations

import html
import os
from pathlib import Path

from brainjax.report.classification_drawings import PageFigure
from brainjax.report.classification_page import write_page
from brainjax.report.classification_tables import interval_text
from brainjax.report.layout import figure_html, page_html, run_html
from brainjax.report.reconstruction_figures import (
    draw_accuracy,
    draw_confusions,
    draw_errors,
    draw_localisation,
    draw_loss,
    draw_saliency,
    draw_side,
)
from brainjax.report.reconstruction_report import (
    MAPS,
    METRICS,
    SIDES,
    PicturedSlice,
    ReconstructionReport,
    epoch_text,
)
from brainjax.report.tables import table_html

_PANELS = (
    "From left to right: image with the tumour's box, the autoencoder's output, the joined "
    "U-Net's, how it differs from the autoencoder's, the winning class's gradient, and the "
    "gradient over the image. Below the maps: AUROC in this slice, and how much more of the map "
    "than of the area lies inside the box."
)

CAPTIONS = {
    "localisation": "Each map against the boxes, with 95 % intervals; the dashed line is chance.",
    "figure_07_loss": "Figure 7: the autoencoder's loss over its epochs.",
    "figure_08_unet": "Figure 8: what the autoencoder makes of a slice of each class as it learns.",
    "figure_09_right": "Figure 9, the second control: the frozen path of 1x1 convolutions beside "
    "layers that never trained. It may show places, and should not show brightness as it is.",
    "figure_10_left": "Figure 10, the first control: the trained layers beside a frozen path drawn "
    "anew. What is right here was learned by the trained layers.",
    "errors": "Error of the whole and of both controls, on a logarithmic scale.",
    "figure_11_accuracy": "Figure 11: the encoder as a classifier (the paper shows epochs 80 to "
    "100).",
    "figure_12_confusion": "Figure 12: confusion matrices of the encoder as a classifier.",
    "figure_13_saliency": f"Figure 13. {_PANELS}",
    "figure_14_saliency": "Figure 14: the same of other slices.",
}
"""Name of a figure's file to what the page says below it."""

_SECTIONS = {
    "Does it find the tumour?": ("localisation",),
    "Saliency": ("figure_13_saliency", "figure_14_saliency"),
    "Autoencoder": ("figure_07_loss", "errors", "figure_08_unet", "figure_09_right",
                    "figure_10_left"),
    "Encoder as a classifier": ("figure_11_accuracy", "figure_12_confusion"),
}  # fmt: skip

_NARROW = ("figure_07_loss", "errors", "figure_11_accuracy")


def write_reconstruction_report(
    path: str | os.PathLike[str],
    report: ReconstructionReport,
    figures_folder: str | os.PathLike[str] | None = None,
) -> tuple[Path, ...]:
    """Writes the page, which loads nothing from elsewhere, and its figures as PNG files.

    Args:
      path: of the HTML file, which is replaced only when everything was drawn.
      report: what it tells.
      figures_folder: where the PNG files go: by default ``figures`` beside the page.

    Returns:
      The PNG files that were written, such as ``figures/figure_07_loss.png``.
    """
    drawn = _draw(report)
    figures = {name: page_figure.figure for name, page_figure in drawn.items()}
    return write_page(path, _render(report, drawn), figures, figures_folder)


def _draw(report: ReconstructionReport) -> dict[str, PageFigure]:
    first, others = report.pictured
    figures = {
        "localisation": draw_localisation(report),
        "figure_07_loss": draw_loss(report),
        "figure_08_unet": draw_side(report, "both"),
        "figure_09_right": draw_side(report, "right"),
        "figure_10_left": draw_side(report, "left"),
        "errors": draw_errors(report),
        "figure_11_accuracy": draw_accuracy(report),
        "figure_12_confusion": draw_confusions(report),
        "figure_13_saliency": draw_saliency(first, title="Saliency by U-Net and by gradient"),
        "figure_14_saliency": draw_saliency(
            others, title="Saliency by U-Net and by gradient, other slices"
        ),
    }
    return {
        name: PageFigure(figure=figure, description=CAPTIONS[name], wide=name not in _NARROW)
        for name, figure in figures.items()
        if figure is not None
    }


def _render(report: ReconstructionReport, drawn: dict[str, PageFigure]) -> str:
    tables = {
        "Does it find the tumour?": _localisation_table(report),
        "Saliency": _slices_list(report),
        "Autoencoder": _errors_table(report),
        "Encoder as a classifier": _accuracy_table(report),
    }
    sections = {}
    for name, figures in _SECTIONS.items():
        plots = "".join(
            figure_html(drawn[f].figure, drawn[f].description, wide=drawn[f].wide).replace(
                "</figure>",
                f"<figcaption>{html.escape(drawn[f].description)}</figcaption></figure>",
            )
            for f in figures
            if f in drawn
        )
        sections[name] = tables[name] + (f'<div class="plots large">{plots}</div>' if plots else "")
    sections["Run"] = run_html(report.command, report.environment, report.config)
    notes = "".join(f"<p>{html.escape(note)}</p>" for note in report.notes)
    headline = "".join(f"<p><strong>{html.escape(v)}</strong></p>" for v in report.verdict[:1])
    return page_html(report.title, headline + notes, sections)


def _localisation_table(report: ReconstructionReport) -> str:
    if not report.localisation:
        return "<p>No tumour boxes or masks are known here, so no map was scored.</p>"
    heads = "".join(f'<th scope="col">{html.escape(words)}</th>' for words in METRICS.values())
    rows = [
        f'<tr><th scope="row">{html.escape(MAPS[row.method])}</th>'
        + "".join(f"<td>{interval_text(*row.means[metric])}</td>" for metric in METRICS)
        + "</tr>"
        for row in report.localisation
    ]
    caption = f"Means over the slices of the {report.part} with a box, 95 % bootstrap intervals"
    verdict = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in report.verdict[1:])
    table = table_html(f"<tr><th>map</th>{heads}</tr>", rows, caption=caption)
    rule = (
        "A map is called adequate when its AUROC is above that of the image's brightness and of a "
        "Gaussian in the middle, and its greatest value lies in or near the tumour in more than "
        "half of the slices, each by the whole interval."
    )
    return f'{table}<ul>{verdict}</ul><p class="note">{rule}</p>'


def _errors_table(report: ReconstructionReport) -> str:
    heads = "".join(f'<th scope="col">epoch {epoch_text(e)}</th>' for e in report.epochs)
    rows = [
        f'<tr><th scope="row">{html.escape(SIDES[side])}</th>'
        + "".join(f"<td>{error:.4g}</td>" for error in errors)
        + "</tr>"
        for side, errors in report.errors.items()
    ]
    caption = f"Mean squared error over the {report.part}, brightness 0 to 1"
    return table_html(f"<tr><th></th>{heads}</tr>", rows, caption=caption)


def _accuracy_table(report: ReconstructionReport) -> str:
    heads = "".join(f'<th scope="col">epoch {epoch_text(e)}</th>' for e in report.classifier_epochs)
    rows = [
        f'<tr><th scope="row">{html.escape(part)}</th>'
        + "".join(f"<td>{value:.3f}</td>" for value in values)
        + "</tr>"
        for part, values in report.accuracy.items()
    ]
    caption = "Accuracy of the encoder as a classifier at each snapshot"
    return table_html(f"<tr><th></th>{heads}</tr>", rows, caption=caption)


def _slices_list(report: ReconstructionReport) -> str:
    """Which slices the pictures are of."""

    def line(number: int, rows: tuple[PicturedSlice, ...]) -> str:
        return f"Figure {number}: " + ", ".join(html.escape(row.title) for row in rows)

    lines = [line(13 + place, rows) for place, rows in enumerate(report.pictured) if rows]
    return f'<p class="note">{"; ".join(lines)}. Spread evenly over each class, not chosen.</p>'
