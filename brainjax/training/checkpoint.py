"""Saving and restoring runs: the only orbax import.

A checkpoint holds three items: ``model`` (parameters, running statistics,
their moving average), ``training`` (optimiser, key, counters) and ``run`` (data
position, the whole configuration, modality order, label convention, versions),
so that training goes on exactly and prediction needs nothing but its path.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import math
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as policies

from brainjax import parallel
from brainjax.errors import InputError
from brainjax.training.state import TrainState

_MODEL = ("params", "batch_stats", "average")
_TRAINING = ("step", "optimizer", "key", "skipped", "skipped_in_a_row")
_SCORE = "score"


class Checkpoints:
    """Checkpoints of one run in ``<directory>/<step>/``.

    The newest ``keep_latest`` and the best by validation score are kept, and those
    after every ``keep_every_steps`` steps unless that is 0. A save goes to a temporary
    folder that is renamed when it is whole, so a process may be killed at any moment.
    """

    def __init__(
        self,
        directory: Path,
        *,
        keep_latest: int = 2,
        keep_every_steps: int = 0,
        read_only: bool = False,
    ) -> None:
        self.directory = directory.absolute()
        if read_only and not self.directory.is_dir():
            raise InputError(
                f"{self.directory}: no checkpoints here; expected the folder that training wrote"
            )
        for name in ("orbax", "absl"):
            logging.getLogger(name).setLevel(logging.ERROR)
        snapshots = [policies.EveryNSteps(keep_every_steps)] if keep_every_steps else []
        self._manager = ocp.CheckpointManager(
            self.directory,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=policies.AnyPreservationPolicy(
                    [
                        policies.LatestN(keep_latest),
                        policies.BestN(
                            get_metric_fn=lambda metrics: metrics[_SCORE],
                            n=1,
                            keep_checkpoints_without_metrics=False,
                        ),
                        *snapshots,
                    ]
                ),
                save_decision_policy=policies.save_decision_policy.FixedIntervalPolicy(1),
                best_fn=lambda metrics: metrics[_SCORE],
                best_mode="max",
                read_only=read_only,
                enable_async_checkpointing=not read_only,
            ),
            handler_registry=_handlers(),
        )

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._manager.close()

    @property
    def steps(self) -> list[int]:
        """Every step that is saved, in order."""
        return sorted(self._manager.all_steps())

    @property
    def latest_step(self) -> int | None:
        """The newest step that was saved, None when there is none."""
        return self._manager.latest_step()

    @property
    def best_step(self) -> int | None:
        """The step with the best validation score, else the newest."""
        best = self._manager.best_step()
        return self.latest_step if best is None else best

    def save(self, state: TrainState, run: dict[str, Any], *, score: float | None = None) -> None:
        """Saves in the background; a step that is already saved is left alone.

        Args:
          state: to save.
          run: JSON-able facts, see the module's docstring.
          score: validation score of this state, higher is better; NaN is none.
        """
        step = int(state.step)
        if step in self._manager.all_steps():
            return
        self._manager.save(
            step,
            args=ocp.args.Composite(
                model=ocp.args.StandardSave({name: getattr(state, name) for name in _MODEL}),
                training=ocp.args.StandardSave({name: getattr(state, name) for name in _TRAINING}),
                run=ocp.args.JsonSave(run),
            ),
            metrics=None if score is None or not math.isfinite(score) else {_SCORE: float(score)},
            force=True,
        )

    def wait(self) -> None:
        """Returns when all saves are on disk."""
        self._manager.wait_until_finished()

    def read_run(self, step: int) -> dict[str, Any]:
        """The ``run`` item of a checkpoint.

        Raises:
          InputError: it cannot be read.
        """
        try:
            restored = self._manager.restore(
                step, args=ocp.args.Composite(run=ocp.args.JsonRestore())
            )
        except Exception as error:
            raise self._unreadable(step, error) from error
        return dict(restored.run)

    def latest_readable(self) -> tuple[int, dict[str, Any]] | None:
        """The newest checkpoint whose ``run`` item can be read: its step and that item.

        Returns:
          None when nothing was saved.

        Raises:
          InputError: there are checkpoints, but none can be read.
        """
        steps = sorted(self._manager.all_steps(), reverse=True)
        for step in steps:
            try:
                return step, _by_all(functools.partial(self.read_run, step))
            except InputError as error:
                if step == steps[-1]:
                    raise
                self._set_aside(step, error)
        return None

    def restore_latest(self, state: TrainState) -> tuple[TrainState, dict[str, Any]] | None:
        """The newest checkpoint that can be read, in the places of ``state``.

        The caller has compared ``latest_readable``'s configuration with its own, so
        that what cannot be restored is damaged, not different. Such a checkpoint is
        passed over, told, and its folder renamed, so that its step can be saved again.

        Returns:
          State and ``run`` item; None when nothing was saved.

        Raises:
          InputError: there are checkpoints, but none can be read.
        """
        while (found := self.latest_readable()) is not None:
            step, run = found
            try:
                restored = _by_all(functools.partial(self._restore, step, state))
            except InputError as error:
                if len(self._manager.all_steps()) == 1:
                    raise
                self._set_aside(step, error)
                continue
            return dataclasses.replace(state, **restored.model, **restored.training), run
        return None

    def _restore(self, step: int, state: TrainState) -> Any:
        """The items ``model`` and ``training``, in the places of ``state``."""
        model, training = (
            _abstract({name: getattr(state, name) for name in names})
            for names in (_MODEL, _TRAINING)
        )
        try:
            return self._manager.restore(
                step,
                args=ocp.args.Composite(
                    model=ocp.args.StandardRestore(model),
                    # Vectors may be padded for another number of devices.
                    training=ocp.args.StandardRestore(training, strict=False),
                ),
            )
        except MemoryError:
            raise
        except Exception as error:
            raise self._unreadable(step, error) from error

    def _set_aside(self, step: int, error: InputError) -> None:
        folder = self.directory / str(step)
        aside = self.directory / f"unreadable-{step}-{time.time_ns()}"
        print(f"warning: {error}; renamed to {aside.name}, going on from an older one", flush=True)
        if parallel.is_first():
            folder.rename(aside)
        parallel.barrier()
        self._manager.reload()

    def restore_model(self, step: int, like: TrainState) -> dict[str, Any]:
        """Variables for prediction from one checkpoint.

        Args:
          step: which.
          like: a state of the right shapes (``jax.eval_shape`` is enough).

        Raises:
          InputError: it cannot be read or does not fit.
        """
        try:
            restored = self._manager.restore(
                step,
                args=ocp.args.Composite(
                    model=ocp.args.StandardRestore(
                        _abstract({name: getattr(like, name) for name in _MODEL})
                    )
                ),
            )
        except Exception as error:
            raise self._unreadable(step, error) from error
        model = restored.model
        params = model["average"] if jax.tree.leaves(model["average"]) else model["params"]
        return {"params": params, "batch_stats": model["batch_stats"]}

    def _unreadable(self, step: int, error: Exception) -> InputError:
        reason = " ".join(str(error).split())[:200]
        return InputError(
            f"{self.directory / str(step)}: checkpoint cannot be read "
            f"({type(error).__name__}: {reason}); use another one, or move that folder away"
        )


def _by_all(read: Callable[[], Any]) -> Any:
    """What this process reads, where all processes can read it.

    Raises:
      InputError: one of them cannot.
    """
    found, failure = None, None
    try:
        found = read()
    except InputError as error:
        failure = error
    failures = [error for error in parallel.gather(failure) if error is not None]
    if failures:
        raise failures[0]
    return found


def _handlers() -> ocp.handlers.DefaultCheckpointHandlerRegistry:
    registry = ocp.handlers.DefaultCheckpointHandlerRegistry()
    for item in ("model", "training"):
        handler = ocp.StandardCheckpointHandler()
        registry.add(item, ocp.args.StandardSave, handler)
        registry.add(item, ocp.args.StandardRestore, handler)
    json_handler = ocp.JsonCheckpointHandler()
    registry.add("run", ocp.args.JsonSave, json_handler)
    registry.add("run", ocp.args.JsonRestore, json_handler)
    return registry


def _abstract(tree: Any) -> Any:
    """Shapes, types and places; a leaf without a place goes to the first device."""
    here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])

    def describe(leaf: Any) -> jax.ShapeDtypeStruct:
        sharding = getattr(leaf, "sharding", None) or here
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

    return jax.tree.map(describe, tree)
