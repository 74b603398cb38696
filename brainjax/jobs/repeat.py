"""Several runs of one experiment: repeated seeds, and slice split beside patient split."""

from __future__ import annotations

import dataclasses
import functools
import math
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from brainjax import parallel
from brainjax.errors import InputError
from brainjax.evaluation import repeats_markdown, summarise_repeats
from brainjax.experiment import ClassificationExperiment, build
from brainjax.files import read_json, write_json, write_text
from brainjax.jobs.evaluate_classifier import evaluate_classifier
from brainjax.jobs.fit import CHECKPOINTS, INTERRUPTED, latest_run
from brainjax.jobs.predictor import versions
from brainjax.jobs.saved_run import check_configuration, mark_finished
from brainjax.jobs.several import (
    Variant,
    check_kind,
    folder_name,
    is_finished,
)
from brainjax.jobs.slices import MADE_UP_NOTE, prepare_slice_records
from brainjax.jobs.train_classifier import train_classifier
from brainjax.report import write_comparison_report

METRICS = ("test/accuracy", "test/balanced_accuracy", "test/f1/macro", "test/auroc/macro")

_BY_SLICE, _BY_PATIENT, _BY_FOLD = "split by slice", "split by patient", "split by fold"


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Run:
    """One network of several.

    Attributes:
      label: of its row.
      folder: where it is.
      experiment: with one seed.
    """

    label: str
    folder: Path
    experiment: ClassificationExperiment


def train_all(built: ClassificationExperiment, workdir: Path) -> int:
    """Trains every variant and seed that the configuration asks for, one after the other.

    A slice split is trained beside one that keeps patients apart, each in a folder of
    its own, and ``repeats`` trains that many seeds of each. A finished run is kept, an
    interrupted one is resumed. All share the folder of made-up images and of records.

    Returns:
      0, or ``INTERRUPTED`` when asked to stop and the state is saved.
    """
    runs = _plan(built, workdir)
    if runs is None:
        return train_classifier(built, workdir)
    for run in runs:
        print(f"\n{run.folder}", flush=True)
        config = run.experiment.config
        if parallel.from_first(functools.partial(is_finished, run.folder, config)):
            print("finished before; kept", flush=True)
            continue
        run.folder.mkdir(parents=True, exist_ok=True)
        if train_classifier(run.experiment, run.folder, home=workdir) == INTERRUPTED:
            return INTERRUPTED
        if parallel.is_first():
            mark_finished(run.folder, config)
    _compare(built, workdir, runs)
    return 0


def evaluate_all(
    built: ClassificationExperiment, workdir: Path, *, checkpoints: Sequence[Path]
) -> None:
    """Scores every variant and seed again, or ``checkpoints`` instead, and reports.

    Raises:
      InputError: a run is missing, or images cannot be used.
    """
    runs = None if checkpoints else _plan(built, workdir)
    if runs is None:
        evaluate_classifier(built, workdir, checkpoints=checkpoints)
        return
    missing = [str(run.folder) for run in runs if not (run.folder / CHECKPOINTS).is_dir()]
    if missing:
        raise InputError(f"{', '.join(missing)}: not trained yet; run --mode=train first")
    for run in runs:
        print(f"\n{run.folder}", flush=True)
        evaluate_classifier(run.experiment, run.folder, home=workdir)
    _compare(built, workdir, runs)


def _plan(built: ClassificationExperiment, workdir: Path) -> list[_Run] | None:
    """Every run of the experiment, checked against what is there; None when it is one only.

    Raises:
      InputError: the folder holds runs of another configuration.
    """
    variants = _variants(built, workdir)
    several = bool(variants[0].name) or built.repeats > 1
    check_kind(workdir, several=several)
    if not several:
        return None
    runs = [
        _Run(
            label=variant.name or "all seeds",
            folder=workdir / variant.folder / (f"seed_{seed}" if built.repeats > 1 else ""),
            experiment=_changed(built, variant, seed),
        )
        for variant in variants
        for seed in range(built.seed, built.seed + built.repeats)
    ]
    for run in runs:
        found = latest_run(run.folder)
        if found is not None:
            check_configuration(run.experiment, found, run.folder)
    return runs


def _variants(built: ClassificationExperiment, workdir: Path) -> list[Variant]:
    """Those of the configuration; a slice split stands beside one that keeps patients apart."""
    named = [Variant(name=name, changes=dict(changes)) for name, changes in built.variants]
    if named or built.data.split != "slice":
        return named or [Variant(name="", changes={})]
    beside = _kept_apart(built, workdir)
    if beside is None:
        print("note: neither patients nor folds are known: nothing to set beside", flush=True)
        return [Variant(name="", changes={})]
    return [
        Variant(name=_BY_SLICE, changes={}),
        Variant(
            name=beside,
            changes={"data.split": "patient" if beside == _BY_PATIENT else "folds"},
        ),
    ]


def _kept_apart(built: ClassificationExperiment, workdir: Path) -> str | None:
    """How the data could be divided with patients apart, as before or as the images say."""
    for name in (_BY_PATIENT, _BY_FOLD):
        if (workdir / folder_name(name)).is_dir():
            return name
    if (workdir / CHECKPOINTS).is_dir():
        return None
    with parallel.first_goes_first():
        records, _ = prepare_slice_records(built, workdir)
    labelled = [one for one in records.slices if one.label is not None]
    if all(one.patient_id for one in labelled):
        return _BY_PATIENT
    return _BY_FOLD if all(one.fold for one in labelled) else None


def _changed(
    built: ClassificationExperiment, variant: Variant, seed: int
) -> ClassificationExperiment:
    """The experiment of one variant and seed."""
    config = variant.change({**built.config, "seed": seed, "repeats": 1, "variants": ()})
    changed = build(config)
    if not isinstance(changed, ClassificationExperiment):
        raise InputError("task: expected classification")
    return changed


def _compare(built: ClassificationExperiment, workdir: Path, runs: Sequence[_Run]) -> None:
    """Writes summary and report of all runs; the first variant's scores have plain names."""
    if not parallel.is_first():
        return
    summaries: dict[str, list[dict[str, float | None]]] = {}
    for run in runs:
        summaries.setdefault(run.label, []).append(read_json(run.folder / "summary.json"))
    whole: dict[str, float] = {}
    for row, (label, found) in enumerate(summaries.items()):
        numbers = _means(found) | (summarise_repeats(found) if len(found) > 1 else {})
        prefix = f"{folder_name(label)}/" if row else ""
        whole |= {f"{prefix}{name}": value for name, value in numbers.items()}
    write_json(workdir / "summary.json", whole)
    table = repeats_markdown(summaries, METRICS)
    write_text(workdir / "summary.md", f"# {built.config['model']['name']}\n\n{table}\n")
    write_comparison_report(
        workdir / "report.html",
        title=f"{built.config['model']['name']}: {workdir.name}",
        command=shlex.join(["python", "-m", "brainjax.main", *sys.argv[1:]]),
        config=built.config,
        runs=summaries,
        published=tuple((name, value, "the paper") for name, value in built.published),
        environment=versions(),
        notes=() if built.data.root else (MADE_UP_NOTE,),
        figures_folder=workdir / "figures",
    )
    print(f"\n{table}\n", flush=True)
    print(f"report: {workdir / 'report.html'}", flush=True)


def _means(runs: Sequence[Mapping[str, float | None]]) -> dict[str, float]:
    """Means over seeds, of the seeds that have a number, under a single run's names."""
    defined = {
        name: [value for run in runs if (value := run.get(name)) is not None]
        for name in dict.fromkeys(name for run in runs for name in run)
    }
    return {
        name: float(np.mean(values)) if values else math.nan for name, values in defined.items()
    }
