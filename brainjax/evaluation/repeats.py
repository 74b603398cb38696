"""Scores over repeated runs, such as several seeds: mean and standard deviation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from brainjax.errors import InputError


def summarise_repeats(summaries: Sequence[Mapping[str, float | None]]) -> dict[str, float]:
    """Mean and standard deviation of every number over repeated runs.

    ``test/accuracy`` becomes ``test/accuracy_mean`` and ``test/accuracy_sd``, and
    ``test/recall/glioma`` becomes ``test/recall_mean/glioma`` and
    ``test/recall_sd/glioma``. The standard deviation is that of a sample (n - 1 in
    the denominator), NaN for one run. ``repeats`` is the number of runs; a number
    that some runs lack (absent, None, NaN) has ``test/recall_defined/glioma``
    besides, the number of runs that have it.

    Args:
      summaries: flat names and numbers of each run; entries that are no numbers
        are left out.

    Raises:
      InputError: there is no run.

    >>> summarise_repeats([{"test/accuracy": 0.8}, {"test/accuracy": 0.9}])
    {'repeats': 2.0, 'test/accuracy_mean': 0.85, 'test/accuracy_sd': 0.0707}
    """
    if not summaries:
        raise InputError("summaries: expected at least one run, found none")
    summary = {"repeats": float(len(summaries))}
    for name in dict.fromkeys(name for one in summaries for name in one):
        found = [one.get(name) for one in summaries]
        if not all(value is None or _is_number(value) for value in found):
            continue
        defined = _defined(found)
        mean, spread = _mean_and_sd(defined)
        summary[_with_suffix(name, "mean")] = mean
        summary[_with_suffix(name, "sd")] = spread
        if len(defined) < len(summaries):
            summary[_with_suffix(name, "defined")] = float(len(defined))
    return summary


def repeats_markdown(
    rows: Mapping[str, Sequence[Mapping[str, float | None]]],
    metrics: Sequence[str] | Mapping[str, str],
    *,
    digits: int = 4,
) -> str:
    """A Markdown table with a row per experiment and cells ``mean ± SD (n)``.

    Args:
      rows: the flat summaries of the repeated runs of each experiment, by its
        label.
      metrics: names of the columns, such as ``test/accuracy``, or titles by name.
      digits: decimal places.

    >>> runs = [{"test/accuracy": 0.8}, {"test/accuracy": 0.9}]
    >>> print(repeats_markdown({"focal": runs}, {"test/accuracy": "Accuracy"}), end="")
    | Experiment | Accuracy |
    |---|---:|
    | focal | 0.8500 ± 0.0707 (2) |
    """
    titles = dict(metrics) if isinstance(metrics, Mapping) else {name: name for name in metrics}
    lines = [
        f"| Experiment | {' | '.join(_escape(title) for title in titles.values())} |",
        "|---|" + "---:|" * len(titles),
    ]
    for label, summaries in rows.items():
        cells = [_cell([one.get(name) for one in summaries], digits) for name in titles]
        lines.append(f"| {_escape(label)} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(values: Sequence[float | None], digits: int) -> str:
    """``mean ± SD (n)`` of the values that are there; ``none`` where none is."""
    defined = _defined(values)
    if not defined:
        return "none"
    mean, spread = _mean_and_sd(defined)
    if math.isnan(spread):
        return f"{mean:.{digits}f} ({len(defined)})"
    return f"{mean:.{digits}f} ± {spread:.{digits}f} ({len(defined)})"


def _defined(values: Sequence[float | None]) -> list[float]:
    return [float(one) for one in values if one is not None and not math.isnan(one)]


def _mean_and_sd(values: Sequence[float]) -> tuple[float, float]:
    mean = float(np.mean(values)) if values else math.nan
    return mean, float(np.std(values, ddof=1)) if len(values) > 1 else math.nan


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)


def _with_suffix(name: str, suffix: str) -> str:
    """Appends to the metric, the second part of ``prefix/metric/class``."""
    parts = name.split("/", 2)
    metric = min(1, len(parts) - 1)
    parts[metric] = f"{parts[metric]}_{suffix}"
    return "/".join(parts)


def _escape(text: str) -> str:
    return text.replace("|", "\\|")
