"""Folds of a cross-validation to one report on the cases that no network had seen."""

from __future__ import annotations

import dataclasses
import os
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from brainjax.errors import InputError
from brainjax.evaluation import (
    COMPARED,
    RegionScore,
    deviations_table,
    folds_table,
    means_table,
    read_case_table,
    spreads_of,
    summarize,
    summary_markdown,
    table_markdown,
    write_case_table,
)
from brainjax.files import atomic_path, read_json, write_json, write_text
from brainjax.jobs.case_examples import case_examples
from brainjax.jobs.predictor import versions
from brainjax.jobs.prepare import Data
from brainjax.report import RunReport, folds_html, write_report
from brainjax.training import read_history

OUT_OF_FOLD = "out_of_fold"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fold:
    """One finished fold; a cross-validation's stand in the order of their numbers.

    Attributes:
      folder: of its run.
      data: the scans, split as it was.
    """

    folder: Path
    data: Data


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scored:
    """Scores of one variant, or of the only one.

    Attributes:
      name: of the variant; empty of the only one.
      scores: of every case that validated, by a network that had not seen it.
    """

    name: str
    scores: tuple[RegionScore, ...]


def pool_folds(
    name: str, folds: Sequence[Fold], folder: Path, *, config: Mapping[str, Any]
) -> Scored:
    """Writes the common table, predictions, summary and report of all folds.

    Args:
      name: of the variant; empty of the only one.
      folds: all of them, finished.
      folder: gets ``scores_out_of_fold.csv``, ``segmentations/out_of_fold/``,
        ``summary.json``, ``summary.md`` and ``report.html``.
      config: of the first fold.

    Raises:
      InputError: a fold was scored on other cases than those that it holds out now.
    """
    by_fold = {number: read_fold_scores(fold) for number, fold in enumerate(folds)}
    scores = tuple(score for found in by_fold.values() for score in found)
    data = folds[0].data
    patients = {case.case_id: case.patient_id for case in data.cohort.cases}
    fold_of = {s.case_id: number for number, found in by_fold.items() for s in found}
    write_case_table(
        folder / f"scores_{OUT_OF_FOLD}.csv",
        scores,
        more={case: {"patient_id": patients[case], "fold": n} for case, n in fold_of.items()},
    )
    predictions = _gather_predictions(folds, folder)
    summary = _summary(folds, by_fold, scores)
    write_json(folder / "summary.json", summary)
    title = name or config["model"]["name"]
    rows = {title: spreads_of(scores)}
    cases = f"{len(fold_of)} cases, {len(folds)} folds"
    tables = [
        means_table(rows, caption=f"Means over {cases}, each scored by the network of its fold"),
        deviations_table(rows, caption="Standard deviations of these cases"),
        folds_table(
            {f"fold {number}": found for number, found in by_fold.items()},
            caption="Means over the cases of each fold",
        ),
    ]
    write_text(
        folder / "summary.md",
        "\n".join(
            [f"# {title}: {len(folds)}-fold cross-validation\n"]
            + [f"> {note}\n" for note in data.notes]
            + [table_markdown(table) for table in tables]
            + ["## Every metric\n", summary_markdown(scores)]
        ),
    )
    histories = {
        f"fold {number}": read_history(fold.folder / "metrics.jsonl")
        for number, fold in enumerate(folds)
    }
    write_report(
        folder / "report.html",
        RunReport(
            title=f"{title}: {len(folds)}-fold cross-validation in {folder.name}",
            command=shlex.join(["python", "-m", "brainjax.main", *sys.argv[1:]]),
            config=config,
            summary={
                name: value
                for name, value in summary.items()
                if name.startswith("cv/") and "_fold_sd/" not in name
            },
            case_scores=_case_rows(scores, fold_of),
            examples=case_examples(
                data.cohort.cases,
                scores,
                predictions,
                modalities=config["data"]["modalities"],
                label_convention=data.cohort.label_convention,
                workdir=folder,
                viewers="viewer",
            ),
            environment=versions(),
            notes=data.notes,
            sections={"Cross-validation": folds_html(tables, histories)},
        ),
    )
    print(f"\n{table_markdown(tables[0])}\n{table_markdown(tables[1])}", flush=True)
    print(f"report: {folder / 'report.html'}", flush=True)
    return Scored(name=name, scores=scores)


def read_fold_scores(fold: Fold) -> tuple[RegionScore, ...]:
    """The scores of a finished fold's held-out cases.

    Raises:
      InputError: they are of other cases than those that it holds out now.
    """
    path = fold.folder / "scores_val.csv"
    scores = read_case_table(path)
    found = {score.case_id for score in scores}
    held_out = set(fold.data.case_ids(fold.data.validation))
    if found != held_out:
        raise InputError(
            f"{path}: holds scores of other cases than this fold holds out now, such as "
            f"{min(found ^ held_out)}; restore the scans, or choose another --workdir"
        )
    return scores


def _gather_predictions(folds: Sequence[Fold], folder: Path) -> dict[str, Path]:
    """One folder with every case's out-of-fold segmentation: hard links where there are any."""
    gathered = {}
    for fold in folds:
        for case_id in fold.data.case_ids(fold.data.validation):
            source = fold.folder / "segmentations" / "val" / f"{case_id}.nii.gz"
            target = folder / "segmentations" / OUT_OF_FOLD / source.name
            with atomic_path(target) as temporary:
                temporary.unlink()
                try:
                    os.link(source, temporary)
                except OSError:
                    shutil.copyfile(source, temporary)
            gathered[case_id] = target
    return gathered


def _summary(
    folds: Sequence[Fold],
    by_fold: Mapping[int, Sequence[RegionScore]],
    scores: Sequence[RegionScore],
) -> dict[str, float]:
    """Over all cases as ``cv/...``, of each fold as ``fold_<n>/...``, and between folds."""
    saved = [read_json(fold.folder / "summary.json") for fold in folds]
    whole = {
        "cv/folds": float(len(folds)),
        **summarize(scores, prefix="cv"),
        "cv/train_seconds": sum(one["train/seconds"] for one in saved),
        "cv/train_steps": sum(one["train/steps"] for one in saved),
        "model/parameters": saved[0]["model/parameters"],
    }
    each = {number: summarize(found, prefix="cv") for number, found in by_fold.items()}
    for metric in COMPARED:
        for region in dict.fromkeys([score.region for score in scores] + ["mean"]):
            name = f"cv/{metric}/{region}"
            means = {number: one[name] for number, one in each.items() if name in one}
            whole |= {f"fold_{n}/{metric}/{region}": mean for n, mean in means.items()}
            if len(means) > 1:
                sd = float(np.std(list(means.values()), ddof=1))
                whole[f"cv/{metric}_fold_sd/{region}"] = sd
    return whole


def _case_rows(scores: Sequence[RegionScore], fold_of: Mapping[str, int]) -> list[dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {}
    for score in scores:
        row = rows.setdefault(
            score.case_id, {"case_id": score.case_id, "Fold": fold_of[score.case_id]}
        )
        for metric in COMPARED:
            row[f"{score.region}_{metric}"] = getattr(score, metric)
    return list(rows.values())
