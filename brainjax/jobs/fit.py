"""One training run, whatever is trained: resumable at any moment, stopped by signals."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import flax.linen as nn
import jax
import optax

from brainjax import parallel, training
from brainjax.errors import InputError
from brainjax.files import write_json
from brainjax.layers.manual_axes import BATCH_AXIS
from brainjax.parallel import ParallelOptions
from brainjax.training import Augment, Checkpoints, LoopOptions, LoopResult, TrainState

CHECKPOINTS = "checkpoints"
METRICS = "metrics.jsonl"

INTERRUPTED = 143
"""Exit code after SIGTERM, as the shell reports it; the state has been saved."""


class Validate(Protocol):
    """Scores a state; gives nothing when a stop was asked for in the middle.

    The network's variables lie on this process's devices alone. Every process calls it at
    the same time and gives the same.
    """

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
      batch_size: over all devices of all processes.
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
      parallel: how the step is spread over the devices.
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
    parallel: ParallelOptions = dataclasses.field(default_factory=ParallelOptions)


def latest_run(workdir: Path) -> dict[str, Any] | None:
    """What the newest readable checkpoint in a run's folder says of itself, None without one."""
    folder = workdir / CHECKPOINTS
    if not parallel.from_first(folder.is_dir):
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
    mesh = parallel.make_mesh(run.batch_size, run.parallel)
    _check_share(run, parts=mesh.shape[BATCH_AXIS])
    stored = training.StoredState(jax.eval_shape(run.create, jax.random.key(0)), mesh, run.parallel)
    with parallel.cached():
        state = jax.jit(lambda key: stored.pack(run.create(key)), out_shardings=stored.shardings)(
            jax.random.key(run.seed)
        )
    step = parallel.lift_step(
        stored.step(training_step(run)),
        mesh,
        run.parallel,
        state_shardings=stored.shardings,
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
            state = _begin_from(state, run.pretrained, stored.shardings)
        start = int(state.step)
        log = _open_log(run, workdir, start)
        history = parallel.from_first(lambda: training.read_history(workdir / METRICS))
        batches = run.open_batches(next_batch)
        stop = parallel.StopOnSignal()

        def validate(state: TrainState) -> dict[str, float]:
            model = {name: getattr(state, name) for name in ("params", "batch_stats", "average")}
            here = parallel.local_copy(model, mesh, run.parallel)
            return run.validate(dataclasses.replace(state, **here), stop.asked)

        try:
            loop = training.Loop(
                step=step,
                options=run.loop,
                steps_per_epoch=run.steps_per_epoch,
                place=functools.partial(parallel.place_batch, mesh=mesh),
                validate=validate,
                score_name=run.score_name,
                shown=run.shown,
                checkpoints=checkpoints,
                describe_run=run.describe,
                log=log,
                stop_requested=stop.after,
                keep_every_steps=keep_every_steps,
                rate_factor=run.rate_factor,
            )
            result = loop.run(state, batches, history=history, seconds_before=seconds_before)
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


def _open_log(run: Training, workdir: Path, start: int) -> training.Log:
    """The first process writes; the others only compute."""
    if not parallel.is_first():
        return training.SilentLog()
    write_json(workdir / "config.json", run.config)
    return training.MetricsLog(workdir, start_step=start)


def _check_share(run: Training, *, parts: int) -> None:
    """Every part of the mesh has to get its share of every micro-batch."""
    together = run.accumulate * parts
    if run.batch_size % together:
        raise InputError(
            f"batches.batch_size {run.batch_size} with batches.accumulate {run.accumulate} makes "
            f"micro-batches of {run.batch_size // run.accumulate}, which do not divide by the "
            f"{parts} devices here; try batch_size {-(-run.batch_size // together) * together}"
        )


def _begin_from(state: TrainState, variables: Mapping[str, Any], shardings: Any) -> TrainState:
    """The state with other parameters and running statistics."""

    def begin(state: TrainState, variables: Mapping[str, Any]) -> TrainState:
        average = jax.tree.map(jax.numpy.copy, variables["params"]) if state.average else {}
        return dataclasses.replace(
            state,
            params=variables["params"],
            batch_stats=variables["batch_stats"],
            average=average,
        )

    return jax.jit(begin, out_shardings=shardings)(state, jax.device_get(dict(variables)))
