"""One training run from raw scans to the report, resumable at any moment."""

from __future__ import annotations

import functools
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from brainjax import parallel, training
from brainjax.batches import batches_per_epoch, evaluation_cases, training_batches
from brainjax.evaluation import RegionScore, score_case, summarize
from brainjax.experiment import Experiment
from brainjax.files import write_json
from brainjax.inference import (
    Predict,
    SlidingWindowOptions,
    labels_from_probabilities,
    postprocess,
    predict_volume,
    predict_whole_volume,
)
from brainjax.jobs.evaluate import (
    find_test_cohort,
    finish,
    numbers_of_training,
    region_classes,
)
from brainjax.jobs.predictor import CHECKPOINTS, compiled_predict, load_predictor
from brainjax.jobs.prepare import Data, find_data, prepare
from brainjax.jobs.saved_run import check_configuration, check_data, describe_run
from brainjax.records import Records
from brainjax.scans import CONVENTIONS
from brainjax.training import Checkpoints, TrainState

INTERRUPTED = 143
"""Exit code after SIGTERM, as the shell reports it; the state has been saved."""

SCORE = "val/dice/mean"


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
    folder, found = workdir / CHECKPOINTS, None
    if folder.is_dir():
        with Checkpoints(folder) as checkpoints:
            found = checkpoints.latest_readable()
        if found is not None:
            check_configuration(built, found[1], workdir)
    test = find_test_cohort(built)
    data = find_data(built, workdir)
    if found is not None:
        check_data(data, found[1], workdir)
    records = prepare(built, data, workdir)
    steps_per_epoch = batches_per_epoch(len(data.training), batch_size=built.batches.batch_size)
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
        seconds_before, next_batch = 0.0, 0
        if resumed is not None:
            state, run = resumed
            seconds_before, next_batch = run["seconds"], run["position"]["batch"]
            print(f"going on after step {int(state.step)} of {workdir}", flush=True)
        write_json(workdir / "config.json", built.config)
        start = int(state.step)
        log = training.MetricsLog(workdir, start_step=start)
        batches = training_batches(records, data.training, built.batches, start_step=next_batch)
        stop = _StopOnSignal()
        try:
            loop = training.Loop(
                step=step,
                options=built.loop,
                steps_per_epoch=steps_per_epoch,
                place=functools.partial(parallel.place_batch, mesh=mesh),
                validate=_make_validation(built, data, records, compiled_predict(model), stop),
                score_name=SCORE,
                checkpoints=checkpoints,
                describe_run=functools.partial(describe_run, built, data),
                log=log,
                stop_requested=stop,
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
        return INTERRUPTED
    if result.stopped == "early":
        print(f"stopped early: no better score in {built.loop.patience} validations", flush=True)
    earlier = {} if result.numbers["train/steps"] > start else numbers_of_training(workdir)
    finish(
        load_predictor([workdir]),
        workdir,
        built=built,
        data=data,
        test=test,
        numbers=result.numbers | earlier,
    )
    return 0


def _make_validation(
    built: Experiment,
    data: Data,
    records: Records,
    predict: Predict,
    stop_requested: Callable[[], bool],
) -> Callable[[TrainState], dict[str, float]]:
    """Dice of the first validation cases, from their records."""
    chosen = data.validation[: built.evaluation.validation_cases or None]
    labels_of = CONVENTIONS[data.cohort.label_convention]
    window = built.inference.window

    def validate(state: TrainState) -> dict[str, float]:
        variables = [state.variables()]
        scores: list[RegionScore] = []
        for _, case in evaluation_cases(records, chosen):
            if stop_requested():
                return {}
            if isinstance(window, SlidingWindowOptions):
                image, labels = case.image, case.labels
                probabilities = predict_volume(predict, variables, image, window)
            else:
                image, labels = case.full_image(), case.full_labels()
                probabilities = predict_whole_volume(predict, variables, image, window)
            predicted = postprocess(
                labels_from_probabilities(probabilities), built.inference.postprocess
            )
            scores += score_case(
                predicted,
                labels,
                case_id=case.record.case_id,
                regions=region_classes(labels_of),
                spacing_mm=case.record.spacing_mm,
                convention=built.evaluation.convention_for(labels_of),
                with_surface=False,
            )
        summary = summarize(scores, prefix="val")
        return {name: value for name, value in summary.items() if name.startswith("val/dice/")}

    return validate


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
