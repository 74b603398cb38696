"""Curves and spreads of scores, as SVG for the page and as PNG."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import matplotlib
import pytest

from brainjax.report import draw_curves, draw_scores, save_figure, svg_text

NAN = float("nan")
HISTORY = [{"step": step, "loss": 1.0 / step, "rare": None} for step in range(1, 30)]


def draw(history=HISTORY, lines=None):
    return draw_curves(history, lines or {"loss": "loss"}, title="Loss", ylabel="loss")


def test_values_that_are_missing_are_left_out():
    history = [
        {"step": 1, "a": 1.0},
        {"step": 2, "a": None},
        {"step": 3, "b": 2},
        {"step": 4, "a": NAN},
        {"a": 5.0},
        {"step": 6, "a": 6.0, "b": float("inf")},
    ]
    figure = draw(history, {"first": "a", "second": "b", "third": "c"})
    lines = figure.axes[0].get_lines()
    assert [(list(line.get_xdata()), list(line.get_ydata())) for line in lines] == [
        ([1, 6], [1, 6]),
        ([3], [2]),
    ]


def test_nothing_to_draw_gives_no_figure():
    assert draw([], {"loss": "loss"}) is None
    assert draw(HISTORY, {"rare": "rare"}) is None
    assert draw(HISTORY, {"never": "never"}) is None
    assert draw_scores({"ET": [NAN]}, title="Dice", ylabel="Dice") is None


def test_long_histories_are_averaged_in_groups():
    history = [{"step": step, "loss": float(step % 2)} for step in range(4000)]
    (line,) = draw(history).axes[0].get_lines()
    assert len(line.get_xdata()) == 400
    assert set(line.get_ydata()) == {0.5}


def test_scores_of_one_case_and_of_none_defined():
    figure = draw_scores(
        {"ET": [NAN, NAN], "WT": [0.5], "TC": [0.2, 0.4, 0.9]}, title="Dice", ylabel="Dice"
    )
    labels = [text.get_text() for text in figure.axes[0].get_xticklabels()]
    assert labels == ["ET\nn = 0", "WT\nn = 1", "TC\nn = 3"]


def test_svg_stands_in_a_page_of_either_colour():
    text = svg_text(draw(), description='a "quoted" <description>')
    root = ElementTree.fromstring(text)
    assert root.get("aria-label") == 'a "quoted" <description>'
    assert root.get("viewBox")
    assert root.get("width") is None
    assert "currentColor" in text
    assert "#010203" not in text
    assert ">Loss</text>" in text  # words stay words
    used = {part.split(")")[0] for part in text.split("url(#")[1:]}
    known = {element.get("id") for element in root.iter()}
    assert used
    assert used <= known


def test_ids_of_two_figures_do_not_meet():
    first, second = (svg_text(draw(HISTORY[: 10 + n]), description="figure") for n in (0, 1))
    ids = [
        {element.get("id") for element in ElementTree.fromstring(text).iter()} - {None}
        for text in (first, second)
    ]
    assert ids[0]
    assert not ids[0] & ids[1]


def test_equal_runs_give_equal_bytes():
    assert svg_text(draw(), description="a") == svg_text(draw(), description="a")


def test_settings_of_matplotlib_stay_as_they_were():
    before = dict(matplotlib.rcParams)
    svg_text(draw(), description="figure")
    assert dict(matplotlib.rcParams) == before


def test_saving_a_figure(tmp_path):
    save_figure(tmp_path / "new" / "loss.png", draw(), dpi=50)
    assert (tmp_path / "new" / "loss.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["cost in $", r"$\frac{1}$", "a_b^c"])
def test_names_are_never_read_as_formulas(name):
    text = svg_text(draw(HISTORY, {name: "loss", "b": "step"}), description="figure")
    assert f">{name}</text>" in text


def test_a_constant_is_drawn_from_zero_whatever_its_last_digits() -> None:
    history = [{"step": n, "train/learning_rate": 1e-3 + n * 1e-11} for n in range(3)]
    figure = draw_curves(history, {"rate": "train/learning_rate"}, title="Rate", ylabel="rate")
    assert figure is not None
    low, high = figure.axes[0].get_ylim()
    assert low == 0
    assert high == pytest.approx(1.25e-3, rel=1e-3)
