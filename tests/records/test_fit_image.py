"""Images brought to one size: crop, padding, resizing, channels."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from brainjax.errors import InputError
from brainjax.records.fit_image import as_channels, fit_image, head_box
from brainjax.records.slice_schema import SliceRecordOptions


def options(size: tuple[int, int], **others: object) -> SliceRecordOptions:
    return SliceRecordOptions(image_size=size, **others)


def head(height: int, width: int, box: tuple[int, int, int, int]) -> np.ndarray:
    image = np.random.default_rng(0).integers(0, 12, (height, width, 1)).astype(np.uint8)
    top, left, bottom, right = box
    image[top:bottom, left:right] = 180
    return image


def test_an_image_that_fits_stays_as_it_is(rng: np.random.Generator) -> None:
    image = rng.integers(0, 256, (7, 9, 3), dtype=np.uint8)
    np.testing.assert_array_equal(fit_image(image, options((7, 9), channels=3)), image)


@pytest.mark.parametrize("fit", ["stretch", "pad"])
@pytest.mark.parametrize("crop", [False, True])
@pytest.mark.parametrize("shape", [(1, 1, 1), (5, 300, 1), (512, 512, 3), (30, 31, 4)])
def test_size_and_type_are_as_asked(
    fit: str, crop: bool, shape: tuple[int, int, int], rng: np.random.Generator
) -> None:
    image = rng.integers(0, 256, shape, dtype=np.uint8)
    channels = 4 if shape[2] == 4 else 1
    fitted = fit_image(image, options((24, 20), channels=channels, fit=fit, crop_to_head=crop))
    assert fitted.shape == (24, 20, channels)
    assert fitted.dtype == np.uint8
    assert fitted.flags.c_contiguous


def test_shrinking_averages_instead_of_skipping() -> None:
    board = np.indices((128, 128)).sum(axis=0)[..., np.newaxis] % 2 * 255
    shrunk = fit_image(board.astype(np.uint8), options((16, 16)))
    assert np.abs(shrunk.astype(int) - 128).max() <= 1


def test_every_channel_is_resized_alike(rng: np.random.Generator) -> None:
    image = rng.integers(0, 256, (40, 50, 4), dtype=np.uint8)
    together = fit_image(image, options((16, 12), channels=4))
    for channel in range(4):
        alone = fit_image(image[..., channel : channel + 1], options((16, 12)))
        np.testing.assert_array_equal(together[..., channel], alone[..., 0])
    colour = fit_image(image[..., :3], options((16, 12), channels=3))
    np.testing.assert_array_equal(colour, together[..., :3])


def test_padding_keeps_the_ratio_of_sides() -> None:
    image = np.full((40, 20, 1), 200, np.uint8)
    fitted = fit_image(image, options((20, 20), fit="pad"))[..., 0]
    assert (fitted[:, 6:14] == 200).all()
    assert not fitted[:, :4].any()
    assert not fitted[:, -4:].any()
    oblong = fit_image(image, options((20, 10), fit="pad"))
    assert (oblong == 200).all()


def test_the_head_is_found_among_noise_and_letters() -> None:
    image = head(200, 160, (40, 30, 150, 130))
    image[5:9, 5:25] = 255  # a line of text
    image[190, 100] = 255  # a speck
    top, left, bottom, right = head_box(image)
    assert (top, left, bottom, right) == pytest.approx((40, 30, 150, 130), abs=2)
    fitted = fit_image(image, options((32, 32), crop_to_head=True))
    assert (fitted[1:-1, 1:-1] == 180).all()


def test_the_head_is_found_in_large_images() -> None:
    image = head(1000, 800, (210, 120, 900, 760))
    assert head_box(image) == pytest.approx((210, 120, 900, 760), abs=20)


def test_each_modality_counts_for_the_head() -> None:
    image = np.zeros((90, 90, 2), np.uint8)
    image[10:50, 20:60, 0] = 90
    image[30:80, 40:70, 1] = 90
    assert head_box(image) == (10, 20, 80, 70)


@pytest.mark.parametrize("value", [0, 255])
def test_where_there_is_no_head_the_whole_image_stays(value: int) -> None:
    assert head_box(np.full((50, 70, 1), value, np.uint8)) == (0, 0, 50, 70)
    speck = np.zeros((90, 90, 1), np.uint8)
    speck[4:7, 4:7] = 255
    assert head_box(speck) == (0, 0, 90, 90)


def test_luminance_and_repetition() -> None:
    colour = np.random.default_rng(1).integers(0, 256, (9, 8, 3), dtype=np.uint8)
    grey = as_channels(colour, 1)
    wanted = colour @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(grey[..., 0], wanted, atol=0.51)
    np.testing.assert_array_equal(as_channels(as_channels(grey, 3), 1), grey)
    np.testing.assert_array_equal(grey[..., 0], np.asarray(Image.fromarray(colour).convert("L")))


def test_other_channels_are_the_users_error() -> None:
    with pytest.raises(InputError, match=r"channels: expected images of 3.*found one of 4"):
        fit_image(np.zeros((4, 4, 4), np.uint8), options((2, 2), channels=3))


@pytest.mark.parametrize(
    ("name", "value"),
    [("image_size", (0, 4)), ("image_size", (4,)), ("channels", 0), ("fit", "crop"),
     ("read_threads", 0)],
)  # fmt: skip
def test_refuses_options_by_name(name: str, value: object) -> None:
    with pytest.raises(InputError, match=f"{name}: expected"):
        SliceRecordOptions(**{"image_size": (4, 4), name: value})
