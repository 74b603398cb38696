"""Single image files: every mode and format, whatever the name, and what is damaged."""

from __future__ import annotations

import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from brainjax.errors import InputError
from brainjax.scans.image_file import image_format, read_image_file, write_image_file


@pytest.fixture
def grey(rng):
    return rng.integers(0, 256, (10, 12), dtype=np.uint8)


@pytest.fixture
def colour(rng):
    return rng.integers(0, 256, (10, 12, 3), dtype=np.uint8)


def save(path: Path, array: np.ndarray, kind: str = "PNG", mode: str | None = None, **options):
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(path, format=kind, **options)
    return path


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "GIF"])
def test_lossless_grey_keeps_its_values_under_any_name(tmp_path, grey, kind):
    path = save(tmp_path / "wrong.jpg", grey, kind)
    assert image_format(path) == kind
    np.testing.assert_array_equal(read_image_file(path), grey[..., None])


def test_lossy_formats_and_jpeg_called_png(tmp_path):
    even = np.full((16, 16), 77, np.uint8)
    np.testing.assert_array_equal(
        read_image_file(save(tmp_path / "a.png", even, "JPEG")), even[..., None]
    )
    webp = read_image_file(save(tmp_path / "b.jpg", even, "WEBP", lossless=True))
    np.testing.assert_array_equal(webp, even[..., None])


def test_colour_stays_colour_and_equal_channels_become_grey(tmp_path, grey, colour):
    np.testing.assert_array_equal(read_image_file(save(tmp_path / "c", colour)), colour)
    same = np.repeat(grey[..., None], 3, axis=2)
    np.testing.assert_array_equal(read_image_file(save(tmp_path / "g", same)), grey[..., None])


def test_palette_of_greys_and_of_colours(tmp_path, grey):
    path = save(tmp_path / "p", grey, mode="P")
    np.testing.assert_array_equal(read_image_file(path), grey[..., None])
    picture = Image.fromarray(grey % 2).convert("P")
    picture.putpalette([10, 20, 30, 200, 100, 50])
    picture.save(tmp_path / "q", format="PNG")
    expected = np.array([[10, 20, 30], [200, 100, 50]], np.uint8)[grey % 2]
    np.testing.assert_array_equal(read_image_file(tmp_path / "q"), expected)


def test_transparent_palette_lies_on_black_without_a_warning(tmp_path, grey):
    picture = Image.fromarray(grey % 2).convert("P")
    picture.putpalette([255, 255, 255, 200, 200, 200])
    picture.save(tmp_path / "p", format="PNG", transparency=b"\x00\xff")
    expected = np.array([0, 200], np.uint8)[grey % 2]
    np.testing.assert_array_equal(read_image_file(tmp_path / "p"), expected[..., None])


def test_alpha_lies_on_black_unless_all_is_transparent(tmp_path, colour):
    alpha = np.zeros((10, 12, 1), np.uint8)
    hidden = np.concatenate([colour, alpha], axis=2)
    np.testing.assert_array_equal(read_image_file(save(tmp_path / "a", hidden)), colour)
    alpha[:5] = 255
    alpha[5] = 128
    half = read_image_file(save(tmp_path / "b", np.concatenate([colour, alpha], axis=2)))
    np.testing.assert_array_equal(half[:5], colour[:5])
    np.testing.assert_array_equal(half[5], np.rint(colour[5] * (128 / 255)))
    assert not half[6:].any()


def test_grey_with_alpha_and_one_bit(tmp_path, grey):
    with_alpha = np.stack([grey, np.full_like(grey, 255)], axis=-1)
    np.testing.assert_array_equal(
        read_image_file(save(tmp_path / "la", with_alpha)), grey[..., None]
    )
    bits = grey > 127
    path = save(tmp_path / "bits", bits, "TIFF")
    np.testing.assert_array_equal(read_image_file(path), np.uint8(255) * bits[..., None])


@pytest.mark.parametrize(("dtype", "kind"), [(np.uint16, "PNG"), (np.uint16, "TIFF"),
                                             (np.int32, "TIFF"), (np.float32, "TIFF")])  # fmt: skip
def test_more_than_8_bits_are_scaled_from_least_to_greatest(tmp_path, dtype, kind):
    values = np.linspace(1000, 5000, 120).reshape(10, 12).astype(dtype)
    image = read_image_file(save(tmp_path / "x.jpg", values, kind))
    assert image.dtype == np.uint8
    expected = (values.astype(float) - 1000) / 4000 * 255
    np.testing.assert_allclose(image[..., 0], expected, atol=0.51)
    assert (image.min(), image.max()) == (0, 255)


def test_big_endian_16_bits(tmp_path):
    values = (np.arange(120).reshape(10, 12) * 300).astype(">u2")
    picture = Image.frombytes("I;16B", (12, 10), values.tobytes())
    picture.save(tmp_path / "x", format="TIFF")
    image = read_image_file(tmp_path / "x")
    np.testing.assert_allclose(image[..., 0].ravel(), np.arange(120) / 119 * 255, atol=0.51)


def test_float_pixels_that_are_not_finite_become_black(tmp_path):
    values = np.linspace(5, 9, 120, dtype=np.float32).reshape(10, 12)
    values[0, :2] = np.nan, np.inf
    image = read_image_file(save(tmp_path / "x", values, "TIFF"))[..., 0]
    assert image[0, :2].tolist() == [0, 0]
    assert image.max() == 255
    save(tmp_path / "y", np.full((10, 12), np.nan, np.float32), "TIFF")
    with pytest.raises(InputError, match="no finite pixel"):
        read_image_file(tmp_path / "y")


def test_cmyk_becomes_rgb(tmp_path, colour):
    even = np.broadcast_to(np.array([200, 120, 40], np.uint8), (16, 16, 3))
    path = save(tmp_path / "x.jpg", np.ascontiguousarray(even), "JPEG", "CMYK", quality=95)
    np.testing.assert_allclose(read_image_file(path), even, atol=4)


def test_exif_rotation_is_ignored(tmp_path, grey):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save(tmp_path / "x", grey, "PNG", exif=exif)
    np.testing.assert_array_equal(read_image_file(path), grey[..., None])


def test_broken_metadata_warns_nobody(tmp_path, grey):
    exif = Image.Exif()
    exif[0x0112] = 6
    data = save(tmp_path / "x.jpg", grey, "JPEG", exif=exif).read_bytes()
    at = data.index(b"Exif\0\0") + 6 + 8
    broken = data[:at] + b"\xff\xff" + data[at + 2 :]
    (tmp_path / "x.jpg").write_bytes(broken)
    assert read_image_file(tmp_path / "x.jpg").shape == (10, 12, 1)


def test_all_threads_read_the_same(tmp_path, rng):
    even = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    paths = [save(tmp_path / f"{n}", even, "JPEG") for n in range(4)] * 8
    with ThreadPoolExecutor(4) as pool:
        images = list(pool.map(read_image_file, paths))
    assert all((image == images[0]).all() for image in images)


@pytest.mark.parametrize(("mode", "kind"), [("", "JPEG"), ("P", "PNG"), ("RGBA", "PNG")])
def test_written_images_are_read_back(tmp_path, mode, kind):
    image = np.full((16, 20, 1), 90, np.uint8)
    write_image_file(tmp_path / "deep" / "x.jpg", image, mode=mode)
    assert image_format(tmp_path / "deep" / "x.jpg") == kind
    np.testing.assert_allclose(read_image_file(tmp_path / "deep" / "x.jpg"), image, atol=1)


def png_that_declares(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
            + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b""))  # fmt: skip


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "an empty file"),
        (b"this is a text, not an image", "another kind of file"),
        (b"BM starts a text as well", "another kind of file"),
        (b"\xff\xd8\xff", "damaged image"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 50, "damaged image"),
        (b"II*\x00" + b"\xff" * 50, "damaged image"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "damaged image"),
        (png_that_declares(16, 16)[:60], "damaged image"),
        (png_that_declares(12_000, 12_000), "12000 x 12000"),
        (png_that_declares(1_000_000, 1_000_000), "many more"),
        (png_that_declares(64, 64), "damaged image"),
        (png_that_declares(4, 100), "sides of 8"),
    ],
)
def test_hostile_files_are_told_in_one_line(tmp_path, content, message):
    path = tmp_path / "slice.jpg"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_image_file(path)
    assert "slice.jpg" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "TIFF", "GIF", "WEBP"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_truncated_files(tmp_path, rng, kind, share):
    path = save(tmp_path / "x", rng.integers(0, 256, (64, 64), dtype=np.uint8), kind)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(InputError, match="damaged image"):
        read_image_file(path)


def test_stacks_are_refused_and_missing_files_told(tmp_path, grey):
    pages = [Image.fromarray(grey), Image.fromarray(grey[::-1].copy())]
    pages[0].save(tmp_path / "stack", format="TIFF", save_all=True, append_images=pages[1:])
    with pytest.raises(InputError, match="2 frames"):
        read_image_file(tmp_path / "stack")
    with pytest.raises(InputError, match="No such file"):
        read_image_file(tmp_path / "missing.jpg")
    with pytest.raises(InputError, match="cannot be read"):
        image_format(tmp_path)
