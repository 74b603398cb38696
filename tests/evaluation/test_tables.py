from __future__ import annotations

import csv
import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest

from brainjax.errors import InputError
from brainjax.evaluation import (
    RegionScore,
    read_case_table,
    score_case,
    summary_markdown,
    write_case_table,
)


def scores(convention: str = "nan", **options: bool) -> list[RegionScore]:
    reference = np.zeros((9, 9, 9), np.uint8)
    reference[2:5, 2:5, 2:5] = 2
    predicted = {"good, mostly": reference.copy(), "none": np.zeros_like(reference)}
    predicted["good, mostly"][2, 2, 2] = 0
    return [
        score
        for name, labels in predicted.items()
        for score in score_case(
            labels,
            reference,
            case_id=name,
            regions={"ET": (3,), "WT": (1, 2, 3)},
            spacing_mm=(1.0, 1.0, 1.3),
            convention=convention,
            tolerance_mm=0.7,
            **options,
        )
    ]


def same(one: RegionScore, other: RegionScore) -> bool:
    """Equality in which NaN equals NaN."""
    return repr(dataclasses.asdict(one)) == repr(dataclasses.asdict(other))


@pytest.mark.parametrize(
    "options",
    [{}, {"with_surface": False}, {"lesion_wise": True}],
    ids=["all", "overlap", "lesions"],
)
@pytest.mark.parametrize("convention", ["nan", "brats2019"])
def test_case_table_comes_back_exactly(tmp_path: Path, convention: str, options: dict) -> None:
    path = tmp_path / "deep" / "cases.csv"
    written = scores(convention, **options)
    write_case_table(path, written)
    read = read_case_table(path)
    assert len(read) == len(written) == 4
    assert all(same(one, other) for one, other in zip(read, written, strict=True))
    assert [entry.name for entry in path.parent.iterdir()] == ["cases.csv"]


def test_case_table_has_a_row_per_case(tmp_path: Path) -> None:
    write_case_table(tmp_path / "cases.csv", scores("brats2019"))
    with (tmp_path / "cases.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["case_id"] for row in rows] == ["good, mostly", "none"]
    assert rows[0]["ET_outcome"] == "both_empty"
    assert float(rows[0]["WT_dice"]) == 2 * 26 / (26 + 27)
    assert float(rows[1]["WT_hd95_mm"]) == 373.12866
    assert rows[1]["WT_reference_voxels"] == "27"
    assert rows[1]["tolerance_mm"] == "0.7"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("case_id", "name", "expected a table of scores with columns case_id"),
        (",missed,", ",lost,", "line 3: column WT_outcome should be one of .* found 'lost'"),
        (",missed,0.0,", ",missed,none,", "line 3: column WT_dice should hold a number"),
        (",27,26", ",27.5,26", "line 2: column WT_reference_voxels should hold a count"),
        (",27,26", ",27,26,1", "line 2: expected .* cells, found more"),
    ],
)
def test_damaged_tables_are_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "cases.csv"
    write_case_table(path, scores("brats2019"))
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(InputError, match=message):
        read_case_table(path)


def test_missing_binary_and_empty_tables_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_case_table(tmp_path / "absent.csv")
    for number, content in enumerate((b"\xff\xfe\x00", b"", b'"open\n')):
        path = tmp_path / f"{number}.csv"
        path.write_bytes(content)
        with pytest.raises(InputError, match="table"):
            read_case_table(path)
    with pytest.raises(InputError, match="at least one case"):
        write_case_table(tmp_path / "none.csv", [])


def test_summary_in_markdown_shows_means_with_their_counts() -> None:
    text = summary_markdown(scores("brats2019"))
    dice = 2 * 26 / (26 + 27)
    assert "2 cases; empty masks by the convention `brats2019`" in text
    assert "NSD at 0.7 mm" in text
    assert f"| Dice | WT | 2 | {dice / 2:.4f} ± {dice / 2:.4f} | {dice / 2:.4f} |" in text
    assert "| Dice | ET | 2 | 1.0000 ± 0.0000 | 1.0000 |" in text
    # Cases, empty references, missed, false positives, both empty.
    assert "| ET | 2 | 2 | 0 | 0 | 2 |" in text
    assert "| WT | 2 | 0 | 1 | 0 | 0 |" in text


def test_summary_in_markdown_without_values() -> None:
    text = summary_markdown(scores("nan"))
    assert "| Dice | ET | 0 | none | none |" in text
    assert "| HD95 (mm) | WT | 1 | " in text
    assert "nan |" not in text
    assert math.isnan(scores("nan")[0].dice)


def test_summary_in_markdown_is_a_table_in_every_line() -> None:
    lines = summary_markdown(scores("brats2023", lesion_wise=True)).splitlines()
    first, second = (lines.index(line) for line in lines if line.startswith("|---"))
    for start in (first, second):
        columns = lines[start].count("|")
        block = []
        for line in lines[start - 1 :]:
            if not line:
                break
            block.append(line)
        assert len(block) > 2
        assert {line.count("|") for line in block} == {columns}
    assert any(line.startswith("| Lesion-wise HD95 (mm) | WT |") for line in lines)
