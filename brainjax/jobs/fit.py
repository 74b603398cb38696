"""One training run, whatever is trained: resumable at any moment, stopped by signals."""

from __future__ import annotations

import dataclasses
import functools
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import flax.linen as nn
import jax
import optax

from brainjax import parallel, training
from brainjax.errors import InputError
from brainjax.files import write_json
from brainjax.training import Augment, Checkpoints, LoopOptions, LoopResult, TrainState

CHECKPOINTS = "checkpoints"

INTERRUPTED = 143
"""Exit code after SIGTERM, as the shell reports it; the state has been saved."""


class Validate(Protocol):
    """Scores a state; gives nothing when a stop was asked for in the middle."""

    def __call__(
        self, state: TrainState, stop_requested: Callable[[], bool]
    ) -> dict[str, float]: ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Training:
    """What a run trains, on what, and how it is judged.

    Attributes:
      config: every setting, written to ``config.json``.
      seed: of the network's first parameters and of the steps.
      model: the network.
      objective: its loss.
      optimizer: the optax transformation.
      learning_rate: its schedule, for the log.
      augment: see ``training.train_step``.
      average_decay: of the parameters' moving average.
      accumulate: micro-batches of a step, see ``training.train_step``.
      loop: how long, and what happens how often.
      steps_per_epoch: batches that make one pass.
      batch_size: over all devices.
      create: makes the state from a random key.
      pretrained: parameters and running statistics to begin from; None for random ones.
      open_batches: batches from a saved number on.
      validate: state and a poll for stopping to scores; empty when stopped in the middle.
      score_name: which score decides what is best.
      shown: scores that the console tells.
      describe: data position and seconds so far to what a checkpoint says of itself.
      keep_every_epochs: checkpoints after every so many epochs stay; 0 keeps none besides
        the newest and the best.
      rate_factor: scores so far to a factor of the learning rate.
    """

    config: Mapping[str, Any]
    seed: int
    model: nn.Module
    objective: training.Objective
    optimizer: optax.GradientTransformation
    learning_rate: optax.Schedule
    augment: Augment
    average_decay: float
    accumulate: int
    loop: LoopOptions
    steps_per_epoch: int
    batch_size: int
    create: Callable[[jax.Array], TrainState]
    pretrained: Mapping[str, Any] | None = None
    open_batches: Callable[[int], Any]
    validate: Validate
    score_name: str
    shown: tuple[str, ...]
    describe: Callable[[dict[str, Any], float], dict[str, Any]]
    keep_every_epochs: int = 0
    rate_factor: Callable[[list[float]], float] = lambda scores: 1.0


def latest_run(workdir: Path) -> dict[str, Any] | None:
    """What the newest readable checkpoint in a run's folder says of itself, None without one."""
    folder = workdir / CHECKPOINTS
    if not folder.is_dir():
        return None
    with Checkpoints(folder) as checkpoints:
        found = checkpoints.latest_readable()
    return None if found is None else found[1]


def training_step(run: Training) -> Callable[..., Any]:
    """``train_step`` of a run, not yet compiled, as ``(state, batch, rate_factor) -> ...``."""
    return functools.partial(
        training.train_step,
        model=run.model,
        objective=run.objective,
        optimizer=run.optimizer,
        learning_rate=run.learning_rate,
        augment=run.augment,
        average_decay=run.average_decay,
        accumulate=run.accumulate,
    )


def fit(run: Training, workdir: Path) -> tuple[LoopResult, bool]:
    """Trains, or goes on after the last checkpoint in ``workdir``.

    Returns:
      How it ended, and whether this call trained at all.

    Raises:
      InputError: batch or micro-batches do not divide by the number of devices, or
        updates were not finite too often.
    """
    mesh = parallel.make_mesh(run.batch_size)
    _check_share(run, devices=mesh.size)
    everywhere = parallel.replicated(mesh)
    with parallel.cached():
        state = jax.jit(run.create, out_shardings=everywhere)(jax.random.key(run.seed))
    step = jax.jit(
        training_step(run),
        donate_argnums=0,
        out_shardings=everywhere,
        compiler_options=training.compiler_options(),
    )
    keep_every_steps = run.keep_every_epochs * run.steps_per_epoch
    with Checkpoints(workdir / CHECKPOINTS, keep_every_steps=keep_every_steps) as checkpoints:
        resumed = checkpoints.restore_latest(state)
        seconds_before, next_batch = 0.0, 0
        if resumed is not None:
            state, saved = resumed
            seconds_before, next_batch = saved["seconds"], saved["position"]["batch"]
            print(f"going on after step {int(state.step)} of {workdir}", flush=True)
        elif run.pretrained is not None:
            state = _begin_from(state, jax.device_put(dict(run.pretrained), everywhere))
        write_json(workdir / "config.json", run.config)
        start = int(state.step)
        log = training.MetricsLog(workdir, start_step=start)
        batches = run.open_batches(next_batch)
        stop = _StopOnSignal()
        try:
            loop = training.Loop(
                step=step,
                options=run.loop,
                steps_per_epoch=run.steps_per_epoch,
                place=functools.partial(parallel.place_batch, mesh=mesh),
                validate=functools.partial(run.validate, stop_requested=stop),
                score_name=run.score_name,
                shown=run.shown,
                checkpoints=checkpoints,
                describe_run=run.describe,
                log=log,
                stop_requested=stop,
                keep_every_steps=keep_every_steps,
                rate_factor=run.rate_factor,
            )
            result = loop.run(
                state,
                batches,
                history=training.read_history(log.path),
                seconds_before=seconds_before,
            )
        finally:
            batches.close()
            log.close()
            stop.restore()
    if result.stopped == "interrupted":
        print(
            f"stopped after step {int(result.state.step)}, saved; run the same command to go on",
            flush=True,
        )
    if result.stopped == "early":
        print(f"stopped early: no better score in {run.loop.patience} validations", flush=True)
    return result, result.numbers["train/steps"] > start


def _check_share(run: Training, *, devices: int) -> None:
    """Every device has to get its share of every micro-batch."""
    together = run.accumulate * devices
    if run.batch_size % together:
        raise InputError(
            f"batches.batch_size {run.batch_size} with batches.accumulate {run.accumulate} makes "
            f"micro-batches of {run.batch_size // run.accumulate}, which do not divide by the "
            f"{devices} devices here; try batch_size {-(-run.batch_size // together) * together}"
        )


def _begin_from(state: TrainState, variables: Mapping[str, Any]) -> TrainState:
    average = jax.tree.map(jax.numpy.copy, variables["params"]) if state.average else {}
    return dataclasses.replace(
        state,
        params=variables["params"],
        batch_stats=variables["batch_stats"],
        average=average,
    )


class _StopOnSignal:
    """Becomes true on SIGTERM or SIGINT; a second SIGINT interrupts at once."""

    def __init__(self) -> None:
        self._asked = False
        self._before = {
            number: signal.signal(number, self._ask) for number in (signal.SIGTERM, signal.SIGINT)
        }

    def __call__(self) -> bool:
        return self._asked

    def restore(self) -> None:
        """Puts the handlers back that were there before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: Any) -> None:
        del frame
        if self._asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._asked = True
        print("asked to stop: saving after this step", flush=True)
