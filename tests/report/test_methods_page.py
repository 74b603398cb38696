"""The page of an ablation and what a page says of folds."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from brainjax.evaluation import MethodDifference, PairedDifference, TextTable
from brainjax.report import (
    RunReport,
    draw_differences,
    folds_html,
    render_report,
    text_table_html,
    write_methods_report,
)

TABLE = TextTable(
    caption="Dice (%)",
    head=("Method", "ET", "p"),
    rows=(("<Baseline>", "74.47 ± 30.28", "<0.001"), ("Intra", "-1.50 [-2.00, -1.00]", "none")),
)
TITLES = {"intra": "Baseline + Intra", "inter": "Baseline + Inter"}


def difference(method: str, region: str, mean: float, p_holm: float) -> MethodDifference:
    pair = PairedDifference(
        cases=5, patients=5, mean=mean, low=mean - 0.01, high=mean + 0.02, p_value=0.02
    )
    return MethodDifference(
        method=method, metric="dice", region=region, difference=pair, p_holm=p_holm
    )


DIFFERENCES = [
    difference(method, region, mean, p)
    for region in ("ET", "WT")
    for method, mean, p in (("intra", 0.03, 0.01), ("inter", -0.01, 0.4))
]


def test_cells_sort_by_their_first_number_and_are_escaped() -> None:
    text = text_table_html(TABLE)
    assert "&lt;Baseline&gt;" in text
    assert re.findall(r'data-value="([^"]+)"', text) == ["74.47", "0.001", "-1.5"]
    assert "<td>none</td>" in text


def test_differences_are_drawn_in_percentage_points() -> None:
    figure = draw_differences(DIFFERENCES, "dice", TITLES)
    first, second = figure.axes
    assert [axes.get_title(loc="left") for axes in (first, second)] == [
        "Enhancing tumour", "Whole tumour",
    ]  # fmt: skip
    assert [label.get_text() for label in first.get_yticklabels()] == [*TITLES.values()]
    spans = [line.get_xdata() for line in first.lines if len(line.get_xdata()) == 2][1:]
    np.testing.assert_allclose(spans, [[2.0, 5.0], [-2.0, 1.0]])
    marks = [line for line in first.lines if len(line.get_xdata()) == 1]
    assert [mark.get_markerfacecolor() == mark.get_color() for mark in marks] == [True, False]
    assert draw_differences(DIFFERENCES, "hd95_mm", TITLES) is None
    nothing = [difference("intra", "ET", float("nan"), float("nan"))]
    assert draw_differences(nothing, "dice", TITLES) is None


def test_the_page_of_an_ablation(tmp_path: Path) -> None:
    write_methods_report(
        tmp_path / "report.html", title="<Ablation>", command="python -m brainjax.main",
        config={"seed": 0}, scores=[TABLE], differences=[TABLE], drawn=DIFFERENCES,
        titles=TITLES, environment={"jax": "1"}, notes=["On <phantoms>."],
    )  # fmt: skip
    page = (tmp_path / "report.html").read_text()
    assert page.count("<svg") == 1
    assert page.count('<table class="sortable">') == 2
    assert "On &lt;phantoms&gt;." in page
    assert "&lt;Ablation&gt;" in page
    assert "http" not in page.replace("http://www.w3.org", "").replace("http-equiv", "")


@pytest.mark.parametrize("rows", [[{"step": 5, "val/dice/mean": 0.4}], []])
def test_folds_have_tables_and_curves(rows: list) -> None:
    text = folds_html([TABLE], {"fold 0": rows, "fold 1": [{"step": 5, "train/loss": 1.0}]})
    assert text.count("<svg") == len(rows)
    run = RunReport(title="t", command="c", config={}, sections={"Cross-validation": text})
    page = render_report(run)
    assert '<h2 id="cross-validation">' in page
