"""Figures of attention and of several models: what is where, and in which colours."""

from __future__ import annotations

import numpy as np
import pytest

from brainjax.report import CaseExample, png_bytes
from brainjax.report.attention_figures import (
    axial_section,
    draw_attention_maps,
    draw_feature_maps,
)
from brainjax.report.model_figures import (
    draw_attention_losses,
    draw_confidence,
    draw_prototype_distances,
    draw_segmentations,
)
from brainjax.scans import TISSUES

SHAPE = (20, 24, 16)


def make_example(**changes) -> CaseExample:
    image = np.zeros((*SHAPE, 2), np.float32)
    image[2:18, 2:22, 2:14] = np.random.default_rng(0).uniform(1, 2, (16, 20, 12, 2))
    reference = np.zeros(SHAPE, np.uint8)
    reference[5:10, 6:11, 6:9] = 2
    reference[6:8, 7:9, 7] = 3
    values = {
        "case_id": "$case$",
        "rank": "",
        "image": image,
        "modalities": ("flair", "t1ce"),
        "reference": reference,
        "predicted": np.roll(reference, 2, axis=0),
        "spacing_mm": (1.0, 2.0, 1.0),
        "scores": {},
    }
    return CaseExample(**(values | changes))


def images(figure) -> list:
    return [image for axes in figure.axes for image in axes.images]


def test_section_has_anterior_up_and_the_right_on_the_left():
    example = make_example()
    volume = np.zeros(SHAPE)
    volume[3, 4, example.slices["axial"]] = 1.0  # near the right and the front
    section = axial_section(example, volume)
    assert section.shape == (24, 20)  # the brain and four voxels around it, within the volume
    assert np.argwhere(section).tolist() == [[4, 3]]


@pytest.mark.parametrize("reference", [True, False])
def test_attention_maps_share_one_scale_and_tell_their_score(reference):
    example = make_example() if reference else make_example(reference=None)
    values = np.random.default_rng(1).uniform(-0.2, 1.2, (*SHAPE, 4))
    figure = draw_attention_maps(example, values, values, TISSUES, {"oedema": 0.91234})
    maps = [image for image in images(figure) if image.cmap.name == "viridis"]
    assert len(maps) == 8
    assert {image.get_clim() for image in maps} == {(0.0, 1.0)}
    labels = [axes.get_xlabel() for axes in figure.axes]
    assert "AUROC of oedema 0.912" in labels
    assert [axes.get_ylabel() for axes in figure.axes[:12:3]] == list(TISSUES)
    outlined = "reference outlined" if reference else "prediction outlined"
    assert outlined in figure.axes[0].get_title()
    assert png_bytes(figure).startswith(b"\x89PNG")


def test_feature_maps_are_in_units_of_the_channel_before_the_update():
    random = np.random.default_rng(2)
    before = random.normal(size=(*SHAPE, 2)) * [3.0, 100.0] + [7.0, -50.0]
    after = before + np.array([6.0, 0.0])  # two deviations of the first channel
    example = make_example()
    figure = draw_feature_maps(example, before, after, (4, 9))
    maps = [image for image in images(figure) if image.cmap.name == "viridis"]
    assert len(maps) == 4
    assert len({image.get_clim() for image in maps}) == 1
    means = [float(image.get_array().mean()) for image in maps]  # before 4, 9, after 4, 9
    assert means[2] - means[0] == pytest.approx(2.0, abs=0.1)
    assert means[3] == pytest.approx(means[1])
    assert "channel 9" in [axes.get_title() for axes in figure.axes]
    assert png_bytes(figure).startswith(b"\x89PNG")


def test_a_constant_channel_is_drawn():
    constant = np.ones((*SHAPE, 1))
    assert png_bytes(draw_feature_maps(make_example(), constant, constant, (0,)))


@pytest.mark.parametrize("models", [1, 4])
def test_segmentations_stand_beside_the_reference(models):
    example = make_example()
    found = {f"$model {number}$": example.predicted for number in range(models)}
    scores = {name: {"ET": float("nan"), "WT": 0.5} for name in found}
    figure = draw_segmentations(example, found, TISSUES, scores)
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles[:2] == ["scan", "reference"]
    assert len(titles) == models + 2
    assert "Dice ET n/a  WT 0.500" in [axes.get_xlabel() for axes in figure.axes]
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == list(TISSUES[1:])
    assert png_bytes(figure).startswith(b"\x89PNG")


def test_confidence_shows_percentages_of_every_model():
    shares = {name: {"ET": np.array([0.5, 0.1, 0.1, 0.3])} for name in ("a", "b", "c")}
    tenths = {name: {"ET": np.full(10, 0.1)} for name in shares}
    figure = draw_confidence("case", shares, tenths)
    heights = [bar.get_height() for bar in figure.axes[0].patches]
    assert heights == pytest.approx([50, 10, 10, 30] * 3)
    assert png_bytes(figure).startswith(b"\x89PNG")


def test_curves_of_runs():
    rows = [
        {"step": step, "train/attention_loss": 1 / step, "train/prototype_distance/0_1": 10.0**step}
        for step in (1, 2, 3)
    ]
    losses = draw_attention_losses({"path": rows, "features": rows, "none": [{"step": 1}]})
    assert len(losses.axes[0].lines) == 2
    distances = draw_prototype_distances(rows, TISSUES, title="run")
    assert distances.axes[0].get_yscale() == "log"
    assert len(distances.axes[0].lines) == 1
    assert draw_attention_losses({"baseline": [{"step": 1}]}) is None
    assert draw_prototype_distances([{"step": 1}], TISSUES, title="run") is None
