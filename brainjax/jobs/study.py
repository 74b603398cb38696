"""The trials of a search, shared by several worker processes through a file or a database.

A worker holds the lock of its trial's folder as long as it lives. A trial that the study
calls running but whose lock is free was therefore left by a worker that was killed: the
next one to look for work goes on with it.
"""

from __future__ import annotations

import dataclasses
import fcntl
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from brainjax.errors import InputError, require
from brainjax.experiment import Parameter, SearchOptions, value_of
from brainjax.jobs.saved_run import as_json, differences
from brainjax.records.locks import exclusive

JOURNAL = "study.log"
TRIALS = "trials"

_CONFIG = "brainjax:config"
_BEST = "brainjax:best"
_SECONDS = "brainjax:seconds"
_REASON = "brainjax:reason"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Candidate:
    """One trial that this process has taken.

    Attributes:
      number: of the trial, from 0.
      folder: of its run.
      values: dotted names of the configuration to values.
      reported: validations that the study knows already, from an earlier process.
      trial: Optuna's.
      lock: held until it is closed.
    """

    number: int
    folder: Path
    values: Mapping[str, Any]
    reported: frozenset[int]
    trial: Any
    lock: TextIO

    def report(self, score: float, validation: int) -> bool:
        """Tells the study a score; returns whether to stop the trial.

        The configuration that the search began with is never stopped, so that the found
        one has a whole run to be compared with.
        """
        if validation not in self.reported:
            self.trial.report(score, validation)
        return self.number > 0 and self.trial.should_prune()


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrialRecord:
    """What the study knows of one trial.

    Attributes:
      number: from 0.
      state: ``complete``, ``pruned``, ``failed``, ``running`` or ``waiting``.
      score: the best of its validations, None of a failed one.
      values: dotted names of the configuration to values.
      validations: how many it had.
      seconds: of training.
      reason: why it failed.
    """

    number: int
    state: str
    score: float | None
    values: Mapping[str, Any]
    validations: int
    seconds: float | None
    reason: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Study:
    """A search over settings; every method may be called from several processes.

    Attributes:
      options: what is searched and how.
      folder: of the trials.
      maximise: whether a higher score is better.
      study: Optuna's.
    """

    options: SearchOptions
    folder: Path
    maximise: bool
    study: Any

    def next_trial(self) -> Candidate | None:
        """Takes a trial that was left behind, else begins a new one; None when all are begun."""
        with exclusive(self.folder):
            for frozen in self._frozen("running"):
                lock = _claim(self._folder_of(frozen.number))
                if lock is not None:
                    return self._take(frozen.number, frozen._trial_id, lock)
            waiting = self._frozen("waiting")
            begun = len(self.study.get_trials(deepcopy=False)) - len(waiting)
            if begun >= self.options.trials:
                return None
            # A sampler's numbers depend on the seed and on the trial: workers differ, and a
            # search that was stopped goes on as it would have.
            self.study.sampler = _sampler(self.options, begun)
            asked = self.study.ask()
            lock = _claim(self._folder_of(asked.number))
            if lock is None:
                raise InputError(
                    f"{self._folder_of(asked.number)}: is in use, though the study has just begun "
                    "this trial; was its storage replaced? choose another --workdir"
                )
            return self._take(asked.number, asked._trial_id, lock)

    def complete(self, candidate: Candidate, *, score: float, seconds: float) -> None:
        """Ends a trial with the best of its scores."""
        candidate.trial.set_user_attr(_SECONDS, seconds)
        self.study.tell(candidate.number, score)
        candidate.lock.close()

    def prune(self, candidate: Candidate, *, best: float, seconds: float) -> None:
        """Ends a trial that was stopped early."""
        candidate.trial.set_user_attr(_SECONDS, seconds)
        candidate.trial.set_user_attr(_BEST, best)
        self.study.tell(candidate.number, state=_state("pruned"))
        candidate.lock.close()

    def fail(self, candidate: Candidate, reason: str) -> None:
        """Ends a trial that cannot be trained."""
        candidate.trial.set_user_attr(_REASON, reason)
        self.study.tell(candidate.number, state=_state("failed"))
        candidate.lock.close()

    def others_at_work(self) -> bool:
        """Whether trials are unfinished; call it when there is none to begin."""
        return bool(self._frozen("running"))

    def records(self) -> list[TrialRecord]:
        """Every trial so far."""
        return [self._record(frozen) for frozen in self.study.get_trials(deepcopy=False)]

    def best(self) -> TrialRecord | None:
        """The complete trial with the best score, the earlier one of equals."""
        complete = [one for one in self.records() if one.state == "complete"]
        sign = 1 if self.maximise else -1
        return max(complete, key=lambda one: (sign * (one.score or 0.0), -one.number), default=None)

    def importances(self) -> dict[str, float]:
        """Each setting's share of the scores' variance, by functional ANOVA of a random forest.

        Of complete trials (Hutter et al. 2014); empty where fewer than four or none that
        differ.
        """
        scores = [one.score for one in self.records() if one.state == "complete"]
        if len(scores) < 4 or len(set(scores)) < 2:
            return {}
        importance = require("optuna.importance", extra="tune", purpose="--mode=tune")
        evaluator = importance.FanovaImportanceEvaluator(seed=self.options.seed)
        found = importance.get_param_importances(self.study, evaluator=evaluator)
        return {name: float(value) for name, value in found.items()}

    def _folder_of(self, number: int) -> Path:
        return self.folder / f"{number:04d}"

    def _frozen(self, state: str) -> list[Any]:
        return self.study.get_trials(deepcopy=False, states=(_state(state),))

    def _take(self, number: int, trial_id: int, lock: TextIO) -> Candidate:
        optuna = require("optuna", extra="tune", purpose="--mode=tune")
        trial = optuna.trial.Trial(self.study, trial_id)
        values = {one.name: _suggest(trial, one) for one in self.options.space}
        known = self.study.get_trials(deepcopy=False)[number].intermediate_values
        return Candidate(
            number=number,
            folder=self._folder_of(number),
            values=values,
            reported=frozenset(known),
            trial=trial,
            lock=lock,
        )

    def _record(self, frozen: Any) -> TrialRecord:
        state = {"FAIL": "failed"}.get(frozen.state.name, frozen.state.name.lower())
        score = frozen.user_attrs.get(_BEST, frozen.value) if state != "failed" else None
        choices = {one.name: one for one in self.options.space if one.kind == "choice"}
        return TrialRecord(
            number=frozen.number,
            state=state,
            score=score,
            values={
                name: _choice(choices[name], value) if name in choices else value
                for name, value in frozen.params.items()
            },
            validations=len(frozen.intermediate_values),
            seconds=frozen.user_attrs.get(_SECONDS),
            reason=frozen.user_attrs.get(_REASON, ""),
        )


def open_study(
    options: SearchOptions, config: Mapping[str, Any], workdir: Path, *, maximise: bool
) -> Study:
    """Begins a search in a folder, or joins the one that is there.

    Args:
      options: what is searched and how.
      config: the plain configuration, where the search begins.
      workdir: of the search; all workers have the same.
      maximise: whether a higher score is better.

    Raises:
      InputError: Optuna is missing, the storage cannot be opened, or it holds a search of
        another configuration.
    """
    optuna = require("optuna", extra="tune", purpose="--mode=tune")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    folder = workdir / TRIALS
    with exclusive(folder):
        study = optuna.create_study(
            storage=_open_storage(options, workdir),
            study_name=workdir.resolve().name,
            direction="maximize" if maximise else "minimize",
            load_if_exists=True,
            pruner=_pruner(options),
        )
        told = {
            "config": _compared(config),
            "search": as_json({**dataclasses.asdict(options), "trials": None, "storage": None}),
        }
        saved = study.user_attrs.get(_CONFIG)
        if saved is None:
            begin = {one.name: _stored(one, value_of(config, one.name)) for one in options.space}
            study.enqueue_trial(begin)
            study.set_user_attr(_CONFIG, json.dumps(told))
        elif changed := differences(json.loads(saved), told):
            raise InputError(
                f"{workdir} holds a search of another configuration ({'; '.join(changed)}); "
                "choose another --workdir, or repeat the first command's options to go on with it"
            )
    return Study(options=options, folder=folder, maximise=maximise, study=study)


def _compared(config: Mapping[str, Any]) -> dict[str, Any]:
    """What the workers of a search must have in common; where the data lie may differ."""
    data = {k: v for k, v in config["data"].items() if k not in ("root", "records", "needs_root")}
    return as_json({**{k: v for k, v in config.items() if k != "search"}, "data": data})


def _open_storage(options: SearchOptions, workdir: Path) -> Any:
    storages = require("optuna.storages", extra="tune", purpose="--mode=tune")
    if not options.storage:
        journal = require("optuna.storages.journal", extra="tune", purpose="--mode=tune")
        return storages.JournalStorage(journal.JournalFileBackend(str(workdir / JOURNAL)))
    try:
        return storages.RDBStorage(options.storage)
    except Exception as error:  # SQLAlchemy's, its driver's, or the driver is missing
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"search.storage: expected a database URL such as sqlite:////FOLDER/study.db that can "
            f"be opened, found none ({reason}); leave it empty to share WORKDIR/{JOURNAL}"
        ) from error


def _pruner(options: SearchOptions) -> Any:
    pruners = require("optuna.pruners", extra="tune", purpose="--mode=tune")
    if options.pruner == "median":
        return pruners.MedianPruner(
            n_startup_trials=options.startup_trials, n_warmup_steps=options.warmup_validations
        )
    if options.pruner == "halving":
        return pruners.SuccessiveHalvingPruner(
            min_resource=max(1, options.warmup_validations), reduction_factor=3
        )
    return pruners.NopPruner()


def _sampler(options: SearchOptions, number: int) -> Any:
    samplers = require("optuna.samplers", extra="tune", purpose="--mode=tune")
    seed = int(np.random.SeedSequence([options.seed, number]).generate_state(1)[0])
    if options.sampler == "random":
        return samplers.RandomSampler(seed=seed)
    return samplers.TPESampler(
        seed=seed, n_startup_trials=options.startup_trials, constant_liar=True
    )


def _suggest(trial: Any, parameter: Parameter) -> Any:
    """The trial's value of a setting, drawn where it has none yet."""
    if parameter.kind == "choice":
        names = [str(choice) for choice in parameter.choices]
        return _choice(parameter, trial.suggest_categorical(parameter.name, names))
    if parameter.kind == "integer":
        return trial.suggest_int(
            parameter.name,
            int(parameter.low),
            int(parameter.high),
            step=int(parameter.step) or 1,
            log=parameter.log,
        )
    return trial.suggest_float(
        parameter.name,
        parameter.low,
        parameter.high,
        step=parameter.step or None,
        log=parameter.log,
    )


def _stored(parameter: Parameter, value: Any) -> Any:
    """A value as the study stores it: choices by their text, since they may be tuples."""
    if parameter.kind == "choice":
        return str(value)
    return int(value) if parameter.kind == "integer" else float(value)


def _choice(parameter: Parameter, text: str) -> Any:
    return next(choice for choice in parameter.choices if str(choice) == text)


def _claim(folder: Path) -> TextIO | None:
    """The lock of a trial's folder, None when another process holds it."""
    folder.mkdir(parents=True, exist_ok=True)
    stream = (folder / ".lock").open("a")
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        stream.close()
        return None
    return stream


def _state(name: str) -> Any:
    states = require("optuna.trial", extra="tune", purpose="--mode=tune").TrialState
    return {
        "running": states.RUNNING,
        "waiting": states.WAITING,
        "pruned": states.PRUNED,
        "failed": states.FAIL,
    }[name]
