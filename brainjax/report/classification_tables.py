"""Tables of a classifier's scores: per part, per class, and of several runs side by side."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from brainjax.report.classification_report import Score, part_words
from brainjax.report.tables import number_text, sortable_heads, table_html

TITLES = {
    "cases": "Cases",
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "precision": "Precision",
    "recall": "Recall (sensitivity)",
    "specificity": "Specificity",
    "f1": "F1",
    "auroc": "AUROC",
    "average_precision": "Average precision",
    "permutation_p": "Permutation p-value",
    "ece": "ECE",
    "ece_uncalibrated": "ECE before temperature scaling",
    "brier": "Brier score",
    "temperature": "Temperature",
    "log_loss": "Log loss",
    "loss": "Loss",
}
"""Known metrics in their order in tables; others come after them."""

PUBLISHED = "published (paper)"
PATIENTS = "patients on both sides"

_SCORES = {*TITLES} - {"cases", "temperature", "log_loss", "loss", "permutation_p"}
_ENDS = ("_low", "_high", "_sd")
_PARTS = ("train", "val", "test")
_AVERAGES = {"macro": "mean of the classes", "weighted": "weighted by the classes' sizes"}

Parts = dict[str, dict[str, dict[str, float]]]
"""Part to metric to class (``""`` of all classes together) to value."""


def metric_title(name: str) -> str:
    """Words for a metric, with or without part and class.

    >>> metric_title("test/auroc/glioma"), metric_title("f1"), metric_title("val/f1/macro")
    ('AUROC of glioma, test', 'F1', 'F1, mean of the classes, validation')
    """
    part, metric, kind = split_name(name)
    words = TITLES.get(_key(name)) or metric.replace("_", " ")
    words = words[:1].upper() + words[1:]
    if kind:
        words += f", {_AVERAGES[kind]}" if kind in _AVERAGES else f" of {kind}"
    return f"{words}, {part_words(part)}" if part else words


def split_name(name: str) -> tuple[str, str, str]:
    """Part, metric and class of a flat name; the class may hold slashes itself.

    >>> split_name("test/auroc/mixed/other"), split_name("accuracy")
    (('test', 'auroc', 'mixed/other'), ('', 'accuracy', ''))
    """
    part, slash, rest = name.partition("/")
    if not slash:
        return "", name, ""
    metric, _, kind = rest.partition("/")
    return part, metric, kind


def score_number(value: Any, name: str, *, digits: int = 3) -> str:
    """A value as it is shown: so many decimals of a score, n/a of nothing.

    >>> score_number(0.88712, "test/accuracy"), score_number(None, "f1"), score_number(12, "n")
    ('0.887', 'n/a', '12')
    """
    if isinstance(value, np.generic):
        value = value.item()
    base = _base(_key(name))
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if number and math.isfinite(value) and (base in _SCORES or base.startswith(tuple(_SCORES))):
        return f"{value:.{digits}f}"
    return number_text(value)


def interval_text(value: float, low: float, high: float, *, digits: int = 3) -> str:
    """A score with its interval where it has one.

    >>> interval_text(0.98, 0.97, 0.99), interval_text(0.5, float("nan"), 0.6)
    ('0.980 (0.970–0.990)', '0.500')
    """
    if not math.isfinite(value):
        return "n/a"
    ends = f" ({low:.{digits}f}\N{EN DASH}{high:.{digits}f})" if math.isfinite(low + high) else ""
    return f"{value:.{digits}f}{ends}"


def interval(summary: Mapping[str, float], name: str) -> tuple[float, float, float]:
    """A score of the summary with the ends of its interval, NaN where there is none.

    >>> interval({"test/f1/a": 0.5, "test/f1_low/a": 0.4}, "test/f1/a")
    (0.5, 0.4, nan)
    """
    part, metric, kind = split_name(name)
    end = f"/{kind}" if kind else ""
    names = (name, f"{part}/{metric}_low{end}", f"{part}/{metric}_high{end}")
    values = [summary.get(key) for key in names]
    first, low, high = (math.nan if value is None else float(value) for value in values)
    return first, low, high


def sort_metrics(names: Iterable[str]) -> list[str]:
    """Known metrics first and in their order, each once; patients on both sides last."""
    order = [*TITLES]
    unique = [*dict.fromkeys(names)]

    def place(name: str) -> int:
        metric = _key(name)
        return order.index(metric) if metric in order else len(order) + (name == PATIENTS)

    return sorted(unique, key=place)


def group_summary(summary: Mapping[str, float]) -> tuple[Parts, dict[str, float]]:
    """Sorts flat names into part, metric and class, and the names of no part."""
    parts: Parts = {}
    single: dict[str, float] = {}
    for name, value in summary.items():
        part, metric, kind = split_name(name)
        if _is_score(name):
            parts.setdefault(part, {}).setdefault(metric, {})[kind] = value
        else:
            single[name] = value
    return {name: parts[name] for name in _sort_parts(parts)}, single


def overall_table(summary: Mapping[str, float], published: Sequence[tuple[str, Score, str]]) -> str:
    """A row for each metric of all classes, a column for each part and its published values."""
    names = [name for name in summary if _is_score(name) and not _is_detail(name, summary)]
    theirs = _by_name(published)
    wanted = [name for name in (*names, *theirs) if _is_score(name) and _is_overall(name)]
    parts = _sort_parts(dict.fromkeys(split_name(name)[0] for name in wanted))
    columns = [
        (part, is_theirs)
        for part in parts
        for is_theirs, found in ((False, names), (True, theirs))
        if any(split_name(name)[0] == part and _is_overall(name) for name in found)
    ]
    rows = []
    for metric in sort_metrics(f"/{name.partition('/')[2]}" for name in wanted):
        key = metric[1:]
        cells = [
            (theirs.get(f"{part}/{key}") or "")
            if is_theirs
            else _summary_text(summary, f"{part}/{key}")
            for part, is_theirs in columns
        ]
        rows.append(_row(metric_title(metric), cells))
    if not rows:
        return ""
    titles = [_column(part_words(part), is_theirs) for part, is_theirs in columns]
    caption = _caption("All classes together", rows)
    return table_html(_heads(["Metric", *titles]), rows, caption=caption)


def class_table(
    summary: Mapping[str, float],
    part: str,
    class_names: Sequence[str],
    published: Sequence[tuple[str, Score, str]],
) -> str:
    """A row for each class of one part, a column for each metric and its published values."""
    theirs = _by_name(published)
    names = [n for n in summary if split_name(n)[0] == part and not _is_overall(n)]
    names = [name for name in names if not _is_detail(name, summary)]
    printed = [n for n in theirs if split_name(n)[0] == part and not _is_overall(n)]
    if not names and not printed:
        return ""
    columns = [
        (metric[1:], is_theirs)
        for metric in sort_metrics(f"/{split_name(name)[1]}" for name in (*names, *printed))
        for is_theirs, found in ((False, names), (True, printed))
        if any(split_name(name)[1] == metric[1:] for name in found)
    ]
    kinds = dict.fromkeys((*class_names, *(split_name(name)[2] for name in (*names, *printed))))
    rows = []
    for kind in kinds:
        cells = []
        for metric, is_theirs in columns:
            name = f"{part}/{metric}/{kind}"
            cells.append((theirs.get(name) or "") if is_theirs else _summary_text(summary, name))
        rows.append(_row(kind, cells))
    titles = [_column(metric_title(metric), is_theirs) for metric, is_theirs in columns]
    words = part_words(part)
    caption = _caption(f"{words[:1].upper()}{words[1:]}, each class against the rest", rows)
    return table_html(_heads(["Class", *titles]), rows, caption=caption)


def comparison_table(rows: Mapping[str, Mapping[str, Score]], *, caption: str) -> str:
    """A row for each run or group of runs, a column for each metric; columns sort at a click.

    Args:
      rows: label to metric to a value, or to mean and standard deviation.
      caption: what the rows are.
    """
    metrics = sort_metrics(name for values in rows.values() for name in values)
    lines = []
    for label, values in rows.items():
        cells = "".join(_comparison_cell(name, values.get(name)) for name in metrics)
        lines.append(f'<tr><th scope="row">{html.escape(label)}</th>{cells}</tr>')
    heads = sortable_heads(["Run", *(metric_title(name) for name in metrics)])
    return table_html(heads, lines, caption=caption, css="sortable")


def match_published(
    published: Sequence[tuple[str, Score, str]], names: Iterable[str]
) -> tuple[tuple[str, Score, str], ...]:
    """Gives published numbers the names that a run has: ``test/f1`` is ``test/f1/macro``.

    >>> match_published((("test/f1", 0.886, "paper"),), ["test/f1/macro"])
    (('test/f1/macro', 0.886, 'paper'),)
    """
    found = {*names}
    return tuple(
        (f"{name}/macro" if name not in found and f"{name}/macro" in found else name, value, source)
        for name, value, source in published
    )


def sources_note(published: Sequence[tuple[str, Score, str]]) -> str:
    """Where the published numbers come from, as a paragraph."""
    sources: dict[str, list[str]] = {}
    for name, value, source in published:
        sources.setdefault(source, []).append(f"{metric_title(name)} {score_text_of(value)}")
    text = "; ".join(f"{source}: {', '.join(names)}" for source, names in sources.items())
    return f'<p class="note">Published numbers. {html.escape(text)}.</p>' if text else ""


def score_text_of(value: Score, *, name: str = "", digits: int = 4) -> str:
    """A value, or mean ± standard deviation.

    >>> score_text_of((0.88712, 0.0053), name="accuracy"), score_text_of((0.5, float("nan")))
    ('0.8871 ± 0.0053', '0.5')
    """
    if not isinstance(value, (tuple, list)):
        return score_number(value, name, digits=digits)
    mean, sd = value
    text = score_number(mean, name, digits=digits)
    if text == "n/a" or sd is None or not math.isfinite(sd):
        return text
    return f"{text} ± {score_number(sd, name, digits=digits)}"


def _comparison_cell(name: str, value: Score) -> str:
    text = html.escape(score_text_of(value, name=name))
    first = value[0] if isinstance(value, (tuple, list)) else value
    if isinstance(first, (int, float, np.number)) and math.isfinite(first):
        return f'<td data-value="{float(first)!r}">{text}</td>'
    return f"<td>{text}</td>"


def _summary_text(summary: Mapping[str, float], name: str) -> str:
    if name not in summary:
        return ""
    value, low, high = interval(summary, name)
    if math.isfinite(low + high):
        return interval_text(value, low, high)
    text = score_number(summary[name], name)
    part, metric, kind = split_name(name)
    sd = summary.get(f"{part}/{metric}_sd" + (f"/{kind}" if kind else ""))
    return f"{text} ± {score_number(sd, name)}" if sd is not None and text != "n/a" else text


def _by_name(published: Sequence[tuple[str, Score, str]]) -> dict[str, str]:
    texts: dict[str, list[str]] = {}
    for name, value, _ in published:
        texts.setdefault(name, []).append(score_text_of(value))
    return {name: "; ".join(values) for name, values in texts.items()}


def _caption(words: str, rows: Sequence[str]) -> str:
    has_interval = any("\N{EN DASH}" in row for row in rows)
    return f"{words}; in brackets the 95 % bootstrap interval" if has_interval else words


def _column(words: str, is_theirs: bool) -> str:
    words = words[:1].upper() + words[1:]
    return f"{words}, {PUBLISHED}" if is_theirs else words


def _heads(titles: Sequence[str]) -> str:
    cells = "".join(f'<th scope="col">{html.escape(title)}</th>' for title in titles)
    return f"<tr>{cells}</tr>"


def _row(title: str, cells: Sequence[str]) -> str:
    filled = "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
    return f'<tr><th scope="row">{html.escape(title)}</th>{filled}</tr>'


def _is_overall(name: str) -> bool:
    """Whether it tells of all classes together."""
    kind = split_name(name)[2]
    return not kind or kind in _AVERAGES


def _key(name: str) -> str:
    """The metric of a name as it stands in `TITLES`, also where it was told in words."""
    return split_name(name)[1].lower().replace(" ", "_")


def _base(metric: str) -> str:
    return next((metric.removesuffix(end) for end in _ENDS if metric.endswith(end)), metric)


def _is_detail(name: str, summary: Mapping[str, float]) -> bool:
    part, metric, kind = split_name(name)
    end = f"/{kind}" if kind else ""
    return _base(metric) != metric and f"{part}/{_base(metric)}{end}" in summary


def _is_score(name: str) -> bool:
    """Whether it is a score of a part: the number of training steps is not."""
    part = split_name(name)[0]
    return part.startswith(_PARTS) and (part != "train" or _base(_key(name)) in _SCORES)


def _sort_parts(parts: Iterable[str]) -> list[str]:
    found = [*parts]
    return sorted(found, key=lambda name: _PARTS.index(name) if name in _PARTS else len(_PARTS))
