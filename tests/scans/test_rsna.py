"""The RSNA-MICCAI layout: which slices are found, and what is read of them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from brainjax.errors import InputError
from brainjax.scans import series_slice
from brainjax.scans.dicom import write_slice
from brainjax.scans.rsna import (
    SeriesOptions,
    find_rsna,
    find_series_to_predict,
    is_rsna,
    read_rsna_labels,
)
from brainjax.scans.series_slice import read_series_slice, resize_grey, scale_series
from brainjax.scans.slice import SliceFile

MODALITIES = ("FLAIR", "T1w", "T1wCE", "T2w")
EMPTY = 0


def save_series(folder: Path, values: list[int], *, size: int = 8) -> Path:
    """Squares as bright as ``values`` on background 0; the last file is the first slice."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, value in enumerate(values):
        picture = np.zeros((size, size), np.uint16)
        picture[size // 4 : -(size // 4), size // 4 : -(size // 4)] = value
        number = len(values) - index
        write_slice(
            folder / f"Image-{number}.dcm",
            picture,
            position_mm=(0, 0, index),
            spacing_mm=(1, 1, 1),
            instance=number,
            patient_id="x",
            series="x",
        )
    return folder


def save_case(folder: Path, values: list[int], modalities: tuple[str, ...] = MODALITIES) -> Path:
    for step, name in enumerate(modalities):
        save_series(folder / name, [value and value + step for value in values])
    return folder


def save_labels(root: Path, text: str) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    path = root / "train_labels.csv"
    path.write_text("BraTS21ID,MGMT_value\n" + text)
    return path


@pytest.fixture
def challenge(tmp_path: Path) -> Path:
    for name in ("00000", "00002", "00109"):
        save_case(tmp_path / "train" / name, [0, 100, 200, 300, 400, 0])
    save_case(tmp_path / "test" / "00001", [0, 100, 0])
    save_labels(tmp_path, "0,1\n2,0\n109,1\n")
    return tmp_path


def centre(file: SliceFile) -> list[int]:
    image = read_series_slice(file).image
    return image[image.shape[0] // 2, image.shape[1] // 2].tolist()


def test_stacked_slices_of_labelled_cases(challenge: Path) -> None:
    found = find_rsna(challenge, SeriesOptions(slices_per_series=2))
    assert [file.slice_id for file in found.slices] == [
        "00000/FLAIR+T1wCE+T2w/00",
        "00000/FLAIR+T1wCE+T2w/01",
        "00002/FLAIR+T1wCE+T2w/00",
        "00002/FLAIR+T1wCE+T2w/01",
    ]
    assert [file.patient_id for file in found.slices] == ["00000", "00000", "00002", "00002"]
    assert [file.label for file in found.slices] == [1, 1, 0, 0]
    assert {(file.part, file.fold) for file in found.slices} == {("", 0)}
    assert found.class_names == ("unmethylated", "methylated")
    assert found.source == "rsna"
    assert found.notes == (
        "1 case left out on request: 00109",
        "test: 1 case without labels, not taken",
    )


def test_single_slices_of_each_modality(challenge: Path) -> None:
    options = SeriesOptions(channels="single", modalities=("T2w", "T1w"), slices_per_series=1)
    found = find_rsna(challenge, options)
    assert [file.slice_id for file in found.slices] == [
        "00000/T1w/00",
        "00000/T2w/00",
        "00002/T1w/00",
        "00002/T2w/00",
    ]
    assert read_series_slice(found.slices[0]).image.shape == (8, 8, 1)


def test_all_slices_that_are_not_empty(challenge: Path) -> None:
    found = find_rsna(challenge, SeriesOptions(slices_per_series=0))
    of_first = [file for file in found.slices if file.patient_id == "00000"]
    assert len(of_first) == 4
    shown = [centre(file) for file in of_first]
    # Positions upwards, though the numbers go down; the lowest voxel of a series becomes 0.
    assert [value[0] for value in shown] == [0, 85, 170, 255]
    assert all(len(value) == 3 for value in shown)


def test_evenly_spaced_slices(tmp_path: Path) -> None:
    values = [0, 0, *range(100, 1100, 100), 0]
    save_case(tmp_path / "train" / "00000", values)
    save_labels(tmp_path, "0,1\n")
    found = find_rsna(tmp_path, SeriesOptions(slices_per_series=5))
    shown = [centre(file)[0] for file in found.slices]
    every = [round((value - 100) / 900 * 255) for value in values[2:-1]]
    np.testing.assert_allclose(shown, every[1::2], atol=1)


def test_no_more_slices_are_asked_for_than_there_are_files(tmp_path: Path) -> None:
    save_case(tmp_path / "train" / "00000", [100, 200])
    save_labels(tmp_path, "0,1\n")
    assert len(find_rsna(tmp_path, SeriesOptions(slices_per_series=9)).slices) == 2


def test_what_is_missing_is_told(challenge: Path) -> None:
    save_case(challenge / "train" / "00003", [1, 2], ("FLAIR", "T2w"))
    (challenge / "train" / "00003" / "T1wCE").mkdir()
    save_case(challenge / "train" / "00005", [1, 2])
    save_labels(challenge, "0,1\n2,0\n3,1\n4,0\n109,1\n")
    found = find_rsna(challenge)
    assert {file.patient_id for file in found.slices} == {"00000", "00002"}
    assert found.notes == (
        "1 case left out on request: 00109",
        "1 label without a folder: 00004",
        "1 case without a label: 00005",
        "1 case without a series: 00003 (T1wCE)",
        "test: 1 case without labels, not taken",
    )


def test_excluded_cases_are_an_option(challenge: Path) -> None:
    found = find_rsna(challenge, SeriesOptions(excluded_cases=("2",)))
    assert {file.patient_id for file in found.slices} == {"00000", "00109"}


def test_case_folders_may_have_lost_their_zeros(tmp_path: Path) -> None:
    save_case(tmp_path / "train" / "7", [1, 2])
    save_labels(tmp_path, "00007,1\n")
    assert find_rsna(tmp_path).slices[0].slice_id.startswith("00007/")
    save_case(tmp_path / "train" / "00007", [1, 2])
    with pytest.raises(InputError, match="case 00007 is there twice, as 00007 and 7"):
        find_rsna(tmp_path)


def test_labels_with_their_zeros_restored(tmp_path: Path) -> None:
    path = save_labels(tmp_path, "0,1\n00012,0\n100.0,1.0\n\n")
    assert read_rsna_labels(path) == {"00000": 1, "00012": 0, "00100": 1}
    path.write_text("\ufeffMGMT_value,BraTS21ID,split\n1,5,a\n", encoding="utf-8")
    assert read_rsna_labels(path) == {"00005": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0,1\n3,2\n", "line 3: expected MGMT_value 0 or 1, found '2'"),
        ("0,\n", "line 2: expected MGMT_value 0 or 1, found ''"),
        ("x,1\n", "line 2: expected a case number, found 'x'"),
        ("9,1\n00009,1\n", "line 3: case 00009 is there twice, first in line 2"),
        ("", "has no rows"),
    ],
)
def test_labels_that_cannot_be_used(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_rsna_labels(save_labels(tmp_path, text))


def test_tables_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "train_labels.csv"
    with pytest.raises(InputError, match="no such file"):
        read_rsna_labels(path)
    path.write_text("id,label\n0,1\n")
    with pytest.raises(InputError, match="columns BraTS21ID, MGMT_value, found id, label"):
        read_rsna_labels(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot be read as a CSV"):
        read_rsna_labels(path)


def test_folders_that_are_not_the_challenge(challenge: Path, tmp_path: Path) -> None:
    assert is_rsna(challenge)
    assert not is_rsna(challenge / "train")
    with pytest.raises(InputError, match=f"give {challenge}"):
        find_rsna(challenge / "train")
    (tmp_path / "other" / "train").mkdir(parents=True)
    assert not is_rsna(tmp_path / "other")
    save_labels(tmp_path / "other", "0,1\n")
    with pytest.raises(InputError, match=r"no labelled case remains .*without a folder: 00000"):
        find_rsna(tmp_path / "other")


@pytest.mark.parametrize(
    "wrong",
    [
        {"modalities": ()},
        {"modalities": ("FLAIR", "flair")},
        {"modalities": ("FLAIR", "FLAIR")},
        {"channels": "rgb"},
        {"slices_per_series": -1},
    ],
)
def test_options_are_checked(wrong: dict) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        SeriesOptions(**wrong)


def test_series_to_predict(challenge: Path) -> None:
    series = find_series_to_predict(challenge / "test" / "00001" / "T1w")
    assert [file.slice_id for file in series.slices] == ["T1w/00", "T1w/01", "T1w/02"]
    assert series.slices[0].label is None
    assert series.class_names == ()
    assert series.root / "T1w" == series.slices[0].files[0]
    one = find_series_to_predict(challenge / "test" / "00001" / "T1w" / "Image-2.dcm")
    assert centre(one.slices[0]) == [255]


def test_cases_to_predict(challenge: Path) -> None:
    options = SeriesOptions(slices_per_series=1)
    case = find_series_to_predict(challenge / "train" / "00109", options)
    assert [file.slice_id for file in case.slices] == ["00109/FLAIR+T1wCE+T2w/00"]
    several = find_series_to_predict(challenge / "train", options)
    assert [file.patient_id for file in several.slices] == ["00000", "00002", "00109"]
    everything = find_series_to_predict(challenge, options)
    assert len({file.slice_id for file in everything.slices}) == 4
    assert all(file.label is None for file in everything.slices)


def test_what_cannot_be_predicted(challenge: Path, tmp_path: Path) -> None:
    case = challenge / "train" / "00000"
    with pytest.raises(InputError, match="is one series, expected the folder of a case"):
        find_series_to_predict(case / "FLAIR", SeriesOptions())
    for file in (case / "T1wCE").iterdir():
        file.unlink()
    with pytest.raises(InputError, match=r"expected series FLAIR, T1wCE, T2w, found FLAIR, T2w"):
        find_series_to_predict(case)
    single = find_series_to_predict(case, SeriesOptions(channels="single", slices_per_series=1))
    assert [file.slice_id for file in single.slices] == ["00000/FLAIR/00", "00000/T2w/00"]
    with pytest.raises(InputError, match="no such file or folder"):
        find_series_to_predict(tmp_path / "missing")
    (tmp_path / "bare").mkdir()
    with pytest.raises(InputError, match="no DICOM series found"):
        find_series_to_predict(tmp_path / "bare")


def test_channels_of_other_sizes_and_lengths(tmp_path: Path) -> None:
    large = save_series(tmp_path / "a", [100, 200, 300, 400], size=16)
    small = save_series(tmp_path / "b", [0, 100, 200, 0], size=8)
    files = [
        SliceFile(slice_id=str(n), files=(large, small), position=(n + 0.5) / 4) for n in range(4)
    ]
    slices = [read_series_slice(file) for file in files]
    assert {s.image.shape for s in slices} == {(16, 16, 2)}
    assert [int(s.image[8, 8, 1]) for s in slices] == [0, 0, 255, 255]
    assert slices[0].mask is None
    assert slices[3].slice_id == "3"


def test_scale_is_that_of_the_series(rng: np.random.Generator) -> None:
    volume = np.zeros((4, 50, 50), np.float32)
    volume[1:3, 5:45, 5:45] = rng.uniform(100, 1100, (2, 40, 40))
    pictures = scale_series(volume)
    assert pictures.shape == (2, 50, 50)
    low, high = np.percentile(volume[volume > 0], (0.5, 99.5))
    expected = np.clip((volume[1:3] - low) / (high - low), 0, 1) * 255
    np.testing.assert_allclose(pictures, expected, atol=0.51)


def test_noise_alone_is_empty(rng: np.random.Generator) -> None:
    volume = rng.rayleigh(8, (5, 40, 40)).astype(np.float32)
    volume[1:4, 10:30, 10:30] += 1000
    assert len(scale_series(volume)) == 3


def test_intensities_below_zero_keep_their_order() -> None:
    volume = np.full((3, 10, 10), -1000.0, np.float32)
    volume[1, 2:8, 2:8] = 40
    pictures = scale_series(volume)
    assert pictures.shape == (1, 10, 10)
    assert (pictures[0, 5, 5], pictures[0, 0, 0]) == (255, 0)


def test_series_without_a_picture_is_refused(tmp_path: Path) -> None:
    folder = save_series(tmp_path / "a", [EMPTY, EMPTY])
    with pytest.raises(InputError, match="all slices of the series are empty"):
        read_series_slice(SliceFile(slice_id="x", files=(folder,)))


def test_resized_slices_keep_place_and_brightness() -> None:
    small = np.zeros((10, 12), np.uint8)
    small[2:6, 3:9] = 200
    large = resize_grey(small, (30, 36))
    assert large[12, 18] == 200
    assert large.mean() == pytest.approx(small.mean(), rel=0.02)
    back = resize_grey(large, (10, 12))
    assert np.abs(back.astype(int) - small).mean() < 15
    assert back[3:5, 5:7].min() > 180


def test_a_series_is_read_once_for_its_slices(
    challenge: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = find_rsna(challenge, SeriesOptions(slices_per_series=4))
    read: list[Path] = []
    series_slice._read_pictures.cache_clear()
    original = series_slice.read_series
    monkeypatch.setattr(
        series_slice, "read_series", lambda folder: read.append(folder) or original(folder)
    )
    with ThreadPoolExecutor(4) as pool:
        images = [s.image for s in pool.map(read_series_slice, found.slices)]
    assert len(read) == len(set(read)) == 2 * 3
    for file, image in zip(found.slices, images, strict=True):
        np.testing.assert_array_equal(read_series_slice(file).image, image)


def test_a_series_that_changed_is_read_again(tmp_path: Path) -> None:
    folder = save_series(tmp_path / "a", [100, 200])
    file = SliceFile(slice_id="x", files=(folder,), position=0.9)
    assert read_series_slice(file).image.shape == (8, 8, 1)
    save_series(folder, [100, 200], size=12)
    assert read_series_slice(file).image.shape == (12, 12, 1)


def test_real_series(real_data: Path) -> None:
    found = find_series_to_predict(
        real_data / "dicom" / "T1w", SeriesOptions(channels="single", slices_per_series=0)
    )
    assert len(found.slices) == 24
    image = read_series_slice(found.slices[12]).image
    assert image.shape == (384, 274, 1)
    assert (image.min(), image.max()) == (0, 255)
    assert 40 < image.mean() < 90
