"""Figures of a classifier: what they show, for few and many classes, and of nothing."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from matplotlib.image import imread

from brainjax.report.classification_figures import (
    draw_class_distribution,
    draw_confusion,
    draw_precision_recall,
    draw_reliability,
    draw_roc,
    short_name,
)
from brainjax.report.comparison_figures import draw_comparison
from brainjax.report.figures import draw_curves, line_style, png_bytes, svg_text
from brainjax.report.sample_figures import draw_samples, predictions_html

NAN = float("nan")
LONG = "oligodendroglioma, IDH-mutant and 1p/19q-codeleted"


def texts(figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def legend(figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def inside(figure) -> bool:
    """Whether all words of the figure lie within it."""
    figure.canvas.draw()
    box = figure.get_tightbbox(figure.canvas.get_renderer())
    width, height = figure.get_size_inches()
    return box.x0 > -0.02 and box.y0 > -0.02 and box.x1 < width + 0.02 and box.y1 < height + 0.02


@pytest.mark.parametrize("classes", [2, 3, 4, 10])
def test_confusion_matrix_has_counts_and_row_shares(classes):
    names = [f"{LONG} {number}" for number in range(classes)]
    confusion = np.full((classes, classes), 1)
    np.fill_diagonal(confusion, 300)
    confusion[0] = 0
    confusion[0, 0] = 400
    figure = draw_confusion(confusion, names, title="Confusion matrix")
    found = texts(figure)[: classes * classes]
    assert found[0].splitlines() == ["400", "100.0%" if classes < 6 else "100%"]
    assert found[1] == "0"
    assert found[classes].splitlines()[1] == (
        "<1%" if classes >= 6 else f"{1 / (299 + classes):.1%}"
    )
    cells = figure.axes[0].patches
    assert cells[0].get_facecolor()[3] == 1.0
    assert cells[1].get_facecolor()[3] == 0.0
    assert inside(figure)
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert len(set(labels)) == classes
    assert labels[0].endswith("n = 400")
    assert len(figure.axes) == 2  # the colour bar
    ElementTree.fromstring(svg_text(figure, description="confusion"))


def test_words_on_cells_can_be_read():
    figure = draw_confusion(np.array([[90, 10], [0, 0]]), ["a", "b"], title="c")
    colours = [text.get_color() for text in figure.axes[0].texts]
    assert colours[0] == "white"
    assert colours[1] != "white"
    assert texts(figure)[2:4] == ["0", "0"]  # a class without images


def test_names_of_columns_do_not_meet():
    figure = draw_confusion(
        np.eye(2, dtype=int), ["MGMT unmethylated", "MGMT methylated"], title=""
    )
    figure.canvas.draw()
    first, second = (label.get_window_extent() for label in figure.axes[0].get_xticklabels())
    turned = figure.axes[0].get_xticklabels()[0].get_rotation()
    assert turned > 0 or first.x1 < second.x0


def test_roc_shows_chance_and_areas_with_intervals():
    curve = ([0.0, 0.2, 1.0], [0.0, 0.9, 1.0])
    figure = draw_roc(
        {"glioma": curve, "rare": curve, "absent": ([0.0, 1.0], [NAN, NAN])},
        {"glioma": (0.85, 0.8, 0.9), "rare": (NAN, NAN, NAN)},
        title="ROC",
    )
    assert legend(figure) == ["glioma: AUROC 0.850 (0.800\N{EN DASH}0.900)", "rare: AUROC n/a"]
    chance, first, second = figure.axes[0].get_lines()
    assert list(chance.get_xdata()) == list(chance.get_ydata()) == [0, 1]
    assert first.get_color() != second.get_color()
    assert "chance" in texts(figure)


@pytest.mark.parametrize("turn", [1, -1])
def test_precision_recall_steps_are_those_of_average_precision(turn):
    recall, precision = np.array([0.0, 0.5, 1.0]), np.array([1.0, 1.0, 0.6])
    figure = draw_precision_recall(
        {"a": (recall[::turn], precision[::turn])}, {"a": (0.8, 0.7, 0.9)}, {"a": 0.25},
        title="PR",
    )  # fmt: skip
    line, prevalence = figure.axes[0].get_lines()
    # Between recall 0.5 and 1 the precision is 0.6: the area is 0.5 + 0.3.
    x, y = line.get_path().vertices.T
    assert line.get_drawstyle() == "steps-pre"
    assert float(np.trapezoid(y, x)) == pytest.approx(0.8)
    assert list(prevalence.get_ydata()) == [0.25, 0.25]
    assert legend(figure) == ["a: AP 0.800 (0.700\N{EN DASH}0.900), chance 0.25"]


def test_ten_classes_have_ten_different_lines():
    assert len({(s["color"], str(s["linestyle"])) for s in map(line_style, range(36))}) == 36
    curve = ([0.0, 1.0], [0.0, 1.0])
    figure = draw_roc({f"{LONG} {n}": curve for n in range(10)}, {}, title="ROC")
    assert len(set(legend(figure))) == 10
    assert inside(figure)


def test_reliability_counts_images_before_and_after_scaling(evaluated_part):
    part = evaluated_part(
        ("a", "b"), 4,
        labels=np.array([0, 1, 0, 1]),
        probabilities=np.array([[0.9, 0.1], [0.9, 0.1], [0.7, 0.3], [0.3, 0.7]]),
        uncalibrated=np.array([[0.99, 0.01], [0.99, 0.01], [0.97, 0.03], [0.03, 0.97]]),
    )  # fmt: skip
    figure = draw_reliability(part, title="Reliability", errors=(0.35, 0.2345))
    assert legend(figure) == ["temperature-scaled: ECE 0.350", "before scaling: ECE 0.234"]
    _, after, before = figure.axes[0].get_lines()
    assert list(after.get_xdata()) == pytest.approx([0.7, 0.9])
    assert list(after.get_ydata()) == [1.0, 0.5]
    assert list(before.get_xdata()) == pytest.approx([0.98])
    assert [text for text in texts(figure) if text] == ["2", "2", "4"]
    alone = draw_reliability(evaluated_part(uncalibrated=None), title="Reliability")
    assert legend(alone) == ["as predicted"]


def test_bars_of_every_set_carry_their_counts():
    figure = draw_class_distribution(
        {"training": (1200, 30), "training with SMOTE": (1200, 1020), "empty": (0, 0)},
        ("glioma", LONG),
    )
    assert texts(figure) == ["1,200", "30", "1,200", "1,020"]
    assert legend(figure) == ["training", "training with SMOTE"]
    assert inside(figure)


def test_nothing_to_draw_gives_no_figure(evaluated_part):
    assert draw_class_distribution({}, ("a",)) is None
    assert draw_class_distribution({"test": (0,)}, ("a",)) is None
    assert draw_confusion(np.zeros((2, 2), int), ("a", "b"), title="c") is None
    assert draw_roc({"a": ([0.5], [0.5])}, {}, title="r") is None
    assert draw_precision_recall({}, {}, {}, title="p") is None
    assert draw_samples((), title="s") is None
    assert draw_comparison({"a": {"f1": NAN, "n": "many"}}, ["f1", "n"]) is None
    hollow = evaluated_part(probabilities=np.full((60, 4), NAN))
    assert draw_reliability(hollow, title="r") is None


def test_comparison_draws_means_runs_and_the_published_value():
    figure = draw_comparison(
        {"focal": {"f1": (0.8, 0.1), "auroc": NAN}, "both": {"f1": 0.9}},
        ["f1", "auroc"],
        points={"focal": {"f1": [0.7, 0.9, NAN]}},
        published={"f1": (0.85, 0.01)},
    )
    axes = figure.axes[0]
    lines = [list(line.get_xdata()) for line in axes.get_lines()]
    assert [0.7, 0.9] in lines
    assert any(len(x) == 2 and x == pytest.approx([0.7, 0.9]) for x in lines)
    assert [0.9] in lines
    assert [0.85, 0.85] in lines
    assert [label.get_text() for label in axes.get_yticklabels()] == ["focal", "both"]
    assert legend(figure) == ["mean ± sd", "one run", "published (paper)"]
    assert len(figure.axes) == 1  # nothing is known of AUROC


def test_samples_stand_in_rows_of_their_class(sample_image):
    samples = [sample_image(truth=name) for name in "aabbb"]
    figure = draw_samples(samples, title="Samples")
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["a", "", "", "b", "", ""]
    wide = np.asarray(figure.axes[0].get_images()[0].get_array())
    assert wide.shape == (30, 30)
    assert wide[:, :5].max() == 0  # padded to a square
    colour = sample_image(image=np.full((8, 8, 3), 9, np.uint8), prediction="b", probability=NAN)
    titles = [axes.get_title(loc="left") for axes in draw_samples([colour], title="S").axes]
    assert titles == ["true: glioma\npredicted: b\nTr_1.jpg"]


def test_large_images_are_made_smaller_on_the_page(sample_image):
    random = np.random.default_rng(0).integers(0, 255, (512, 400), np.uint8)
    text = predictions_html([sample_image(image=random, prediction="b", probability=0.5)])
    assert len(text) < 100_000


def test_curves_over_epochs():
    figure = draw_curves(
        [{"epoch": 2, "a": 0.5}, {"step": 3, "a": 0.7}], {"a": "a"}, title="A", ylabel="a",
        across="epoch",
    )  # fmt: skip
    (line,) = figure.axes[0].get_lines()
    assert list(line.get_xdata()) == [2]
    assert figure.axes[0].get_xlabel() == "epoch"


def test_figures_are_deterministic_and_keep_odd_names(evaluated_part):
    names = ("$a_b", "<&>")
    draws = [
        svg_text(draw_confusion(np.eye(2, dtype=int), names, title="$"), description="d")
        for _ in range(2)
    ]
    assert draws[0] == draws[1]
    assert "$a_b" in draws[0]
    picture = imread(io.BytesIO(png_bytes(draw_reliability(evaluated_part(), title="r"))))
    assert picture.std() > 0


@pytest.mark.parametrize("most", [6, 15, 24])
def test_short_names_keep_both_ends(most):
    short = short_name(LONG, most)
    assert len(short) == most
    assert LONG.startswith(short.split("…")[0])
    assert LONG.endswith(short.split("…")[1])
    assert short_name("glioma", 6) == "glioma"
