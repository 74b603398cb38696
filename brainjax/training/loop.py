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
from brainjax.training.logs import MetricsLog, format_duration
from brainjax.training.state import TrainState


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoopOptions:
    """How long a run is and what happens how often.

    Attributes:
      steps: updates in all; 0 when ``epochs`` is given.
      epochs: passes over the training cases; 0 when ``steps`` is given.
      log_every_steps: one console line and one row of metrics.jsonl.
      validate_every_steps: scores the validation cases and saves; the last step always does.
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

    def __post_init__(self) -> None:
        if (self.steps > 0) == (self.epochs > 0):
            raise ValueError(
                f"loop.steps {self.steps} and loop.epochs {self.epochs}: set one of them "
                "to how long to train, and the other to 0"
            )
        for name in ("log_every_steps", "validate_every_steps", "save_every_steps",
                     "nonfinite_limit"):
            if getattr(self, name) < 1:
                raise ValueError(f"loop.{name} {getattr(self, name)}: expected 1 or more")

    def total_steps(self, steps_per_epoch: int) -> int:
        """Updates in all."""
        return self.steps or self.epochs * steps_per_epoch


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


def run(
    state: TrainState,
    batches: Batches,
    step: Callable[[TrainState, Any], tuple[TrainState, Mapping[str, jax.Array]]],
    *,
    options: LoopOptions,
    steps_per_epoch: int,
    place: Callable[[dict[str, Any]], dict[str, Any]],
    validate: Callable[[TrainState], dict[str, float]],
    score_name: str,
    checkpoints: Checkpoints,
    describe_run: Callable[[dict[str, Any]], dict[str, Any]],
    log: MetricsLog,
    history: list[dict[str, Any]],
    stop_requested: Callable[[], bool],
) -> LoopResult:
    """Trains until the last step, until patience runs out, or until asked to stop.

    The invariant that makes resuming exact: a checkpoint is saved between
    steps, before the next batch is drawn, and holds the position of the batch
    that would come next.

    Args:
      state: where to begin; its ``step`` says how far the run is.
      batches: host batches from that position on.
      step: the compiled ``train_step``.
      options: see ``LoopOptions``.
      steps_per_epoch: batches that make one pass over the training cases.
      place: host batch to device batch.
      validate: state to flat validation scores.
      score_name: which of them decides what is best.
      checkpoints: where to save.
      describe_run: data position to the checkpoint's ``run`` item.
      log: where metrics go.
      history: rows of an earlier part of this run, for patience.
      stop_requested: polled after every step.

    Raises:
      InputError: updates were not finite ``nonfinite_limit`` times in a row;
        names the parts that were not.
    """
    total = options.total_steps(steps_per_epoch)
    done = int(state.step)
    scores = [row[score_name] for row in history if row.get(score_name) is not None]
    begun = clock = time.perf_counter()
    compile_seconds = validation_seconds = 0.0
    waited_before, clock_step = batches.waited_seconds, done
    pending: list[Mapping[str, jax.Array]] = []
    stopped = "finished" if done >= total else ""

    while not stopped:
        batch = place(next(batches))
        state, metrics = step(state, batch)
        pending.append(metrics)
        if not compile_seconds:
            jax.block_until_ready(metrics)
            compile_seconds = time.perf_counter() - clock
            print(f"first step after {compile_seconds:.1f} s (reading, compiling, running)",
                  flush=True)
            clock, clock_step = time.perf_counter(), done + 1
            waited_before = batches.waited_seconds
        done += 1
        last = done >= total

        if done % options.log_every_steps == 0 or last:
            values = _means(jax.device_get(pending))
            pending = []
            _stop_on_persistent_nonfinite(state, values, options.nonfinite_limit)
            seconds = time.perf_counter() - clock
            waited = batches.waited_seconds - waited_before
            steps_timed = max(done - clock_step, 1)
            rate = steps_timed / seconds if seconds > 0 and done > clock_step else 0.0
            wait_share = waited / seconds if seconds > 0 else 0.0
            row = {f"train/{name}": value for name, value in values.items()
                   if not name.startswith("finite/")}
            row |= {
                "epoch": done / steps_per_epoch,
                "train/steps_per_second": rate,
                "train/data_wait_share": min(wait_share, 1.0),
                "train/skipped_steps": float(state.skipped),
            }
            log.write(done, row)
            print(_console_line(done, total, values, rate, wait_share), flush=True)
            clock, clock_step = time.perf_counter(), done
            waited_before = batches.waited_seconds

        score = None
        if done % options.validate_every_steps == 0 or last:
            started = time.perf_counter()
            validation = validate(state)
            validation_seconds += time.perf_counter() - started
            if validation:
                log.write(done, {"epoch": done / steps_per_epoch, **validation})
                score = validation.get(score_name)
                if score is not None:
                    scores.append(score)
                best = "  best so far" if score is not None and score >= max(scores) else ""
                told = "  ".join(
                    f"{name} {value:.3f}" for name, value in validation.items() if "/dice/" in name
                )
                print(f"step {done}  {told}{best}", flush=True)
            clock += time.perf_counter() - started
        if last:
            stopped = "finished"
        elif options.patience and len(scores) > options.patience and (
            max(scores[-options.patience:]) <= max(scores[:-options.patience])
        ) and score is not None:
            stopped = "early"
        elif stop_requested():
            stopped = "interrupted"
        if stopped or score is not None or done % options.save_every_steps == 0:
            checkpoints.save(state, describe_run(batches.position), score=score)
    checkpoints.wait()
    seconds = time.perf_counter() - begun
    return LoopResult(
        state=state,
        stopped=stopped,
        numbers={
            "train/steps": float(done),
            "train/epochs": done / steps_per_epoch,
            "train/seconds": seconds,
            "train/first_step_seconds": compile_seconds,
            "train/validation_seconds": validation_seconds,
            "train/skipped_steps": float(state.skipped),
            "train/data_wait_share": min(1.0, batches.waited_seconds / seconds) if seconds else 0.0,
        },
    )


def _means(rows: list[Mapping[str, np.ndarray]]) -> dict[str, float]:
    """Mean over steps; for ``finite/...`` the least, so that one failure shows."""
    return {
        name: float((np.min if name.startswith("finite/") else np.mean)([row[name] for row in rows]))
        for name in rows[0]
    }


def _console_line(
    done: int, total: int, values: Mapping[str, float], rate: float, wait_share: float
) -> str:
    losses = "  ".join(
        f"{name} {value:.4f}" for name, value in values.items()
        if name.endswith("loss") and "/" not in name
    )
    left = format_duration((total - done) / rate) if rate else "?"
    return (
        f"step {done}/{total}  {losses}  {rate:.2f} steps/s  "
        f"waiting for data {100 * min(wait_share, 1):.0f} %  {left} left"
    )


def _stop_on_persistent_nonfinite(
    state: TrainState, values: Mapping[str, float], limit: int
) -> None:
    bad = [name.removeprefix("finite/") for name, value in values.items()
           if name.startswith("finite/") and value < 1]
    if bad:
        print(f"warning: not finite, update skipped: {', '.join(bad)}", flush=True)
    if int(state.skipped_in_a_row) >= limit:
        raise InputError(
            f"step {int(state.step)}: {int(state.skipped_in_a_row)} updates in a row were not "
            f"finite ({', '.join(bad)}); lower optimizer.learning_rate, set optimizer.clip_norm, "
            "or look for broken scans"
        )
