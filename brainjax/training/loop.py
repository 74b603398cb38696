"""The order of work in a run: next batch, step, log, validate, save, stop."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import jax
import numpy as np

from brainjax.errors import InputError
from brainjax.training.checkpoint import Checkpoints
from brainjax.training.logs import Log, format_duration
from brainjax.training.state import TrainState


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoopOptions:
    """How long a run is and what happens how often.

    Attributes:
      steps: updates in all; 0 when ``epochs`` is given.
      epochs: passes over the training cases; 0 when ``steps`` is given.
      log_every_steps: one console line and one row of metrics.jsonl.
      validate_every_steps: scores the validation cases and saves; the last step always does.
        0 when ``validate_every_epochs`` is given.
      validate_every_epochs: the same, counted in epochs; 0 counts in steps.
      save_every_steps: how many steps a killed process may lose.
      patience: stop after this many validations without a better score; 0 never stops early.
      nonfinite_limit: stop after this many skipped updates in a row.
    """

    steps: int
    epochs: int
    log_every_steps: int
    validate_every_steps: int
    save_every_steps: int
    patience: int
    nonfinite_limit: int
    validate_every_epochs: int = 0

    def __post_init__(self) -> None:
        if min(self.steps, self.epochs) != 0 or max(self.steps, self.epochs) < 1:
            raise ValueError(
                f"loop.steps {self.steps} and loop.epochs {self.epochs}: set one of them "
                "to how long to train, and the other to 0"
            )
        every = (self.validate_every_steps, self.validate_every_epochs)
        if min(every) != 0 or max(every) < 1:
            raise ValueError(
                f"loop.validate_every_steps {every[0]} and loop.validate_every_epochs {every[1]}: "
                "set one of them to how often to validate, and the other to 0"
            )
        least = {"log_every_steps": 1, "save_every_steps": 1,
                 "nonfinite_limit": 1, "patience": 0}  # fmt: skip
        for name, value in least.items():
            if getattr(self, name) < value:
                raise ValueError(f"loop.{name} {getattr(self, name)}: expected {value} or more")

    def total_steps(self, steps_per_epoch: int) -> int:
        """Updates in all."""
        return self.steps or self.epochs * steps_per_epoch

    def logged_every_epoch(self, steps_per_epoch: int) -> LoopOptions:
        """The same with a row of the log for each epoch at least: short ones need it."""
        return dataclasses.replace(self, log_every_steps=min(self.log_every_steps, steps_per_epoch))

    def validation_interval(self, steps_per_epoch: int) -> int:
        """Updates between validations."""
        return self.validate_every_steps or self.validate_every_epochs * steps_per_epoch


class Batches(Protocol):
    """An endless iterator whose place can be saved."""

    waited_seconds: float

    def __next__(self) -> dict[str, Any]: ...

    @property
    def position(self) -> dict[str, Any]: ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoopResult:
    """How a run ended.

    Attributes:
      state: after the last step.
      stopped: ``finished``, ``early`` (patience ran out) or ``interrupted`` (asked to stop).
      numbers: flat names to numbers for ``summary.json``.
    """

    state: TrainState
    stopped: str
    numbers: dict[str, float]


@dataclasses.dataclass(kw_only=True)
class Loop:
    """A run with all that it works with.

    Attributes:
      step: the compiled ``train_step``.
      options: see ``LoopOptions``.
      steps_per_epoch: batches that make one pass over the training cases.
      place: host batch to device batch.
      validate: state to flat validation scores; an empty mapping when a stop was
        asked for in the middle.
      score_name: which of the scores decides what is best; of a name that ends in
        ``loss`` the lowest is.
      shown: the scores that the console tells.
      checkpoints: where to save.
      describe_run: data position and seconds so far to the checkpoint's ``run`` item.
      log: where metrics go.
      stop_requested: polled after every step with how many are done and whether the run
        ends there anyway.
      keep_every_steps: also saves after every so many steps, for checkpoints that are to
        stay; 0 saves none besides.
      rate_factor: scores so far, higher is better, to a factor of the learning rate.
    """

    step: Callable[[TrainState, Any, Any], tuple[TrainState, Mapping[str, jax.Array]]]
    options: LoopOptions
    steps_per_epoch: int
    place: Callable[[dict[str, Any]], dict[str, Any]]
    validate: Callable[[TrainState], dict[str, float]]
    score_name: str
    shown: tuple[str, ...]
    checkpoints: Checkpoints
    describe_run: Callable[[dict[str, Any], float], dict[str, Any]]
    log: Log
    stop_requested: Callable[[int, bool], bool]
    keep_every_steps: int = 0
    rate_factor: Callable[[list[float]], float] = lambda scores: 1.0

    def run(
        self,
        state: TrainState,
        batches: Batches,
        *,
        history: list[dict[str, Any]],
        seconds_before: float = 0.0,
    ) -> LoopResult:
        """Trains until the last step, until patience runs out, or until asked to stop.

        The invariant that makes resuming exact: a checkpoint is saved between steps,
        before the next batch is drawn, and holds the position of the batch that would
        come next.

        Args:
          state: where to begin; its ``step`` says how far the run is.
          batches: host batches from that position on.
          history: rows of the earlier part of this run.
          seconds_before: how long that part took.

        Raises:
          InputError: updates were not finite ``nonfinite_limit`` times in a row;
            names the parts that were not.
        """
        options, total = self.options, self.options.total_steps(self.steps_per_epoch)
        done = int(state.step)
        interval = options.validation_interval(self.steps_per_epoch)
        scores = [self._signed(row[self.score_name]) for row in history
                  if row.get(self.score_name) is not None]  # fmt: skip
        factor = np.float32(self.rate_factor(scores))
        validated = done == 0 or any(
            row["step"] == done and self.score_name in row for row in history
        )
        begun = time.perf_counter()
        clock = _Clock(batches, done)
        first_step_seconds = validation_seconds = 0.0
        metrics: Mapping[str, jax.Array] = {}
        pending: list[Mapping[str, jax.Array]] = []
        saved = done
        stopped = ""
        while not stopped:
            last = done >= total
            due = done > 0 and (last or done % interval == 0)
            score = None
            if due and not validated:
                started = time.perf_counter()
                score = self._score(state, done, scores)
                validation_seconds += time.perf_counter() - started
                clock.pause(time.perf_counter() - started)
                validated = True
                factor = np.float32(self.rate_factor(scores))
            ending = "finished" if last else "early" if self._patience_is_out(scores) else ""
            stopped = "interrupted" if self.stop_requested(done, bool(ending)) else ending
            save = stopped or score is not None or done % options.save_every_steps == 0
            save = save or (self.keep_every_steps > 0 and done % self.keep_every_steps == 0)
            if save and done > saved and int(state.skipped_in_a_row) == 0:
                seconds = seconds_before + time.perf_counter() - begun
                self.checkpoints.save(
                    state, self.describe_run(batches.position, seconds), score=score
                )
                saved = done
            if stopped:
                break

            batch = self.place(clock.next_batch(metrics))
            state, metrics = self.step(state, batch, factor)
            pending.append(metrics)
            done += 1
            validated = False
            if not first_step_seconds:
                jax.block_until_ready(metrics)
                first_step_seconds = time.perf_counter() - begun - validation_seconds
                print(
                    f"first step after {first_step_seconds:.1f} s (reading, compiling, running)",
                    flush=True,
                )
                clock.restart(done)
            if done % options.log_every_steps == 0 or done >= total:
                self._log(state, done, total, jax.device_get(pending), clock)
                pending = []
        self.checkpoints.wait()
        seconds = time.perf_counter() - begun
        return LoopResult(
            state=state,
            stopped=stopped,
            numbers={
                "train/steps": float(done),
                "train/epochs": done / self.steps_per_epoch,
                "train/seconds": seconds_before + seconds,
                "train/first_step_seconds": first_step_seconds,
                "train/validation_seconds": validation_seconds,
                "train/skipped_steps": float(state.skipped),
                "train/data_wait_share": min(1.0, clock.idle_seconds / seconds),
            },
        )

    def _signed(self, value: float) -> float:
        return -value if self.score_name.endswith("loss") else value

    def _patience_is_out(self, scores: list[float]) -> bool:
        patience = self.options.patience
        return 0 < patience < len(scores) and max(scores[-patience:]) <= max(scores[:-patience])

    def _score(self, state: TrainState, done: int, scores: list[float]) -> float | None:
        validation = self.validate(state)
        if not validation:
            return None
        self.log.write(done, {"epoch": done / self.steps_per_epoch, **validation})
        value = validation.get(self.score_name)
        score = None if value is None else self._signed(value)
        told = "  ".join(f"{name} {validation[name]:.3f}" for name in self.shown
                         if name in validation)  # fmt: skip
        best = "  best so far" if score is not None and score >= max([score, *scores]) else ""
        print(f"step {done}  {told}{best}", flush=True)
        if score is not None:
            scores.append(score)
        return score

    def _log(
        self,
        state: TrainState,
        done: int,
        total: int,
        rows: list[Mapping[str, np.ndarray]],
        clock: _Clock,
    ) -> None:
        values = _means(rows)
        self._stop_on_persistent_nonfinite(state, values)
        rate, wait_share = clock.rates(done)
        shown = {f"train/{name}": value for name, value in values.items() if "finite/" not in name}
        self.log.write(
            done,
            {
                **shown,
                "epoch": done / self.steps_per_epoch,
                "train/steps_per_second": rate,
                "train/data_wait_share": wait_share,
                "train/skipped_steps": float(state.skipped),
            },
        )
        losses = "  ".join(
            f"{name} {value:.4f}"
            for name, value in values.items()
            if name.endswith(("loss", "accuracy")) and "/" not in name
        )
        left = format_duration((total - done) / rate) if rate else "?"
        print(
            f"step {done}/{total}  {losses}  {rate:.2f} steps/s  "
            f"waiting for data {100 * wait_share:.0f} %  {left} left",
            flush=True,
        )
        clock.restart(done)

    def _stop_on_persistent_nonfinite(self, state: TrainState, values: Mapping[str, float]) -> None:
        bad = [
            name.removeprefix("finite/")
            for name, value in values.items()
            if name.startswith("finite/") and value < 1
        ]
        if bad:
            print(f"warning: not finite, update skipped: {', '.join(bad)}", flush=True)
        if int(state.skipped_in_a_row) >= self.options.nonfinite_limit:
            raise InputError(
                f"step {int(state.step)}: {int(state.skipped_in_a_row)} updates in a row were not "
                f"finite ({', '.join(bad)}); look for broken scans, or start anew in another "
                "--workdir with a lower optimizer.learning_rate or with optimizer.clip_norm"
            )


class _Clock:
    """Steps and seconds since the last log line, validation left out.

    Attributes:
      idle_seconds: how long the device has had nothing to do because no batch was there.
    """

    def __init__(self, batches: Batches, done: int) -> None:
        self._batches = batches
        self.idle_seconds = 0.0
        self.restart(done)

    def restart(self, done: int) -> None:
        self._begun, self._done, self._idle = time.perf_counter(), done, self.idle_seconds

    def pause(self, seconds: float) -> None:
        self._begun += seconds

    def next_batch(self, running: Mapping[str, Any]) -> dict[str, Any]:
        """The next batch; the wait for it counts unless ``running`` is still worked out."""
        waited = self._batches.waited_seconds
        batch = next(self._batches)
        if all(value.is_ready() for value in running.values()):
            self.idle_seconds += self._batches.waited_seconds - waited
        return batch

    def rates(self, done: int) -> tuple[float, float]:
        """Steps per second, and the share of time spent waiting for data."""
        seconds = time.perf_counter() - self._begun
        if done == self._done or seconds <= 0:
            return 0.0, 0.0
        return (done - self._done) / seconds, min(1.0, (self.idle_seconds - self._idle) / seconds)


def _means(rows: list[Mapping[str, np.ndarray]]) -> dict[str, float]:
    """Mean over steps; for ``finite/...`` the least, so that one failure shows."""
    return {
        name: float(
            (np.min if name.startswith("finite/") else np.mean)([row[name] for row in rows])
        )
        for name in rows[0]
    }
