"""Numbers and tables as HTML, everything from outside escaped."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

REGION_ORDER = ("ET", "WT", "TC", "mean")
METRIC_NAMES = {
    "dice": "Dice",
    "hd95_mm": "HD95 (mm)",
    "hd100_mm": "HD100 (mm)",
    "nsd": "NSD",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "lesion_dice": "Lesion-wise Dice",
    "lesion_hd95_mm": "Lesion-wise HD95 (mm)",
    "ece": "Calibration error (ECE)",
    "ece_uncalibrated": "ECE before temperature scaling",
    "missed": "Cases missed",
    "false_positive": "Cases with a false positive",
    "both_empty": "Cases empty in both",
    "reference_empty": "Cases without reference",
    "lesions": "Lesions",
    "lesions_missed": "Lesions missed",
    "lesions_false_positive": "Lesions, false positive",
}
REGION_NAMES = {
    "ET": "Enhancing tumour",
    "WT": "Whole tumour",
    "TC": "Tumour core",
    "mean": "Mean of the regions",
}


def number_text(value: Any, *, name: str = "") -> str:
    """A value as it is shown: three decimals for scores, two for mm, n/a for nothing.

    >>> number_text(0.87654, name="dice"), number_text(4.1234, name="hd95_mm")
    ('0.877', '4.12')
    >>> number_text(float("nan")), number_text(None), number_text(12.0), number_text(3e-5)
    ('n/a', 'n/a', '12', '3e-05')
    """
    if value is None:
        return "n/a"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if not math.isfinite(value):
        return "n/a"
    metric = name.removesuffix("_sd")
    if metric.endswith("_mm"):
        return f"{value:.2f}"
    if metric.endswith(("dice", "nsd", "sensitivity", "specificity")):
        return f"{value:.3f}"
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value)}"
    return f"{value:.4g}"


def split_summary(
    summary: Mapping[str, float],
) -> tuple[dict[str, dict[str, dict[str, float]]], dict[str, float]]:
    """Sorts flat names such as ``val/dice/WT`` into split, metric and region.

    Returns:
      The nested scores, and the names that have no region.
    """
    nested: dict[str, dict[str, dict[str, float]]] = {}
    single: dict[str, float] = {}
    for name, value in summary.items():
        parts = name.split("/")
        if len(parts) == 3:
            nested.setdefault(parts[0], {}).setdefault(parts[1], {})[parts[2]] = value
        else:
            single[name] = value
    return nested, single


def score_table(metrics: Mapping[str, Mapping[str, float]], *, caption: str) -> str:
    """A table with a row for each metric and a column for each region; spreads beside means."""
    found = {region for values in metrics.values() for region in values}
    regions = [name for name in REGION_ORDER if name in found]
    regions += sorted(found - set(regions))
    known = [name for name in METRIC_NAMES if name in metrics]
    names = known + [
        name for name in metrics if name not in known and not _is_detail(name, metrics)
    ]
    rows = []
    for name in names:
        spreads = metrics.get(f"{name}_sd", {})
        counts = metrics.get(f"{name}_defined", {})
        cells = []
        for region in regions:
            text = number_text(metrics[name].get(region), name=name)
            if text != "n/a" and region in spreads:
                text += f" ± {number_text(spreads[region], name=name)}"
            if region in counts:
                text += f" (n = {number_text(counts[region])})"
            cells.append(f"<td>{html.escape(text)}</td>")
        title = METRIC_NAMES.get(name, name)
        rows.append(f'<tr><th scope="row">{html.escape(title)}</th>{"".join(cells)}</tr>')
    heads = "".join(
        f'<th scope="col"><abbr title="{html.escape(REGION_NAMES.get(region, region))}">'
        f"{html.escape(region)}</abbr></th>"
        for region in regions
    )
    return table_html(f"<tr><th></th>{heads}</tr>", rows, caption=caption)


def case_table(rows: Sequence[Mapping[str, Any]], *, caption: str) -> str:
    """A table with a row for each case, whose columns sort at a click on their heads."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    columns.sort(key=lambda name: name != "case_id")
    heads = sortable_heads([_column_title(name) for name in columns])
    lines = []
    for row in rows:
        cells = [_case_cell(name, row.get(name)) for name in columns]
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return table_html(heads, lines, caption=caption, css="sortable")


def pairs_table(values: Mapping[str, Any], *, caption: str) -> str:
    """A table of names and values; nested mappings become dotted names."""
    rows = [
        f'<tr><th scope="row">{html.escape(name)}</th>'
        f'<td class="text">{html.escape(number_text(value))}</td></tr>'
        for name, value in _flat(values)
    ]
    return table_html("", rows, caption=caption, css="pairs")


def sortable_heads(titles: Sequence[str]) -> str:
    """A row of heads that sort a table of the class ``sortable`` at a click."""
    heads = "".join(
        f'<th scope="col" aria-sort="none"><button type="button">{html.escape(title)}</button></th>'
        for title in titles
    )
    return f"<tr>{heads}</tr>"


def table_html(head: str, rows: Sequence[str], *, caption: str, css: str = "") -> str:
    """A table that scrolls sideways where it is too wide, from rows that are HTML already."""
    kind = f' class="{css}"' if css else ""
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{html.escape(caption)}">'
        f"<table{kind}><caption>{html.escape(caption)}</caption>"
        f"<thead>{head}</thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _is_detail(name: str, metrics: Mapping[str, Any]) -> bool:
    return any(
        name.endswith(end) and name.removesuffix(end) in metrics for end in ("_sd", "_defined")
    )


def _column_title(name: str) -> str:
    if name == "case_id":
        return "Case"
    region, _, metric = name.partition("_")
    return f"{region} {METRIC_NAMES.get(metric, metric)}" if metric else name


def _case_cell(name: str, value: Any) -> str:
    text = html.escape(number_text(value, name=name))
    if name == "case_id":
        return f'<th scope="row">{text}</th>'
    if isinstance(value, (int, float)) and math.isfinite(value):
        sort = f' data-value="{float(value)!r}"'
        if name.endswith("dice") and 0 <= value <= 1:
            return f'<td class="bar" style="--share:{value:.3f}"{sort}>{text}</td>'
        return f"<td{sort}>{text}</td>"
    return f"<td>{text}</td>"


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            pairs += _flat(value, f"{prefix}{name}.")
        else:
            pairs.append((f"{prefix}{name}", value))
    return pairs
