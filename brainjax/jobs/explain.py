"""What a trained network looks at: maps, whether they point at the tumour, and a page."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from brainjax.errors import InputError
from brainjax.evaluation import (
    MapScore,
    localization_markdown,
    localization_numbers,
    summarize_localization,
    write_map_scores,
)
from brainjax.experiment.explain_options import ExplainOptions
from brainjax.files import write_json
from brainjax.jobs.explainer import Explainer
from brainjax.jobs.predictor import versions
from brainjax.report import SaliencyReport, write_saliency_report

PAGE = "explanation.html"
SCORES = "scores.csv"
SUMMARY = "summary.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sanity:
    """What the checks of the maps found; empty where none was asked for.

    Attributes:
      ranks: method to layer to mean rank correlation after randomising from the output to it.
      ssims: likewise, mean structural similarity.
      control: method to mean rank correlation with a network trained on permuted labels.
    """

    ranks: dict[str, dict[str, float]] = dataclasses.field(default_factory=dict)
    ssims: dict[str, dict[str, float]] = dataclasses.field(default_factory=dict)
    control: dict[str, float] = dataclasses.field(default_factory=dict)


def choose_cases(names: Sequence[str], options: ExplainOptions) -> list[int]:
    """Numbers of the cases to explain: those named, else ``count`` evenly spread.

    Raises:
      InputError: a named case is not there.

    >>> from brainjax.experiment.build import ADDED
    >>> options = ExplainOptions(**ADDED["classification"]["explain"] | {"count": 3})
    >>> choose_cases(["a", "b", "c", "d", "e"], options)
    [0, 2, 4]
    """
    if options.cases:
        missing = [name for name in options.cases if name not in names]
        if missing:
            raise InputError(
                f"explain.cases: {', '.join(missing)} not among the {len(names)} cases, such as "
                f"{', '.join(names[:3])}"
            )
        return [list(names).index(name) for name in options.cases]
    count = min(options.count or len(names), len(names))
    return np.linspace(0, len(names) - 1, count).round().astype(int).tolist()


def choose_pictures(
    names: Sequence[str], scores: Sequence[MapScore], options: ExplainOptions
) -> list[str]:
    """The cases that are drawn: those named, else the ones whose maps point worst.

    Cases without a region come last, in their order.
    """
    if options.cases:
        return list(options.cases[: options.pictures])
    by_case: dict[str, list[float]] = {name: [] for name in names}
    for score in scores:
        if score.method in options.chosen_methods:
            by_case[score.case_id].append(score.values.get("auroc", float("nan")))
    mean = {name: np.mean(values) if values else np.nan for name, values in by_case.items()}
    return sorted(names, key=lambda name: (np.isnan(mean[name]), mean[name]))[: options.pictures]


def check_sanity(
    explainer: Explainer,
    apply: Callable[[Any, Any], Any],
    start: Callable[[], Mapping[str, Any]],
    cases: Sequence[tuple[int, np.ndarray, Any]],
    control: Mapping[str, Any] | None,
) -> Sanity:
    """Compares the maps of some cases with those of networks that know nothing.

    Args:
      explainer: of the trained network.
      apply: the network.
      start: makes its variables as they are before training.
      cases: number, image [1, *spatial, C] and aims of each.
      control: variables of a network trained on permuted labels.
    """
    if not cases:
        return Sanity()
    ranks, ssims = explainer.cascade(apply, start(), cases)
    unlike: dict[str, float] = {}
    if control is not None:
        before = [explainer.maps(image, aims, number=number) for number, image, aims in cases]
        found = explainer.likeness(control, cases, before)
        unlike = {name: rank for name, (rank, _) in found.items()}
    return Sanity(ranks=ranks, ssims=ssims, control=unlike)


def finish_explanation(
    output: Path,
    scores: Sequence[MapScore],
    sanity: Sanity,
    *,
    title: str,
    config: Mapping[str, Any],
    options: ExplainOptions,
    pictures: Sequence[tuple[str, Path]],
    more_pictures: Sequence[tuple[str, Path]] = (),
    notes: Sequence[str],
) -> None:
    """Writes ``scores.csv``, ``summary.json`` and the page, and tells the table.

    Args:
      output: the folder.
      scores: of every case and method.
      sanity: what the checks found.
      title: of the page.
      config: of the run.
      options: the section ``explain``.
      pictures: caption and file of each case's maps.
      more_pictures: others.
      notes: what a reader has to know.
    """
    alike = {name: float(np.mean([*steps.values()])) for name, steps in sanity.ranks.items()}
    found = summarize_localization(
        scores,
        samples=options.bootstrap,
        seed=options.seed,
        similarity=alike,
        control=sanity.control,
    )
    broken = sum(row.not_finite for row in found)
    if broken:
        notes = [*notes, f"{broken} maps hold NaN or infinite values: they are not scored."]
    write_map_scores(output / SCORES, scores)
    numbers = localization_numbers(found)
    numbers["cases"] = float(len({score.case_id for score in scores}))
    for kind, table in (("rank_correlation", sanity.ranks), ("ssim", sanity.ssims)):
        numbers |= {
            f"{kind}/{method}/{layer}": value
            for method, layers in table.items()
            for layer, value in layers.items()
        }
    numbers |= {f"control_rank_correlation/{name}": v for name, v in sanity.control.items()}
    verdicts = {f"verdict/{row.method}": row.verdict for row in found}
    write_json(output / SUMMARY, {**numbers, **verdicts, "notes": list(notes)})
    write_saliency_report(
        output / PAGE,
        SaliencyReport(
            title=title,
            command=shlex.join(["python", "-m", "brainjax.main", *sys.argv[1:]]),
            config=config,
            found=found,
            rank_correlation=sanity.ranks,
            structural_similarity=sanity.ssims,
            control=sanity.control,
            pictures=pictures,
            more_pictures=more_pictures,
            environment=versions(),
            notes=tuple(notes),
        ),
    )
    for note in notes:
        print(f"note: {note}", flush=True)
    print(f"\n{localization_markdown(found)}\n", flush=True)
    print(f"written: {output / SCORES}, {output / SUMMARY}, {output / PAGE}", flush=True)


def file_name(case_id: str) -> str:
    """A case's name as a file's.

    >>> file_name("glioma/12.jpg")
    'glioma_12.jpg'
    """
    return case_id.replace("/", "_")


def home_of(run: Path) -> Path:
    """The folder of a run's made-up data and records: its own, or that of all repeated runs."""
    for folder in (run, *run.absolute().parents[:2]):
        if (folder / "records").is_dir():
            return folder
    return run
