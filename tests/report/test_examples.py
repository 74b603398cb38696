"""Pictures of cases: the right slice, the right way up, with the right outlines."""

from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib.image import imread

from brainjax.report import CaseExample, draw_case, draw_slice, png_bytes, select_examples
from brainjax.report.examples import PREDICTION_COLOUR, REFERENCE_COLOUR, case_views

SHAPE = (20, 24, 16)


def make_example(**changes) -> CaseExample:
    image = np.zeros((*SHAPE, 2), np.float32)
    image[2:18, 2:22, 2:14] = 0.5
    predicted = np.zeros(SHAPE, np.uint8)
    predicted[5:9, 6:12, 6:10] = 2
    reference = np.zeros(SHAPE, np.uint8)
    reference[5:10, 6:11, 6:9] = 2
    reference[6:8, 7:9, 7] = 3
    reference[5:10, 6:12, 8] = 2
    values = {
        "case_id": "case",
        "rank": "best",
        "image": image,
        "modalities": ("flair", "t2"),
        "reference": reference,
        "predicted": predicted,
        "spacing_mm": (1.0, 1.0, 1.0),
        "scores": {"WT Dice": 0.8},
    }
    return CaseExample(**(values | changes))


def pixels(figure) -> np.ndarray:
    """RGB `[rows, columns, 3]` in 0..1, the first row at the top."""
    return imread(io.BytesIO(png_bytes(figure, dpi=100)))[..., :3]


def has_colour(picture: np.ndarray, colour: str) -> bool:
    rgb = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return bool((np.abs(picture - rgb).max(axis=-1) < 0.02).any())


def test_slices_are_those_with_the_largest_tumour_area():
    assert make_example().slices["axial"] == 8
    mine = make_example(reference=None)
    assert 6 <= mine.slices["axial"] < 10
    nothing = np.zeros(SHAPE, np.uint8)
    empty = make_example(reference=nothing, predicted=nothing)
    assert empty.slices == {"sagittal": 9, "coronal": 11, "axial": 7}


def test_an_empty_reference_leaves_the_choice_to_the_prediction():
    predicted = np.zeros(SHAPE, np.uint8)
    predicted[4:8, 4:8, 3] = 1
    example = make_example(reference=np.zeros(SHAPE, np.uint8), predicted=predicted)
    assert example.slices["axial"] == 3


@pytest.mark.parametrize(
    ("plane", "corner", "bright"),
    [
        # A bright block at low D (patient right) and low H (anterior): top left.
        ("axial", (slice(2, 6), slice(2, 6), slice(2, 14)), (0, 0)),
        # Low D (right), high W (superior): top left.
        ("coronal", (slice(2, 6), slice(2, 22), slice(10, 14)), (0, 0)),
        # High H (posterior), low W (inferior): bottom right.
        ("sagittal", (slice(2, 18), slice(18, 22), slice(2, 6)), (1, 1)),
    ],
)
def test_pictures_are_the_radiological_way_round(plane, corner, bright):
    nothing = np.zeros(SHAPE, np.uint8)
    image = np.zeros((*SHAPE, 1), np.float32)
    image[2:18, 2:22, 2:14] = 0.5
    image[corner] = 3.0
    example = make_example(image=image, modalities=("flair",), predicted=nothing, reference=None)
    grey = pixels(draw_slice(example, "flair", plane)).mean(axis=-1)
    grey[:, :25] = grey[:, -25:] = 0  # the letters
    halves = [np.array_split(half, 2, axis=1) for half in np.array_split(grey, 2, axis=0)]
    white = np.array([[(part > 0.95).sum() for part in row] for row in halves])
    assert np.unravel_index(white.argmax(), white.shape) == bright
    assert white.max() > 5 * np.sort(white.ravel())[-2]


def test_spacing_sets_the_aspect():
    example = make_example(
        spacing_mm=(1.0, 1.0, 3.0), predicted=np.zeros(SHAPE, np.uint8), reference=None
    )
    picture = pixels(draw_slice(example, "flair", "coronal")).mean(axis=-1) > 0.3
    picture[:, :25] = picture[:, -25:] = False
    rows, columns = (np.flatnonzero(picture.any(axis=a)) for a in (1, 0))
    assert np.ptp(rows) / np.ptp(columns) == pytest.approx(12 * 3 / 16, rel=0.05)


def test_reference_and_prediction_are_outlined_in_two_colours():
    both = pixels(draw_slice(make_example(), "flair"))
    assert has_colour(both, REFERENCE_COLOUR)
    assert has_colour(both, PREDICTION_COLOUR)
    only = pixels(draw_slice(make_example(reference=None), "flair"))
    assert not has_colour(only, REFERENCE_COLOUR)
    assert has_colour(only, PREDICTION_COLOUR)
    nothing = np.zeros(SHAPE, np.uint8)
    missed = pixels(draw_slice(make_example(predicted=nothing), "flair"))
    assert has_colour(missed, REFERENCE_COLOUR)
    assert not has_colour(missed, PREDICTION_COLOUR)


def test_an_image_of_zeros_is_drawn():
    nothing = np.zeros(SHAPE, np.uint8)
    example = make_example(
        image=np.zeros((*SHAPE, 2), np.float16), predicted=nothing, reference=nothing
    )
    assert pixels(draw_slice(example, "t2", "sagittal")).max() > 0  # the letters


def test_a_whole_case_as_one_figure():
    example = make_example(case_id="a$b$", scores={"WT Dice": float("nan")})
    assert case_views(example) == [
        ("axial", "flair"),
        ("axial", "t2"),
        ("coronal", "flair"),
        ("sagittal", "flair"),
    ]
    picture = pixels(draw_case(example))
    assert has_colour(picture, REFERENCE_COLOUR)
    assert picture.shape[1] > picture.shape[0] * 0.6


def test_wrong_names_and_shapes():
    with pytest.raises(ValueError, match="t1ce"):
        draw_slice(make_example(), "t1ce")
    with pytest.raises(ValueError, match="oblique"):
        draw_slice(make_example(), "t2", "oblique")
    with pytest.raises(ValueError, match="channel"):
        make_example(modalities=("flair",))
    with pytest.raises(ValueError, match="reference"):
        make_example(reference=np.zeros((3, 3, 3), np.uint8))


def test_examples_are_selected_by_mean_dice():
    nan = float("nan")
    assert select_examples(["a", "b", "c"], [0.5, 0.9, 0.1]) == {
        "best": "b",
        "median": "a",
        "worst": "c",
    }
    assert select_examples(["a"], [0.5]) == {"best": "a", "median": "a", "worst": "a"}
    assert select_examples(["a", "b"], [nan, 0.2])["worst"] == "b"
    assert set(select_examples(["a", "b"], [nan, nan])) == {"best", "median", "worst"}
    assert select_examples([], []) == {}
