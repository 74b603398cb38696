"""Several methods on the same cases: their tables, and what lies between them.

The tables have the form of the CGA paper's Tables 4 and 5: a row for each method, a column
for each region, Dice in per cent and Hausdorff distances in mm.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from brainjax.errors import InputError
from brainjax.evaluation.paired import PairedDifference, adjust_holm, compare_paired
from brainjax.evaluation.scores import RegionScore, check_comparable, metric_values

COMPARED = {"dice": "Dice (%)", "hd95_mm": "HD95 (mm)", "hd100_mm": "HD100 (mm)"}
"""Metrics that methods are compared by, and their titles."""

Spreads = Mapping[str, Mapping[str, tuple[float, float]]]
"""Metric to region to mean and standard deviation over cases; NaN where there is none."""


@dataclass(frozen=True, kw_only=True)
class PublishedScores:
    """What a paper prints of one method.

    Attributes:
      name: of the variant that does the same.
      title: as the paper calls it.
      spreads: its scores, Dice from 0 to 1.
    """

    name: str
    title: str
    spreads: Spreads


@dataclass(frozen=True, kw_only=True)
class MethodDifference:
    """A method against the reference in one metric and region.

    Attributes:
      method: its name.
      metric: one of ``COMPARED``.
      region: such as ``"ET"``.
      difference: of the paired scores.
      p_holm: the p-value adjusted for all methods in this metric and region.
    """

    method: str
    metric: str
    region: str
    difference: PairedDifference
    p_holm: float


@dataclass(frozen=True, kw_only=True)
class TextTable:
    """A table whose numbers are written out.

    Attributes:
      caption: what it shows.
      head: titles of the columns.
      rows: cells; the first of a row names it.
    """

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def spreads_of(scores: Sequence[RegionScore]) -> dict[str, dict[str, tuple[float, float]]]:
    """Mean and standard deviation over cases, of the scores that have a value.

    The standard deviation is that of these cases (n in the denominator), as in
    ``summarize``.
    """
    check_comparable(scores)
    return {
        metric: {region: _mean_and_sd(values) for region, values in columns.items()}
        for metric, columns in metric_values(scores).items()
        if metric in COMPARED
    }


def compare_methods(
    methods: Mapping[str, Sequence[RegionScore]],
    patients: Mapping[str, str],
    *,
    samples: int = 5000,
    seed: int = 0,
) -> tuple[MethodDifference, ...]:
    """Compares every method with the first, in every metric and region.

    Holm's adjustment is over the methods, for each metric and region by itself.

    Args:
      methods: name to scores; all of the same cases.
      patients: case to patient.
      samples: see ``compare_paired``.
      seed: of the draws.

    Raises:
      InputError: methods were scored on other cases or in other ways, or there is none.
    """
    if not methods:
        raise InputError("methods: expected at least one, found none")
    tables = {name: _by_case(name, scores) for name, scores in methods.items()}
    reference, first = next(iter(tables.items()))
    ways = {(s.convention, s.hd95_method) for scores in methods.values() for s in scores}
    if len(ways) > 1:
        raise InputError(f"methods: expected one way of scoring, found {sorted(ways)}")
    for name, table in tables.items():
        if table.keys() != first.keys():
            other = sorted({case for case, _ in table.keys() ^ first.keys()})
            raise InputError(
                f"{name} and {reference} were scored on different cases, such as {other[0]}; "
                "only the same cases can be compared"
            )
    found: list[MethodDifference] = []
    for metric in COMPARED:
        for region in dict.fromkeys(region for _, region in first):
            cases = [case for case, part in first if part == region]
            columns = {
                name: [_value(table[case, region], metric) for case in cases]
                for name, table in tables.items()
            }
            differences = {
                name: compare_paired(
                    column, columns[reference], groups=[patients[case] for case in cases],
                    samples=samples, seed=seed,
                )
                for name, column in columns.items() if name != reference
            }  # fmt: skip
            adjusted = adjust_holm([one.p_value for one in differences.values()])
            found += [
                MethodDifference(
                    method=name, metric=metric, region=region, difference=one, p_holm=p
                )
                for (name, one), p in zip(differences.items(), adjusted, strict=True)
            ]
    return tuple(found)


def means_table(rows: Mapping[str, Spreads], *, caption: str) -> TextTable:
    """Means in the form of Table 4: a row for each method."""
    return _part_table(rows, 0, caption)


def deviations_table(rows: Mapping[str, Spreads], *, caption: str) -> TextTable:
    """Standard deviations in the form of Table 5."""
    return _part_table(rows, 1, caption)


def folds_table(folds: Mapping[str, Sequence[RegionScore]], *, caption: str) -> TextTable:
    """Means of each fold's cases, with their number."""
    table = means_table({name: spreads_of(scores) for name, scores in folds.items()}, caption="")
    cases = [str(len({score.case_id for score in scores})) for scores in folds.values()]
    return TextTable(
        caption=caption,
        head=("Fold", "Cases", *table.head[1:]),
        rows=tuple((row[0], n, *row[1:]) for row, n in zip(table.rows, cases, strict=True)),
    )


def published_table(
    rows: Mapping[str, Spreads], published: Mapping[str, Spreads], metric: str, *, caption: str
) -> TextTable:
    """One metric's mean ± standard deviation, a paper's figures in columns of their own.

    Args:
      rows: title of each method to its scores.
      published: the same titles to the paper's; without columns where it has none of the
        metric.
      metric: one of ``COMPARED``.
      caption: what it shows.
    """
    regions = _regions(rows)
    sources: dict[str, Mapping[str, Spreads]] = {"": rows}
    if any(metric in spreads for spreads in published.values()):
        sources[", published"] = published
    lines = []
    for title in rows:
        cells = [
            _spread_text(source.get(title, {}).get(metric, {}).get(region), metric)
            for region in regions
            for source in sources.values()
        ]
        lines.append((title, *cells))
    head = ("Method", *(f"{region}{end}" for region in regions for end in sources))
    return TextTable(caption=caption, head=head, rows=tuple(lines))


def differences_table(
    differences: Sequence[MethodDifference],
    metric: str,
    titles: Mapping[str, str],
    *,
    caption: str,
) -> TextTable:
    """Differences to the reference in one metric with intervals and p-values."""
    lines = []
    for one in differences:
        if one.metric == metric:
            pair = one.difference
            between = (
                f"{_text(pair.mean, metric, sign=True)} "
                f"[{_text(pair.low, metric, sign=True)}, {_text(pair.high, metric, sign=True)}]"
                if pair.cases else "none"
            )  # fmt: skip
            lines.append(
                (titles.get(one.method, one.method), one.region, str(pair.cases), between,
                 p_text(pair.p_value), p_text(one.p_holm))
            )  # fmt: skip
    head = ("Method", "Region", "Cases", "Difference [95 % interval]", "p", "p (Holm)")
    return TextTable(caption=caption, head=head, rows=tuple(lines))


def table_markdown(table: TextTable) -> str:
    """A table in Markdown under its caption.

    >>> print(table_markdown(TextTable(caption="Sizes", head=("Name", "n"), rows=(("a", "1"),))))
    Sizes
    <BLANKLINE>
    | Name | n |
    |---|---:|
    | a | 1 |
    <BLANKLINE>
    """
    lines = [table.caption, "", _line(table.head), "|---|" + "---:|" * (len(table.head) - 1)]
    return "\n".join([*lines, *(_line(row) for row in table.rows)]) + "\n"


def p_text(value: float) -> str:
    """A p-value as it is shown.

    >>> p_text(0.04321), p_text(0.00002), p_text(float("nan"))
    ('0.043', '<0.001', 'none')
    """
    if math.isnan(value):
        return "none"
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def _part_table(rows: Mapping[str, Spreads], part: int, caption: str) -> TextTable:
    regions = _regions(rows)
    titles = [f"{title} {region}" for title in COMPARED.values() for region in regions]
    lines = [
        (
            name,
            *(
                _text(spreads.get(metric, {}).get(region, (math.nan, math.nan))[part], metric)
                for metric in COMPARED
                for region in regions
            ),
        )
        for name, spreads in rows.items()
    ]
    return TextTable(caption=caption, head=("Method", *titles), rows=tuple(lines))


def _regions(rows: Mapping[str, Spreads]) -> list[str]:
    return list(
        dict.fromkeys(
            region
            for spreads in rows.values()
            for columns in spreads.values()
            for region in columns
        )
    )


def _by_case(name: str, scores: Sequence[RegionScore]) -> dict[tuple[str, str], RegionScore]:
    try:
        check_comparable(scores)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
    return {(score.case_id, score.region): score for score in scores}


def _value(score: RegionScore, metric: str) -> float:
    value = getattr(score, metric)
    return math.nan if value is None else value


def _mean_and_sd(values: Sequence[float]) -> tuple[float, float]:
    defined = [value for value in values if not math.isnan(value)]
    if not defined:
        return math.nan, math.nan
    return float(np.mean(defined)), float(np.std(defined))


def _text(value: float, metric: str, *, sign: bool = False) -> str:
    if math.isnan(value):
        return "none"
    shown = 100 * value if metric == "dice" else value
    return f"{shown:+.2f}" if sign else f"{shown:.2f}"


def _spread_text(spread: tuple[float, float] | None, metric: str) -> str:
    mean, sd = spread or (math.nan, math.nan)
    text = _text(mean, metric)
    return text if math.isnan(mean) or math.isnan(sd) else f"{text} ± {_text(sd, metric)}"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
