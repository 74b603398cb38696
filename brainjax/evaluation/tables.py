"""Scores as files: a CSV with one row per case, and a summary for people in Markdown."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from brainjax.errors import InputError
from brainjax.evaluation.lesions import LesionScores
from brainjax.evaluation.scores import (
    OUTCOMES,
    RegionScore,
    check_comparable,
    metric_values,
    outcome_counts,
)
from brainjax.files import write_text

CASE_COLUMNS = ("case_id", "convention", "hd95_method", "tolerance_mm")
COUNT_COLUMNS = ("reference_voxels", "predicted_voxels")
REQUIRED_COLUMNS = ("dice", "sensitivity", "specificity")
OPTIONAL_COLUMNS = ("hd95_mm", "hd100_mm", "nsd")
LESION_COLUMNS = {
    "lesion_dice": "dice",
    "lesion_hd95_mm": "hd95_mm",
    "lesions": "lesions",
    "lesions_missed": "missed",
    "lesions_false_positive": "false_positives",
}
TITLES = {
    "dice": "Dice",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "hd95_mm": "HD95 (mm)",
    "hd100_mm": "HD100 (mm)",
    "nsd": "NSD",
    "lesion_dice": "Lesion-wise Dice",
    "lesion_hd95_mm": "Lesion-wise HD95 (mm)",
}


def write_case_table(
    path: str | os.PathLike[str],
    scores: Iterable[RegionScore],
    *,
    more: Mapping[str, Mapping[str, object]] | None = None,
) -> None:
    """Writes a CSV with one row per case, atomically.

    Columns are ``case_id``, how the scores were computed, and for each region
    ``{region}_outcome``, ``{region}_dice`` and so on. A cell is empty where a
    score was not computed and ``nan`` where it has no value; numbers come back
    from ``read_case_table`` exactly.

    Raises:
      InputError: there is no score, or a case comes twice.
    """
    scores = tuple(scores)
    check_comparable(scores)
    rows: dict[str, dict[str, object]] = {}
    for score in scores:
        first = {"case_id": score.case_id, **(more or {}).get(score.case_id, {})}
        first |= {name: getattr(score, name) for name in CASE_COLUMNS}
        row = rows.setdefault(score.case_id, first)
        cells: dict[str, object] = {"outcome": score.outcome}
        for name in REQUIRED_COLUMNS + OPTIONAL_COLUMNS + COUNT_COLUMNS:
            cells[name] = getattr(score, name)
        if score.lesions is not None:
            for name, attribute in LESION_COLUMNS.items():
                cells[name] = getattr(score.lesions, attribute)
        row.update({f"{score.region}_{name}": cell for name, cell in cells.items()})
    columns = list(dict.fromkeys(name for row in rows.values() for name in row))
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows.values())
    write_text(path, stream.getvalue())


def read_case_table(path: str | os.PathLike[str]) -> tuple[RegionScore, ...]:
    """Reads what ``write_case_table`` wrote.

    Raises:
      InputError: the file is missing, is not such a table, or a cell cannot be
        read; the message names line and column.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: expected a CSV table of scores ({error})") from error
    reader = csv.DictReader(io.StringIO(text), strict=True)
    scores: list[RegionScore] = []
    try:
        columns = list(reader.fieldnames or ())
        regions = [name.removesuffix("_outcome") for name in columns if name.endswith("_outcome")]
        missing = [name for name in CASE_COLUMNS if name not in columns]
        if missing or not regions:
            raise InputError(
                f"{path}: expected a table of scores with columns "
                f"{', '.join(CASE_COLUMNS)} and <region>_outcome, found {columns}"
            )
        for row in reader:
            where = f"{path}, line {reader.line_num}"
            if None in row:
                raise InputError(f"{where}: expected {len(columns)} cells, found more")
            cells = _Row(where, row)
            present = [region for region in regions if cells.text(f"{region}_outcome")]
            scores.extend(_read_score(cells, region) for region in present)
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: not a CSV table ({error})") from error
    return tuple(scores)


def summary_markdown(scores: Iterable[RegionScore]) -> str:
    """Describes the scores of a cohort in Markdown, never a mean without its counts.

    Two tables: for each metric and region the number of values, mean ± standard
    deviation and median; and for each region how many references were empty,
    missed, or answered with a false positive.

    Raises:
      InputError: there is no score, a case comes twice, or the scores were
        computed in different ways.
    """
    scores = tuple(scores)
    check_comparable(scores)
    first = scores[0]
    cases = len({score.case_id for score in scores})
    lines = [
        f"{cases} {'case' if cases == 1 else 'cases'}; empty masks by the convention "
        f"`{first.convention}`, Hausdorff distances as `{first.hd95_method}`"
        + (f", NSD at {first.tolerance_mm:g} mm." if first.nsd is not None else "."),
        "",
        "| Metric | Region | n | Mean ± SD | Median |",
        "|---|---|---:|---:|---:|",
    ]
    for metric, columns in metric_values(scores).items():
        digits = 2 if metric.endswith("_mm") else 4
        for region, values in columns.items():
            spread = _mean_and_median(values, digits)
            lines.append(f"| {TITLES[metric]} | {region} | {spread} |")
    lines += [
        "",
        "| Region | Cases | Empty reference | Missed | False positive | Both empty |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for region in dict.fromkeys(score.region for score in scores):
        counts = outcome_counts(scores, region)
        total = sum(score.region == region for score in scores)
        cells = " | ".join(str(count) for count in (total, *counts.values()))
        lines.append(f"| {region} | {cells} |")
    return "\n".join(lines) + "\n"


class _Row:
    """One line of a table, whose cells say where they are when they cannot be read."""

    def __init__(self, where: str, cells: dict[str, str]):
        self.where = where
        self.cells = cells

    def text(self, column: str) -> str:
        return self.cells.get(column) or ""

    def number(self, column: str) -> float:
        text = self.text(column)
        try:
            return float(text)
        except ValueError as error:
            raise InputError(
                f"{self.where}: column {column} should hold a number, found {text!r}"
            ) from error

    def optional(self, column: str) -> float | None:
        return self.number(column) if self.text(column) else None

    def count(self, column: str) -> int:
        number = self.number(column)
        if not math.isfinite(number) or number != int(number) or number < 0:
            raise InputError(
                f"{self.where}: column {column} should hold a count, found {self.text(column)!r}"
            )
        return int(number)


def _read_score(row: _Row, region: str) -> RegionScore:
    outcome = row.text(f"{region}_outcome")
    if outcome not in OUTCOMES:
        raise InputError(
            f"{row.where}: column {region}_outcome should be one of {OUTCOMES}, found {outcome!r}"
        )
    lesions = None
    if row.text(f"{region}_lesions"):
        lesions = LesionScores(
            dice=row.number(f"{region}_lesion_dice"),
            hd95_mm=row.number(f"{region}_lesion_hd95_mm"),
            lesions=row.count(f"{region}_lesions"),
            missed=row.count(f"{region}_lesions_missed"),
            false_positives=row.count(f"{region}_lesions_false_positive"),
        )
    return RegionScore(
        case_id=row.text("case_id"),
        region=region,
        outcome=outcome,
        reference_voxels=row.count(f"{region}_reference_voxels"),
        predicted_voxels=row.count(f"{region}_predicted_voxels"),
        dice=row.number(f"{region}_dice"),
        sensitivity=row.number(f"{region}_sensitivity"),
        specificity=row.number(f"{region}_specificity"),
        hd95_mm=row.optional(f"{region}_hd95_mm"),
        hd100_mm=row.optional(f"{region}_hd100_mm"),
        nsd=row.optional(f"{region}_nsd"),
        tolerance_mm=row.number("tolerance_mm"),
        convention=row.text("convention"),
        hd95_method=row.text("hd95_method"),
        lesions=lesions,
    )


def _mean_and_median(values: Sequence[float], digits: int) -> str:
    """Cells ``n | mean ± SD | median`` over the values that are defined."""
    defined = [value for value in values if not math.isnan(value)]
    if not defined:
        return "0 | none | none"
    mean, spread, middle = np.mean(defined), np.std(defined), np.median(defined)
    return f"{len(defined)} | {mean:.{digits}f} ± {spread:.{digits}f} | {middle:.{digits}f}"
