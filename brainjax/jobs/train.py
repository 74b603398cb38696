"""One training run from raw scans to the report, resumable at any moment."""

from __future__ import annotations

import functools
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from brainjax import parallel, training
from brainjax.batches import batches_per_epoch, evaluation_cases, training_batches
from brainjax.errors import InputError
from brainjax.evaluation import score_case, summarize
from brainjax.experiment import Experiment
from brainjax.files import write_json
from brainjax.inference import (
    SlidingWindowOptions,
    labels_from_probabilities,
    postprocess,
    predict_volume,
    predict_whole_volume,
)
from brainjax.jobs.evaluate import finish, numbers_of_training
from brainjax.jobs.predictor import CHECKPOINTS, compiled_predict, describe_run, load_predictor
from brainjax.jobs.prepare import PreparedData, prepare
from brainjax.scans import CONVENTIONS
from brainjax.training import Checkpoints, TrainState

INTERRUPTED = 143
"""Exit code after SIGTERM, as the shell reports it; the state has been saved."""

SCORE = "val/dice/mean"
_MAY_CHANGE = ("loop", "evaluation", "inference")


def train(built: Experiment, workdir: Path) -> int:
    """Trains, or goes on training, then evaluates and reports.

    Running it again on the same folder goes on after the last checkpoint; when
    the run was finished it only evaluates again.

    Returns:
      0, or ``INTERRUPTED`` when SIGTERM or SIGINT asked to stop and the state is saved.

    Raises:
      InputError: scans or configuration cannot be used, or the folder holds a
        run of another configuration.
    """
    data = prepare(built, workdir)
    steps_per_epoch = batches_per_epoch(
        len(data.training), batch_size=built.batches.batch_size
    )
    mesh = parallel.make_mesh(built.batches.batch_size)
    model = built.make_model(data.num_classes)
    optimizer = built.make_optimizer(steps_per_epoch)
    create = functools.partial(
        training.create_state,
        image=built.patch,
        model=model,
        optimizer=optimizer,
        keep_average=built.optimizer.average_decay > 0,
    )
    state = jax.jit(create, out_shardings=parallel.replicated(mesh))(jax.random.key(built.seed))
    step = jax.jit(
        functools.partial(
            training.train_step,
            model=model,
            objective=built.make_objective(steps_per_epoch),
            optimizer=optimizer,
            learning_rate=built.make_learning_rate(steps_per_epoch),
            augment=built.augment,
            average_decay=built.optimizer.average_decay,
        ),
        donate_argnums=0,
        out_shardings=parallel.replicated(mesh),
    )
    with Checkpoints(workdir / CHECKPOINTS) as checkpoints:
        resumed = checkpoints.restore_latest(state)
        if resumed is not None:
            state, run = resumed
            _check_same_run(built, data, run, workdir)
            print(f"going on after step {int(state.step)} of {workdir}", flush=True)
        write_json(workdir / "config.json", built.config)
        start = int(state.step)
        log = training.MetricsLog(workdir, start_step=start)
        batches = training_batches(
            data.records, data.training, built.batches, start_step=start
        )
        stop = _StopOnSignal()
        try:
            result = training.run(
                state,
                batches,
                step,
                options=built.loop,
                steps_per_epoch=steps_per_epoch,
                place=functools.partial(parallel.place_batch, mesh=mesh),
                validate=_make_validation(built, data, compiled_predict(model)),
                score_name=SCORE,
                checkpoints=checkpoints,
                describe_run=functools.partial(
                    describe_run, built, data.cohort.label_convention
                ),
                log=log,
                history=training.read_history(log.path),
                stop_requested=stop,
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
        return INTERRUPTED
    if result.stopped == "early":
        print(f"stopped early: no better score in {built.loop.patience} validations", flush=True)
    earlier = {} if result.numbers["train/steps"] > start else numbers_of_training(workdir)
    finish(
        load_predictor([workdir]),
        workdir,
        built=built,
        validation=data.validation_files(),
        label_convention=data.cohort.label_convention,
        numbers=result.numbers | earlier | {"val/patients_seen_in_training": float(data.seen)},
        notes=data.notes,
    )
    return 0


def _make_validation(
    built: Experiment, data: PreparedData, predict: Any
) -> Callable[[TrainState], dict[str, float]]:
    """Dice of the first validation cases, from their records."""
    chosen = data.validation[: built.evaluation.validation_cases or None]
    labels_of = CONVENTIONS[data.cohort.label_convention]
    convention = (
        labels_of.evaluation
        if built.evaluation.convention == "auto"
        else built.evaluation.convention
    )
    regions = {name: labels_of.region_classes(name) for name in ("ET", "WT", "TC")}
    window = built.inference.window

    def validate(state: TrainState) -> dict[str, float]:
        variables = [state.variables()]
        scores = []
        for _, case in evaluation_cases(data.records, chosen):
            image = np.asarray(case.image, np.float32)
            if isinstance(window, SlidingWindowOptions):
                probabilities = predict_volume(predict, variables, image, window)
            else:
                probabilities = predict_whole_volume(predict, variables, image, window)
            labels = postprocess(
                labels_from_probabilities(probabilities), built.inference.postprocess
            )
            scores += score_case(
                labels,
                case.labels,
                case_id=case.record.case_id,
                regions=regions,
                spacing_mm=case.record.spacing_mm,
                convention=convention,
                with_surface=False,
            )
        return {
            name: value
            for name, value in summarize(scores, prefix="val").items()
            if name.startswith("val/dice/")
        }

    return validate


def _check_same_run(
    built: Experiment, data: PreparedData, run: dict[str, Any], workdir: Path
) -> None:
    saved = {name: section for name, section in run["config"].items() if name not in _MAY_CHANGE}
    wanted = {name: section for name, section in built.config.items() if name not in _MAY_CHANGE}
    changed = _differences(saved, _as_json(wanted))
    if run["label_convention"] != data.cohort.label_convention:
        changed.append(
            f"label convention {run['label_convention']} -> {data.cohort.label_convention}"
        )
    if changed:
        raise InputError(
            f"{workdir} holds a run of another configuration ({'; '.join(changed)}); "
            "choose another --workdir, or repeat the first run's options to go on with it"
        )


def _differences(saved: Any, wanted: Any, name: str = "") -> list[str]:
    if isinstance(saved, dict) and isinstance(wanted, dict):
        return [
            line
            for key in sorted({*saved, *wanted})
            for line in _differences(saved.get(key), wanted.get(key), f"{name}.{key}".lstrip("."))
        ]
    return [] if saved == wanted else [f"{name} {saved} -> {wanted}"]


def _as_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _as_json(item) for name, item in value.items()}
    if isinstance(value, tuple):
        return [_as_json(item) for item in value]
    return value


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
