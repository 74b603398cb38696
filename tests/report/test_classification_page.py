"""The report of a classifier: complete, self-contained, safe with whatever it is given."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from brainjax.report.classification_page import (
    render_classification_report,
    write_classification_report,
)
from brainjax.report.classification_report import ClassificationReport, select_extremes
from brainjax.report.classification_tables import class_table, comparison_table, overall_table
from brainjax.report.comparison_page import compare_runs, write_comparison_report

NAN = float("nan")
EVIL = "<script>alert('x')</script>&\"$\\frac"
FIGURES = {
    "class_distribution", "samples", "curves_loss", "curves_accuracy", "curves_learning_rate",
    "confusion_test", "roc_test", "precision_recall_test", "reliability_test", "mistakes",
    "least_confident", "comparison",
}  # fmt: skip
SECTIONS = {"scores", "curves", "test-part", "comparison", "mistakes", "data", "run"}


class Page(HTMLParser):
    """Collects elements, the rows of tables, and checks that everything closes in order."""

    VOID = frozenset({"meta", "img", "br", "link", "use", "path", "image"})

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.rows: list[list[str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"style", "script"} & set(self.open):
            self.words.append(data)
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        return " ".join(self.words)

    @property
    def headings(self) -> set[str]:
        return {link["href"].removeprefix("#") for link in self.all("a")}


def test_page_tells_everything_and_loads_nothing(classification_report, tmp_path):
    files = write_classification_report(tmp_path / "report.html", classification_report())
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    interval = "0.877 (0.850\N{EN DASH}0.900)"
    for words in (interval, "n/a", "46596", "model.name", "0.10.2", "0.8871 ± 0.0053", "0.981",
                  "published (paper)", "paper 4, section 5", "Te_7.jpg", "212"):  # fmt: skip
        assert words in page.text, words
    assert page.headings == SECTIONS
    assert {file.stem for file in files} == FIGURES
    for file in files:
        assert file.parent == tmp_path / "figures"
        assert file.read_bytes().startswith(b"\x89PNG")
    assert {file.name for file in tmp_path.iterdir()} == {"report.html", "figures"}
    assert len(page.all("svg")) == len(FIGURES) - 3  # the three picture grids are pictures here
    assert all(svg["aria-label"] for svg in page.all("svg"))
    assert len(page.all("img")) == 8 + 2
    assert all(picture["alt"] for picture in page.all("img"))
    for _, attributes in page.elements:
        for name in ("src", "href", "action", "xlink:href"):
            assert (attributes.get(name) or "#").startswith(("#", "data:"))
    assert not page.all("link")
    assert not re.search(r"@import|url\((?!#)", text)
    (policy,) = [m for m in page.all("meta") if m.get("http-equiv")]
    assert policy["content"].startswith("default-src 'none'")
    ids = [attributes["id"] for _, attributes in page.elements if attributes.get("id")]
    assert len(ids) == len(set(ids))
    assert {link["href"][1:] for link in page.all("a")} <= set(ids)


def test_equal_reports_give_equal_bytes(classification_report, tmp_path):
    written = []
    for name in ("first", "second"):
        files = write_classification_report(
            tmp_path / f"{name}.html", classification_report(), tmp_path / name
        )
        page = (tmp_path / f"{name}.html").read_bytes()
        written.append((page, {file.name: file.read_bytes() for file in files}))
    assert written[0] == written[1]


def test_everything_from_outside_is_escaped(classification_report, evaluated_part, sample_image):
    names = (EVIL, f"{EVIL}2")
    report = classification_report(
        title=EVIL,
        command=EVIL,
        config={EVIL: {EVIL: EVIL}},
        summary={f"test/f1/{EVIL}": 0.5, f"test/{EVIL}": 0.25, EVIL: 1.0},
        class_names=names,
        parts=(evaluated_part(names),),
        class_counts={EVIL: (1, 2), f"{EVIL}3": (4, 5)},
        samples=(sample_image(title=EVIL, truth=EVIL),),
        mistakes=(sample_image(title=EVIL, truth=EVIL, prediction=EVIL, probability=0.5),),
        uncertain=(),
        published=((f"test/{EVIL}", EVIL, EVIL),),
        comparison={EVIL: {EVIL: EVIL}, f"{EVIL}4": {EVIL: 1.0}},
        comparison_caption=EVIL,
        duplicates={EVIL: EVIL},
        environment={EVIL: EVIL},
        notes=(EVIL,),
    )
    text = render_classification_report(report)
    page = Page(text)
    assert len(page.all("script")) == 1
    assert "alert(" not in text.split("<script>")[-1]
    assert page.text.count("alert(") > 20


def test_an_empty_report_is_a_page(tmp_path):
    empty = ClassificationReport(title="t", command="", config={})
    assert write_classification_report(tmp_path / "report.html", empty) == ()
    page = Page((tmp_path / "report.html").read_text())
    assert page.all("h1")
    assert not page.all("section")


@pytest.mark.parametrize(
    ("missing", "heading"),
    [
        ({"history": ()}, "curves"),
        ({"parts": ()}, "test-part"),
        ({"comparison": {}}, "comparison"),
        ({"mistakes": (), "uncertain": ()}, "mistakes"),
        ({"samples": (), "class_counts": {}, "duplicates": {}}, "data"),
        ({"summary": {}, "published": ()}, "scores"),
        ({"command": "", "config": {}, "environment": {}}, "run"),
    ],
)
def test_what_is_missing_leaves_out_its_section(classification_report, missing, heading):
    page = Page(render_classification_report(classification_report(**missing)))
    assert page.headings == SECTIONS - {heading}


@pytest.mark.parametrize("history", [[{"step": 1, "train/loss": NAN}], [{"step": 3}], [{}]])
def test_histories_without_numbers(classification_report, history):
    page = Page(render_classification_report(classification_report(history=history)))
    assert "curves" not in page.headings


def test_published_values_stand_in_a_column_of_their_own(classification_report):
    report = classification_report()
    page = Page(overall_table(report.summary, report.published))
    heads = page.rows[0]
    assert heads == ["Metric", "Validation", "Test", "Test, published (paper)"]
    rows = {row[0]: dict(zip(heads, row, strict=True)) for row in page.rows[1:]}
    assert rows["Accuracy"] == {
        "Metric": "Accuracy", "Validation": "0.900", "Test": "0.877 (0.850\N{EN DASH}0.900)",
        "Test, published (paper)": "0.8871 ± 0.0053",
    }  # fmt: skip
    assert rows["Balanced accuracy"]["Test"] == "n/a"
    # The paper's F1 is the mean of the classes: one row, not two.
    page = Page(render_classification_report(report))
    (row,) = [row for row in page.rows if row[0].startswith("F1")]
    assert row[2:] == ["0.861", "0.886"]


def test_classes_have_rows_with_intervals_and_published_values(classification_report):
    report = classification_report()
    table = class_table(report.summary, "test", report.class_names, report.published)
    heads, *rows = Page(table).rows
    assert heads == [
        "Class", "Recall (sensitivity)", "Recall (sensitivity), published (paper)", "AUROC",
    ]  # fmt: skip
    assert rows[0] == ["glioma", "0.750", "0.91", "0.950 (0.930\N{EN DASH}0.970)"]
    assert [row[0] for row in rows] == list(report.class_names)
    assert class_table(report.summary, "val", report.class_names, ()) == ""


def test_class_names_may_hold_slashes():
    page = Page(class_table({"test/f1/mixed/other": 0.5}, "test", ("mixed/other",), ()))
    assert page.rows == [["Class", "F1"], ["mixed/other", "0.500"]]


def test_comparison_puts_patients_last_and_warns(classification_report):
    rows = {
        "slice split": {"patients on both sides": 12, "accuracy": (0.9512, 0.0041)},
        "patient split": {"accuracy": NAN, "balanced accuracy": 0.8},
    }
    heads, first, second = Page(comparison_table(rows, caption="splits")).rows
    assert heads == ["Run", "Accuracy", "Balanced accuracy", "Patients on both sides"]
    assert first == ["slice split", "0.9512 ± 0.0041", "n/a", "12"]
    assert second == ["patient split", "n/a", "0.8000", "n/a"]
    page = Page(render_classification_report(classification_report(comparison=rows)))
    assert "say little about new patients" in page.text
    rows["slice split"]["patients on both sides"] = 0
    page = Page(render_classification_report(classification_report(comparison=rows)))
    assert "say little about new patients" not in page.text


def test_a_failed_report_keeps_the_older_one(classification_report, tmp_path):
    path = tmp_path / "report.html"
    path.write_text("old")
    with pytest.raises(AttributeError):
        write_classification_report(path, classification_report(mistakes=(3,)))
    assert path.read_text() == "old"
    write_classification_report(path, classification_report(parts=(), history=()))
    assert path.read_text().startswith("<!DOCTYPE html>")


def test_arrays_that_do_not_belong_together(classification_report, evaluated_part, sample_image):
    with pytest.raises(ValueError, match="labels"):
        evaluated_part(labels=np.zeros(3, int))
    with pytest.raises(ValueError, match="uncalibrated"):
        evaluated_part(uncalibrated=np.zeros((60, 2)))
    with pytest.raises(ValueError, match="confusion"):
        evaluated_part(confusion=np.zeros((2, 2), int))
    with pytest.raises(ValueError, match="part"):
        evaluated_part(name="../test")
    with pytest.raises(ValueError, match="4 probabilities, 3 classes"):
        classification_report(class_names=("a", "b", "c"), class_counts={})
    with pytest.raises(ValueError, match="2 counts"):
        classification_report(class_counts={"training": (1, 2)})
    with pytest.raises(ValueError, match="uint8"):
        sample_image(image=np.zeros((4, 4), np.float32))
    with pytest.raises(ValueError, match="uint8"):
        sample_image(image=np.zeros((4, 4, 2), np.uint8))


def test_extremes_are_the_sure_mistakes_and_the_unsure_hits():
    labels = np.array([0, 0, 1, 1, 1])
    first = np.array([0.9, 0.2, 0.4, 0.7, 0.9])
    probabilities = np.stack([first, 1 - first], axis=1)
    mistakes, uncertain = select_extremes(labels, probabilities, count=2)
    assert mistakes.tolist() == [4, 1]
    assert uncertain.tolist() == [2, 0]
    assert select_extremes(labels[:1], probabilities[:1], count=2)[0].tolist() == []


RUNS = {
    "slice split": [
        {"test/accuracy": 0.8, "data/patients_on_both_sides": 7.0},
        {"test/accuracy": 0.9, "data/patients_on_both_sides": 9.0},
    ],
    "patient split": [{"test/accuracy": 0.7}, {"test/accuracy": None}],
}


def test_repeats_are_compared_as_mean_and_deviation():
    rows = compare_runs(RUNS, ["test/accuracy"])
    assert rows["slice split"]["test/accuracy"] == pytest.approx((0.85, np.sqrt(0.005)))
    assert rows["slice split"]["patients on both sides"] == 9
    mean, deviation = rows["patient split"]["test/accuracy"]
    assert mean == 0.7
    assert np.isnan(deviation)
    assert "patients on both sides" not in rows["patient split"]


def test_comparison_report_has_means_runs_and_a_dot_plot(tmp_path):
    files = write_comparison_report(
        tmp_path / "report.html",
        title=EVIL,
        runs=RUNS | {EVIL: [{"test/accuracy": 0.5}]},
        published=(("test/accuracy", (0.8871, 0.0053), EVIL),),
        command=EVIL,
        config={EVIL: EVIL},
        environment={EVIL: EVIL},
        notes=(EVIL,),
    )
    assert [file.name for file in files] == ["comparison.png"]
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert len(page.all("script")) == 1
    assert ["slice split", "0.8500 ± 0.0707", "2", "9"] in page.rows
    assert ["patient split", "0.7000", "2", "n/a"] in page.rows
    assert ["published (paper)", "0.8871 ± 0.0053", "n/a", "n/a"] in page.rows
    assert ["slice split, run 2", "0.9000", "9"] in page.rows
    assert ["patient split, run 2", "n/a", "n/a"] in page.rows
    assert len(page.all("svg")) == 1


def test_comparison_of_nothing(tmp_path):
    assert write_comparison_report(tmp_path / "a.html", title="t", runs={}) == ()
    assert not Page((tmp_path / "a.html").read_text()).all("section")
    runs = {"a": [{"val/accuracy": NAN}]}
    assert write_comparison_report(tmp_path / "b.html", title="t", runs=runs) == ()
    assert ["a", "n/a", "1"] in Page((tmp_path / "b.html").read_text()).rows
