"""Several ways to run one experiment, and what a paper prints of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from brainjax.errors import InputError
from brainjax.evaluation import PublishedScores

_PRINTED = ("dice", "hd95_mm", "hd100_mm")
_REGIONS = ("ET", "WT", "TC")

Variants = tuple[tuple[str, tuple[tuple[str, Any], ...]], ...]
"""Name to changes; a change is a dotted name of the configuration and its new value."""


def read_variants(section: Sequence[Any]) -> Variants:
    """The section ``variants`` of a configuration.

    Raises:
      InputError: it is not made of names with their changes, or a name comes twice.
    """
    try:
        read = tuple(
            (str(name), tuple((str(key), value) for key, value in changes))
            for name, changes in section
        )
    except (TypeError, ValueError) as error:
        raise InputError(
            f"variants: expected (name, ((key, value), ...)) for each, found {section!r}"
        ) from error
    names = [name for name, _ in read]
    if len(set(names)) < len(names):
        raise InputError(f"variants: expected different names, found {', '.join(names)}")
    return read


def read_published(section: Sequence[Any]) -> tuple[PublishedScores, ...]:
    """The section ``published`` of a segmentation: figures as a paper prints them.

    Each is (variant, the paper's name of it, ((score, ET, WT, TC), ...)) with Dice in per
    cent, distances in mm, and ``dice_sd`` and the like for standard deviations.

    Raises:
      InputError: it has another form.
    """
    found = []
    for entry in section:
        try:
            name, title, rows = entry
            printed = {str(row[0]): [float(value) for value in row[1:]] for row in rows}
            known = {f"{metric}{end}" for metric in _PRINTED for end in ("", "_sd")}
            if not known.issuperset(printed) or {len(row) for row in printed.values()} != {3}:
                raise ValueError
        except (TypeError, ValueError) as error:
            raise InputError(
                f"published: expected (variant, title, ((score, ET, WT, TC), ...)) with scores of "
                f"{', '.join(_PRINTED)} and their _sd, found {entry!r}"
            ) from error
        found.append(
            PublishedScores(
                name=str(name),
                title=str(title),
                spreads={
                    metric: _spread(metric, printed)
                    for metric in _PRINTED if metric in printed
                },
            )
        )  # fmt: skip
    return tuple(found)


def _spread(metric: str, printed: dict[str, list[float]]) -> dict[str, tuple[float, float]]:
    """Region to mean and standard deviation, Dice from 0 to 1."""
    unit = 100.0 if metric == "dice" else 1.0
    deviations = printed.get(f"{metric}_sd", [float("nan")] * 3)
    return {
        region: (mean / unit, deviation / unit)
        for region, mean, deviation in zip(_REGIONS, printed[metric], deviations, strict=True)
    }
