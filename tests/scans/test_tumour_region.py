"""Where the tumour is: boxes.csv, masks of .mat files, and both after fitting."""

from __future__ import annotations

import numpy as np
import pytest

from brainjax.errors import InputError
from brainjax.records import SliceRecordOptions, fit_image, fit_region
from brainjax.scans import SliceFile, read_boxes, read_region, write_mat_slice

HEAD = "file,x_center,y_center,width,height\n"


def test_boxes_are_read_and_drawn(tmp_path) -> None:
    (tmp_path / "boxes.csv").write_text(
        HEAD + "glioma/1.jpg,0.5,0.25,0.5,0.5\nglioma/1.jpg,0.125,0.875,0.25,0.25\n"
    )
    boxes = read_boxes(tmp_path)
    file = SliceFile(slice_id="glioma/1.jpg", files=(tmp_path / "glioma/1.jpg",))
    region = read_region(file, (4, 4), boxes)
    assert region is not None
    assert region.astype(int).tolist() == [[0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0], [1, 0, 0, 0]]
    other = SliceFile(slice_id="glioma/2.jpg", files=(tmp_path / "glioma/2.jpg",))
    assert read_region(other, (4, 4), boxes) is None
    assert read_boxes(tmp_path / "nowhere") == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,x_center\na,0.5\n", "line 2: expected columns .*y_center, width, height is missing"),
        (HEAD + "a,0.5,0.5,0.5,2\n", "line 2: expected centre and size as shares"),
        (HEAD + "a,0.5,0.5,0.5,wide\n", "line 2: expected centre and size as shares"),
        (HEAD + "a,0.5,nan,0.5,0.1\n", "line 2: expected centre and size as shares"),
    ],
)
def test_tables_that_are_wrong_are_told(tmp_path, text, message) -> None:
    (tmp_path / "boxes.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_boxes(tmp_path)


def test_a_mat_file_has_its_mask(tmp_path) -> None:
    image = np.arange(32 * 40).reshape(32, 40)
    mask = np.zeros((32, 40), bool)
    mask[4:9, 20:30] = True
    write_mat_slice(tmp_path / "1.mat", image, mask=mask, label=1, patient="p")
    file = SliceFile(slice_id="1.mat", files=(tmp_path / "1.mat",))
    np.testing.assert_array_equal(read_region(file, (32, 40), {}), mask)


@pytest.mark.parametrize("fit", ["stretch", "pad"])
@pytest.mark.parametrize("crop", [False, True])
def test_a_region_stays_on_what_it_marks(fit, crop) -> None:
    """A bright square on a dim head: after fitting it is bright where the region is."""
    image = np.zeros((120, 90, 1), np.uint8)
    image[15:105, 10:80] = 60
    region = np.zeros((120, 90), bool)
    region[30:54, 40:64] = True
    image[region] = 255
    options = SliceRecordOptions(image_size=(64, 64), channels=1, fit=fit, crop_to_head=crop)
    fitted = fit_image(image, options)[..., 0]
    found = fit_region(region, image, options)
    assert found.any()
    bright = fitted > 158  # half way from 60 to 255
    assert (found == bright).mean() > 0.999
