"""A search over settings: trials by any number of workers, scored on the validation part.

Trials train on the training part and are scored on the validation part, with the weights
that did best there. The test part is scored once, at the end, with the found trial alone.
"""

from __future__ import annotations

import dataclasses
import math
import shlex
import shutil
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax

from brainjax import experiment
from brainjax.errors import InputError
from brainjax.experiment import (
    ClassificationExperiment,
    Experiment,
    ReconstructionExperiment,
    value_of,
    with_changes,
)
from brainjax.files import read_json, write_json, write_text
from brainjax.jobs.fit import CHECKPOINTS, INTERRUPTED, Training, Validate, fit
from brainjax.jobs.found_config import config_source
from brainjax.jobs.predictor import versions
from brainjax.jobs.prepare import find_data, prepare
from brainjax.jobs.slices import prepare_slice_records
from brainjax.jobs.study import Candidate, Study, TrialRecord, open_study
from brainjax.jobs.train import SCORE, segmentation_training, train
from brainjax.jobs.train_classifier import classifier_training, train_classifier
from brainjax.records.locks import exclusive
from brainjax.report import TrialRow, TuningReport, tuning_markdown, write_tuning_report
from brainjax.training import TrainState, read_history

FOUND_CONFIG = "found.py"
FOUND = "found.json"

_NOTE = (
    "Trials were scored on the validation part, with the weights that did best there, and the "
    "found one is the best of all: its validation score is too good by as much as luck decided. "
    "The test part was scored once, with the found configuration only."
)


def tune(config: Mapping[str, Any], workdir: Path) -> int:
    """Works on a search until every trial is begun; the last worker to finish ends it.

    Any number of processes may run this on one folder, at once or one after the other. A
    trial whose worker was killed is gone on with, after its last checkpoint.

    Args:
      config: plain values with the section ``search``; the search begins with them.
      workdir: gets ``trials/<number>/``, the study, and at the end ``found.py``,
        ``found.json``, ``summary.json``, ``summary.md`` and ``report.html``.

    Returns:
      0, or ``INTERRUPTED`` when asked to stop and the state is saved.

    Raises:
      InputError: a mistake in the configuration, data that cannot be used, or no trial
        could be trained.
    """
    options = experiment.make_search(config)
    built = _build(config)
    if isinstance(built, ClassificationExperiment) and built.variants:
        raise InputError("tune: the configuration has variants; tune one without, such as :search")
    if (workdir / CHECKPOINTS).is_dir():
        raise InputError(f"{workdir}: holds a run, not a search; choose another --workdir")
    score = built.score if isinstance(built, ClassificationExperiment) else SCORE
    before = signal.signal(signal.SIGTERM, _stop_now)
    try:
        study = open_study(options, config, workdir, maximise=not score.endswith("loss"))
        with exclusive(study.folder):
            _prepare(built, workdir)
        _check_not_settled(study, workdir)
        while (candidate := study.next_trial()) is not None:
            if not _run_trial(study, candidate, config, workdir, score):
                return INTERRUPTED
            jax.clear_caches()  # the next network is another one
        with exclusive(study.folder):
            if study.others_at_work():
                print("no trial is left to begin; the worker that ends the last one reports")
                return 0
            _finish(study, config, workdir, score)
    finally:
        signal.signal(signal.SIGTERM, before)
    return 0


def _build(config: Mapping[str, Any]) -> Experiment | ClassificationExperiment:
    built = experiment.build(config)
    if isinstance(built, ReconstructionExperiment):
        raise InputError("tune: searches settings of one network; a reconstruction trains several")
    return built


def _stop_now(number: int, frame: Any) -> None:
    """Outside of training there is nothing to save: what was begun is gone on with."""
    del number, frame
    raise SystemExit(INTERRUPTED)


def _prepare(built: Experiment | ClassificationExperiment, workdir: Path) -> None:
    if isinstance(built, ClassificationExperiment):
        prepare_slice_records(built, workdir)
    else:
        prepare(built, find_data(built, workdir), workdir)


def _check_not_settled(study: Study, workdir: Path) -> None:
    begun = sum(one.state != "waiting" for one in study.records())
    if (workdir / FOUND).exists() and begun < study.options.trials:
        raise InputError(
            f"search.trials {study.options.trials}: the search in {workdir} ended after {begun} "
            "and its test part has been scored; more trials would choose by it: search on in "
            "another --workdir"
        )


def _trial_config(config: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of one trial: a single run with the changed settings."""
    changed = with_changes(config, values)
    del changed["search"]
    return {**changed, "repeats": 1} if "repeats" in changed else changed


def _run_trial(
    study: Study, candidate: Candidate, config: Mapping[str, Any], workdir: Path, score: str
) -> bool:
    """Trains one trial and tells the study; returns whether it was not interrupted."""
    number, folder = candidate.number, candidate.folder
    told = ", ".join(f"{name} {_short(value)}" for name, value in candidate.values.items())
    print(f"\ntrial {number} of {study.options.trials}: {told}", flush=True)
    try:
        built = _build(_trial_config(config, candidate.values))
        run: Training
        if isinstance(built, ClassificationExperiment):
            run, _ = classifier_training(built, folder, home=workdir)
        else:
            run, _ = segmentation_training(built, folder, home=workdir)
        interval = run.loop.validation_interval(run.steps_per_epoch)
        validate = _reporting(run.validate, candidate, score_name=score, interval=interval)
        result, _ = fit(dataclasses.replace(run, validate=validate), folder)
    except InputError as error:
        study.fail(candidate, str(error))
        print(f"trial {number}: failed: {error}", flush=True)
        return True
    except _PrunedError as pruned:
        best, seconds = _best(study, [*_scores(folder, score), pruned.score]), _seconds(folder)
        study.prune(candidate, best=best, seconds=seconds)
        shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)  # nothing goes on from there
        print(f"trial {number}: stopped early, {score} {best:.4f}", flush=True)
        return True
    if result.stopped == "interrupted":
        return False
    scores = _scores(folder, score)
    if not scores:
        study.fail(candidate, f"{score} was never a number")
        return True
    best = _best(study, scores)
    study.complete(candidate, score=best, seconds=result.numbers["train/seconds"])
    print(f"trial {number}: {score} {best:.4f}", flush=True)
    return True


class _PrunedError(Exception):
    """Leaves the training of a trial that does not promise enough."""

    def __init__(self, score: float) -> None:
        super().__init__(score)
        self.score = score


def _reporting(
    validate: Validate, candidate: Candidate, *, score_name: str, interval: int
) -> Validate:
    """``validate`` that tells the study each score and ends the trial when the study says so."""

    def reporting(state: TrainState, stop_requested: Callable[[], bool]) -> dict[str, float]:
        scores = validate(state, stop_requested)
        value = scores.get(score_name, math.nan)
        if math.isfinite(value):
            validation = -(-int(state.step) // interval)
            if candidate.report(float(value), validation):
                raise _PrunedError(float(value))
        return scores

    return reporting


def _scores(folder: Path, name: str) -> list[float]:
    rows = read_history(folder / "metrics.jsonl")
    return [float(row[name]) for row in rows if row.get(name) is not None]


def _seconds(folder: Path) -> float:
    rates = [
        (row["step"], row["train/steps_per_second"])
        for row in read_history(folder / "metrics.jsonl")
        if row.get("train/steps_per_second")
    ]
    steps = [0, *(step for step, _ in rates)]
    return sum((b - a) / rate for a, b, (_, rate) in zip(steps, steps[1:], rates, strict=False))


def _best(study: Study, scores: list[float]) -> float:
    return max(scores) if study.maximise else min(scores)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _finish(study: Study, config: Mapping[str, Any], workdir: Path, score: str) -> None:
    """Writes the found configuration, scores its test part, and reports."""
    found = study.best()
    if found is None:
        reasons = [one.reason for one in study.records() if one.reason]
        raise InputError(f"tune: no trial could be trained; the first failed so: {reasons[0]}")
    if (workdir / FOUND).exists() and (workdir / "report.html").exists():
        print(f"finished before; report: {workdir / 'report.html'}", flush=True)
        return
    start = study.records()[0]
    changes = {
        name: value for name, value in found.values.items() if value != value_of(config, name)
    }
    write_text(workdir / FOUND_CONFIG, _found_source(config, found, start, workdir, score))
    # From here on the choice stands, whatever is scored on the test part.
    write_json(
        workdir / FOUND,
        {"trial": found.number, score: found.score, "start": start.score, "changes": changes},
    )
    run = study.folder / f"{found.number:04d}"
    print(f"\nfound: trial {found.number}, {score} {found.score:.4f}; its scores:", flush=True)
    _evaluate(_trial_config(config, found.values), run, workdir)
    scored = read_json(run / "summary.json")
    _report(study, config, workdir, score, found, scored)


def _without_storage(words: list[str]) -> list[str]:
    """The command's words but for a database's URL, which may hold a password."""
    return [word for word in words if not word.startswith("--config.search.storage")]


def _evaluate(config: Mapping[str, Any], run: Path, workdir: Path) -> None:
    """Everything that follows training: the run is complete, so it is only scored."""
    built = _build(config)
    if isinstance(built, ClassificationExperiment):
        train_classifier(built, run, home=workdir)
    else:
        train(built, run, home=workdir)


def _found_source(
    config: Mapping[str, Any], found: TrialRecord, start: TrialRecord, workdir: Path, score: str
) -> str:
    changed = with_changes(config, found.values)
    del changed["search"]
    begin = "" if start.score is None else f" (where the search began: {start.score:.4f})"
    return config_source(
        changed,
        title=f"Found by tuning: trial {found.number}, {score} {found.score:.4f}{begin}.",
        command=f"python -m brainjax.main --config={workdir / FOUND_CONFIG} --workdir=FOLDER",
    )


def _report(
    study: Study,
    config: Mapping[str, Any],
    workdir: Path,
    score: str,
    found: TrialRecord,
    scored: Mapping[str, Any],
) -> None:
    records = study.records()
    rows = tuple(
        TrialRow(
            number=one.number,
            state=one.state,
            score=one.score,
            values=one.values,
            validations=one.validations,
            seconds=one.seconds,
            reason=one.reason,
        )
        for one in records
    )
    importances = study.importances()
    test = {name: value for name, value in scored.items() if name.startswith("test/")}
    counts = {
        f"tune/{state}": float(sum(one.state == state for one in records))
        for state in ("complete", "pruned", "failed")
    }
    write_json(
        workdir / "summary.json",
        {
            "tune/trials": float(len(records)),
            **counts,
            "tune/found_trial": float(found.number),
            f"start/{score}": records[0].score,
            f"found/{score}": found.score,
            **{f"importance/{name}": value for name, value in importances.items()},
            **{f"found/{name}": value for name, value in test.items()},
        },
    )
    shown = {key: value for key, value in config.items() if key != "search"}
    report = TuningReport(
        title=f"Search: {workdir.name}",
        command=shlex.join(["python", "-m", "brainjax.main", *_without_storage(sys.argv[1:])]),
        score_name=score,
        maximise=study.maximise,
        trials=rows,
        found=found.number,
        logarithmic=frozenset(one.name for one in study.options.space if one.log),
        importances=importances,
        test={name: value for name, value in test.items() if value is not None},
        page_of_found=(study.folder / f"{found.number:04d}" / "report.html").relative_to(workdir),
        config={
            **shown,
            "search": {**dataclasses.asdict(study.options), "storage": "", "space": "see above"},
        },
        environment=versions(),
        notes=(_NOTE,),
    )
    table = tuning_markdown(report)
    write_text(workdir / "summary.md", f"# {report.title}\n\n{table}\n")
    write_tuning_report(workdir / "report.html", report, figures_folder=workdir / "figures")
    print(f"\n{table}\n", flush=True)
    print(f"configuration: {workdir / FOUND_CONFIG}", flush=True)
    print(f"report: {workdir / 'report.html'}", flush=True)
