"""Localisation over a data set: means with intervals, comparisons with baselines, a verdict."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import os
from collections.abc import Mapping, Sequence

import numpy as np

from brainjax.evaluation.bootstrap import bootstrap_means
from brainjax.files import write_text

BASELINES = ("uniform", "centre", "intensity")
"""Maps that know nothing of the network: nothing, a Gaussian in the middle, the image itself."""

MEASURES = ("saliency_share", "area_share", "ratio", "pointing", "auroc", "insertion", "deletion")

INSENSITIVE = 0.5
"""A mean rank correlation above this, with a network that knows nothing, is called no change."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class MapScore:
    """Scores of one method's map of one case.

    Attributes:
      case_id: the case.
      patient_id: ``""`` where it is not known.
      method: a name in ``explain.METHODS`` or of ``BASELINES``.
      values: measures of ``MEASURES`` to numbers; NaN where there is none.
      finite: whether the map is finite.
      flat: whether it is the same everywhere.
    """

    case_id: str
    patient_id: str
    method: str
    values: Mapping[str, float]
    finite: bool = True
    flat: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class MethodSummary:
    """One method over a data set.

    Attributes:
      method: its name.
      cases: that it was scored on.
      not_finite: maps with NaN or infinite values.
      flat: maps that are the same everywhere.
      means: measure to mean, low and high limit.
      above: baseline to low and high limit of the mean difference in AUROC.
      verdict: in words.
    """

    method: str
    cases: int
    not_finite: int
    flat: int
    means: Mapping[str, tuple[float, float, float]]
    above: Mapping[str, tuple[float, float]]
    verdict: str


def summarize_localization(
    scores: Sequence[MapScore],
    *,
    samples: int = 1000,
    seed: int = 0,
    similarity: Mapping[str, float] | None = None,
    control: Mapping[str, float] | None = None,
) -> list[MethodSummary]:
    """Means of every method with 95 % bootstrap intervals over patients, and verdicts.

    Args:
      scores: of every method and case; each method has the same cases.
      samples: bootstrap samples.
      seed: of the draws, the same for all methods.
      similarity: method to the mean rank correlation of its maps with those of the same
        network made random, over the steps from its output down; what is missing is not
        judged by it.
      control: likewise with a network trained on permuted labels.
    """
    by_method: dict[str, list[MapScore]] = {}
    for score in scores:
        by_method.setdefault(score.method, []).append(score)
    area = {name: _column(rows, "auroc") for name, rows in by_method.items()}
    found = []
    for method, rows in by_method.items():
        groups = [row.patient_id for row in rows]
        table = np.stack([_column(rows, name) for name in MEASURES], axis=1)
        limits = bootstrap_means(table, groups=groups, samples=samples, seed=seed)
        means = {
            name: (_mean(table[:, column]), float(limits[column, 0]), float(limits[column, 1]))
            for column, name in enumerate(MEASURES)
        }
        compared = [name for name in BASELINES if name in area and name != method]
        above = {}
        if compared:
            gaps = np.stack([area[method] - area[name] for name in compared], axis=1)
            ends = bootstrap_means(gaps, groups=groups, samples=samples, seed=seed)
            above = {
                name: (float(a), float(b)) for name, (a, b) in zip(compared, ends, strict=True)
            }
        broken = sum(not row.finite for row in rows)
        found.append(
            MethodSummary(
                method=method,
                cases=len(rows),
                not_finite=broken,
                flat=sum(row.flat for row in rows),
                means=means,
                above=above,
                verdict=_verdict(
                    method,
                    above,
                    broken,
                    (similarity or {}).get(method),
                    (control or {}).get(method),
                ),
            )
        )
    return found


def _verdict(
    method: str,
    above: Mapping[str, tuple[float, float]],
    broken: int,
    similarity: float | None,
    control: float | None,
) -> str:
    """By the intervals of the differences in AUROC, plainly."""
    if method in BASELINES:
        return "baseline"
    words = []
    if "uniform" in above:
        low, high = above["uniform"]
        others = [name for name in BASELINES[1:] if name in above]
        beaten = [name for name in others if above[name][0] > 0]
        names = {"centre": "a Gaussian in the middle", "intensity": "the image's own brightness"}
        if math.isnan(low):
            words.append("not scored")
        elif high < 0:
            words.append("worse than chance: points away from the tumour")
        elif low <= 0:
            words.append("no better than chance")
        elif len(beaten) == len(others):
            words.append("localises: better than chance and every baseline")
        else:
            missed = " and ".join(names[name] for name in others if name not in beaten)
            words.append(f"better than chance, not better than {missed}")
    for likeness, network in (
        (similarity, "a network made random"), (control, "one trained on permuted labels"),
    ):  # fmt: skip
        if likeness is not None and likeness > INSENSITIVE:
            words.append(f"hardly changes with {network} (rank correlation {likeness:.2f})")
    if broken:
        words.append(f"{broken} maps are not finite")
    return "; ".join(words)


def write_map_scores(path: str | os.PathLike[str], scores: Sequence[MapScore]) -> None:
    """Writes a row for each case and method, atomically; an empty cell has no value."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["case_id", "patient_id", "method", *MEASURES, "finite", "flat"])
    for row in scores:
        cells = [row.values.get(name, math.nan) for name in MEASURES]
        writer.writerow(
            [row.case_id, row.patient_id, row.method]
            + [f"{value:.6g}" if math.isfinite(value) else "" for value in cells]
            + [int(row.finite), int(row.flat)]
        )
    write_text(path, stream.getvalue())


def localization_markdown(found: Sequence[MethodSummary]) -> str:
    """The table for people: mean and 95 % interval of each measure, and the verdict."""
    shown = ("ratio", "pointing", "auroc", "insertion", "deletion")
    lines = [
        "| method | share / area | pointing game | AUROC | insertion | deletion | verdict |",
        "|---|---:|---:|---:|---:|---:|---|",
    ]
    for row in found:
        cells = " | ".join(interval_text(*row.means[name]) for name in shown)
        lines.append(f"| {row.method} | {cells} | {row.verdict} |")
    return "\n".join(lines)


def localization_numbers(found: Sequence[MethodSummary]) -> dict[str, float]:
    """Flat names and numbers, such as ``auroc/gradient`` with ``auroc_low/gradient``."""
    numbers: dict[str, float] = {}
    for row in found:
        for name, (mean, low, high) in row.means.items():
            numbers[f"{name}/{row.method}"] = mean
            numbers[f"{name}_low/{row.method}"] = low
            numbers[f"{name}_high/{row.method}"] = high
        numbers[f"not_finite/{row.method}"] = float(row.not_finite)
        numbers[f"flat/{row.method}"] = float(row.flat)
    return numbers


def interval_text(mean: float, low: float, high: float) -> str:
    """Such as ``0.71 (0.69-0.73)``, or n/a.

    >>> interval_text(0.714, 0.694, 0.731), interval_text(math.nan, math.nan, math.nan)
    ('0.71 (0.69-0.73)', 'n/a')
    """
    return f"{mean:.2f} ({low:.2f}-{high:.2f})" if math.isfinite(mean) else "n/a"


def _column(rows: Sequence[MapScore], name: str) -> np.ndarray:
    return np.array([row.values.get(name, math.nan) for row in rows], np.float64)


def _mean(values: np.ndarray) -> float:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else math.nan
