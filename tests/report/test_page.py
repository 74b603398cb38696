"""The page: complete, self-contained, and safe with whatever it is given."""

from __future__ import annotations

import json
import re
import urllib.parse
from html.parser import HTMLParser

import numpy as np
import pytest

from brainjax.report import CaseExample, RunReport, render_report, write_report
from brainjax.report.tables import case_table, number_text, score_table, split_summary

NAN = float("nan")
EVIL = "<script>alert('x')</script>&\""


class Page(HTMLParser):
    """Collects elements and checks that they close in order."""

    VOID = frozenset({"meta", "img", "br", "link", "use", "path"})

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"style", "script"} & set(self.open):
            self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        return " ".join(self.words)


def make_example(**changes) -> CaseExample:
    shape = (12, 12, 12)
    image = np.zeros((*shape, 4), np.float32)
    image[2:10, 2:10, 2:10] = 1.0
    classes = np.zeros(shape, np.uint8)
    classes[4:7, 4:7, 4:7] = 2
    values = {
        "case_id": "one",
        "rank": "best",
        "image": image,
        "modalities": ("flair", "t1ce", "t1", "t2"),
        "reference": classes,
        "predicted": classes,
        "spacing_mm": (1.0, 1.0, 1.0),
        "scores": {"WT Dice": 0.87, "ET Dice": NAN},
    }
    return CaseExample(**(values | changes))


def make_run(**changes) -> RunReport:
    values = {
        "title": "A run",
        "command": "python -m brainjax.main --config=configs/cga.py",
        "config": {"model": {"name": "cga_unet", "width": 8}, "seed": 0},
        "history": [
            {"step": step, "train/loss": 1 / step, "train/learning_rate": 1e-3}
            | ({"val/dice/WT": 0.1 * step} if step % 2 else {})
            for step in range(1, 6)
        ],
        "summary": {
            "val/dice/WT": 0.8765,
            "val/dice_sd/WT": 0.1,
            "val/dice/ET": NAN,
            "val/hd95_mm/ET": 4.567,
            "val/missed/ET": 1.0,
            "val/cases": 2.0,
            "train/steps": 5.0,
        },
        "case_scores": [
            {"case_id": "one", "WT_dice": 0.9, "ET_dice": NAN, "WT_hd95_mm": 3.0},
            {"case_id": "two", "WT_dice": 0.85, "ET_dice": None},
        ],
        "examples": (make_example(),),
        "environment": {"jax": "0.10.2"},
        "notes": ("A remark.",),
    }
    return RunReport(**(values | changes))


def test_page_tells_everything_and_loads_nothing(tmp_path):
    write_report(tmp_path / "report.html", make_run())
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    for words in ("A run", "A remark.", "0.876 ± 0.100", "4.57", "model.width", "0.10.2", "n/a"):
        assert words in page.text
    assert "--config=configs/cga.py" in page.text
    assert len(page.all("svg")) == 5  # loss, Dice, rate; Dice and HD95 of the cases
    pictures = page.all("img")
    assert len(pictures) == 8
    for picture in pictures:
        assert picture["src"].startswith("data:image/png;base64,")
        assert "slice" in picture["alt"]
    for _, attributes in page.elements:
        for name in ("src", "href", "action", "xlink:href"):
            target = attributes.get(name) or "#"
            assert target.startswith(("#", "data:"))
    assert not page.all("link")
    assert not re.search(r"@import|url\((?!#)", text)
    ids = [attributes["id"] for _, attributes in page.elements if attributes.get("id")]
    assert len(ids) == len(set(ids))
    assert {link["href"][1:] for link in page.all("a")} <= set(ids)


def test_examples_link_to_their_viewer_whatever_its_name():
    name = f"viewer/{EVIL} #?.html"
    page = Page(render_report(make_run(examples=(make_example(viewer=name),))))
    (target,) = (link["href"] for link in page.all("a") if not link["href"].startswith("#"))
    assert urllib.parse.unquote(target) == name
    assert not set(target) & set('<>"#?& ')


def test_everything_from_outside_is_escaped():
    run = make_run(
        title=EVIL,
        command=EVIL,
        config={EVIL: {EVIL: EVIL}},
        history=[{"step": 1, f"val/dice/{EVIL}": 0.5}, {"step": 2, f"val/dice/{EVIL}x": 0.5}],
        summary={f"{EVIL}/dice/{EVIL}": 0.5, EVIL: 1.0},
        case_scores=[{"case_id": EVIL, EVIL: EVIL, f"{EVIL}_dice": 0.5}],
        examples=(make_example(case_id=EVIL, rank=EVIL, scores={EVIL: 0.5}),),
        environment={EVIL: EVIL},
        notes=(EVIL,),
    )
    text = render_report(run)
    page = Page(text)
    assert len(page.all("script")) == 1
    assert "alert(" not in text.split("<script>")[-1]
    assert page.text.count("alert(") > 10
    assert not any("onerror" in attributes for _, attributes in page.elements)


def test_empty_run_is_a_page():
    page = Page(render_report(RunReport(title="t", command="", config={})))
    assert page.all("h1")
    assert not page.all("section")


@pytest.mark.parametrize(
    "changes",
    [
        {"history": [{"step": 1, "train/loss": 1.0}]},
        {"history": [{"step": 1}]},
        {"case_scores": [{"case_id": "one", "WT_dice": 0.5}]},
        {"case_scores": [{"case_id": "one", "WT_dice": NAN, "WT_hd95_mm": float("inf")}]},
        {"examples": (make_example(reference=None),)},
        {"summary": {"train/steps": 3.0}},
        {"summary": {"val/dice/WT": NAN}},
    ],
)
def test_pages_of_poor_runs(changes):
    Page(render_report(make_run(**changes)))


def test_one_case_in_three_ranks_is_shown_once():
    examples = tuple(make_example(rank=rank) for rank in ("best", "median", "worst"))
    page = Page(render_report(make_run(examples=examples)))
    assert "Best, median, worst: one" in page.text
    assert len(page.all("img")) == 8


def test_report_replaces_an_older_one_or_keeps_it(tmp_path):
    path = tmp_path / "report.html"
    path.write_text("old")
    broken = make_run()
    object.__setattr__(broken, "history", 3)
    with pytest.raises(TypeError):
        write_report(path, broken)
    assert path.read_text() == "old"
    write_report(path, make_run())
    assert path.read_text().startswith("<!DOCTYPE html>")
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


def test_history_may_come_from_a_file():
    line = '{"step": 2, "train/loss": null, "val/dice/mean": 0.25}'
    page = Page(render_report(make_run(history=[json.loads(line)])))
    assert any("mean 0.25" in svg["aria-label"] for svg in page.all("svg"))


def test_case_table_keeps_exact_values_for_sorting():
    text = case_table(
        [{"case_id": "a", "WT_dice": 0.123456}, {"case_id": "b", "WT_dice": NAN}], caption="cases"
    )
    assert 'data-value="0.123456"' in text
    assert ">0.123<" in text
    assert text.count("n/a") == 1
    assert text.count("<button") == 2


def test_score_table_puts_spread_and_count_beside_the_mean():
    nested, single = split_summary(
        {"val/dice/ET": 0.5, "val/dice_sd/ET": 0.25, "val/dice_defined/ET": 3.0, "val/cases": 4.0}
    )
    assert single == {"val/cases": 4.0}
    page = Page(score_table(nested["val"], caption="scores"))
    assert "0.500 ± 0.250 (n = 3)" in page.text
    assert len(page.all("tr")) == 2


@pytest.mark.parametrize(
    ("value", "name", "text"),
    [
        (1.0, "dice", "1.000"),
        (0.1234, "dice_sd", "0.123"),
        (3, "missed", "3"),
        (float("inf"), "hd95_mm", "n/a"),
        (None, "", "n/a"),
        (True, "", "True"),
        ("text", "", "text"),
        (123.456, "", "123.5"),
    ],
)
def test_numbers_as_text(value, name, text):
    assert number_text(value, name=name) == text
