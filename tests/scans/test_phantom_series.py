"""The made-up RSNA-MICCAI set: its layout, its labels, and that it is made once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from brainjax.errors import InputError
from brainjax.scans.dicom import read_series
from brainjax.scans.phantom_series import make_phantom_series, write_phantom_series
from brainjax.scans.rsna import SeriesOptions, find_rsna, is_rsna
from brainjax.scans.series_slice import read_series_slice


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_phantom_series(
        tmp_path_factory.mktemp("phantom") / "rsna", patients=4, slices=8, seed=0
    )


def files_below(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_layout_is_that_of_the_challenge(root: Path) -> None:
    assert is_rsna(root)
    assert sorted(path.name for path in (root / "train").iterdir()) == [
        "00000",
        "00002",
        "00003",
        "00005",
        "00109",
    ]
    series = root / "train" / "00002" / "T1wCE"
    assert {path.name for path in series.iterdir()} == {f"Image-{n}.dcm" for n in range(1, 9)}
    table = (root / "train_labels.csv").read_text()
    assert table == "BraTS21ID,MGMT_value\n0,0\n2,1\n3,0\n5,1\n109,1\n"


def test_reads_as_the_challenge(root: Path) -> None:
    found = find_rsna(root, SeriesOptions(slices_per_series=0))
    assert [file.label for file in found.slices] == [0] * 6 + [1] * 6 + [0] * 6 + [1] * 6
    assert "1 case left out on request: 00109" in found.notes
    assert "test: 1 case without labels, not taken" in found.notes
    assert read_series_slice(found.slices[0]).image.shape == (64, 64, 3)
    with pytest.raises(InputError, match="FLAIR: all slices of the series are empty"):
        find_rsna(root, SeriesOptions(slices_per_series=0, excluded_cases=()))


def test_slices_of_all_modalities_lie_in_the_same_order(root: Path) -> None:
    """T1w is numbered downwards, so that its numbers and its positions disagree."""
    folders = [root / "train" / "00000" / name for name in ("T1w", "T2w")]
    series = [read_series(folder) for folder in folders]
    assert series[0].files[0].name == "Image-8.dcm"
    assert series[1].files[0].name == "Image-1.dcm"
    brains = [volume.volume > 0 for volume in series]
    np.testing.assert_array_equal(*brains)
    assert brains[0].any(axis=(1, 2)).tolist() == [False, *[True] * 6, False]


def test_label_shows_in_every_slice() -> None:
    """A rim that enhances is brighter than the brain in T1wCE, and not in T1w."""
    brightest = {0: [], 1: []}
    for seed in range(6):
        label = seed % 2
        series, _ = make_phantom_series(np.random.default_rng(seed), slices=6, label=label)
        enhanced = series["T1wCE"][1:-1] / np.median(series["T1wCE"][series["T1wCE"] > 0])
        plain = series["T1w"][1:-1] / np.median(series["T1w"][series["T1w"] > 0])
        inner = np.s_[:, 16:48, 16:48]  # away from the veins at the surface
        difference = (enhanced - plain)[inner]
        brightest[label] += np.percentile(difference, 99, axis=(1, 2)).tolist()
    assert np.median(brightest[0]) > 2 * np.median(brightest[1])


def test_equal_arguments_give_equal_bytes_and_are_reused(root: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    calls: list[tuple[int, int]] = []
    write_phantom_series(
        again, patients=4, slices=8, seed=0, progress=lambda *done: calls.append(done)
    )
    assert calls == [(n, 6) for n in range(1, 7)]
    assert files_below(again) == files_below(root)
    stamp = (again / "phantom.json").stat().st_mtime_ns
    write_phantom_series(again, patients=4, slices=8, seed=0)
    assert (again / "phantom.json").stat().st_mtime_ns == stamp
    # A patient depends on the seed and its own number only.
    write_phantom_series(again, patients=1, slices=8, seed=0)
    fewer, more = files_below(again / "train"), files_below(root / "train")
    assert fewer.keys() < more.keys()
    assert all(more[name] == data for name, data in fewer.items())
    assert list(tmp_path.iterdir()) == [again]


def test_damaged_data_are_made_again_and_others_are_kept(tmp_path: Path) -> None:
    root = write_phantom_series(tmp_path / "x", patients=1, slices=3, seed=1)
    whole = files_below(root)
    (root / "train" / "00000" / "FLAIR" / "Image-2.dcm").unlink()
    write_phantom_series(root, patients=1, slices=3, seed=1)
    assert files_below(root) == whole
    (root / "mine.txt").write_text("keep")
    with pytest.raises(InputError, match=r"1 other file\(s\) such as mine\.txt"):
        write_phantom_series(root, patients=1, slices=3, seed=2)
    assert (root / "mine.txt").read_text() == "keep"


@pytest.mark.parametrize("wrong", [{"patients": 0}, {"slices": 2}, {"seed": -1}])
def test_arguments_are_checked(tmp_path: Path, wrong: dict[str, int]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        write_phantom_series(tmp_path / "x", **{"patients": 1, "slices": 3, "seed": 0, **wrong})
    assert not (tmp_path / "x").exists()
