"""One training run from raw scans to the report, resumable at any moment."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

from brainjax import parallel
from brainjax.batches import batches_per_epoch, evaluation_cases, training_batches
from brainjax.evaluation import score_case, summarize
from brainjax.experiment import Experiment
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
from brainjax.jobs.fit import INTERRUPTED, Training, Validate, fit, latest_run
from brainjax.jobs.predictor import compiled_predict, load_predictor, window_for_devices
from brainjax.jobs.prepare import Data, find_data, prepare
from brainjax.jobs.saved_run import check_configuration, check_data, describe_run
from brainjax.records import Records
from brainjax.scans import CONVENTIONS
from brainjax.training import TrainState, create_state

SCORE = "val/dice/mean"


def train(built: Experiment, workdir: Path, *, home: Path | None = None) -> int:
    """Trains, or goes on training, then evaluates and reports.

    Running it again on the same folder goes on after the last checkpoint; when
    the run was finished it only evaluates again.

    Args:
      built: the experiment.
      workdir: folder of the run.
      home: folder of phantoms and of records; ``workdir`` when None.

    Returns:
      0, or ``INTERRUPTED`` when SIGTERM or SIGINT asked to stop and the state is saved.

    Raises:
      InputError: scans or configuration cannot be used, or the folder holds a
        run of another configuration.
    """
    test = find_test_cohort(built)
    run, data = segmentation_training(built, workdir, home=home)
    result, trained = fit(run, workdir)
    if result.stopped == "interrupted":
        return INTERRUPTED
    finish(
        load_predictor([workdir], parallel=built.parallel),
        workdir,
        built=built,
        data=data,
        test=test,
        numbers=result.numbers | ({} if trained else numbers_of_training(workdir)),
    )
    return 0


def segmentation_training(
    built: Experiment, workdir: Path, *, home: Path | None = None
) -> tuple[Training, Data]:
    """What ``train`` trains, and the scans.

    Raises:
      InputError: as there.
    """
    found = latest_run(workdir)
    if found is not None:
        check_configuration(built, found, workdir)
    with parallel.first_goes_first():
        data = find_data(built, home or workdir)
    if found is not None:
        check_data(data, found, workdir)
    with parallel.first_goes_first():
        records = prepare(built, data, home or workdir)
    steps_per_epoch = batches_per_epoch(len(data.training), batch_size=built.batches.batch_size)
    model = built.make_model(data.num_classes)
    optimizer = built.make_optimizer(steps_per_epoch)
    return (
        Training(
            config=built.config,
            seed=built.seed,
            model=model,
            objective=built.make_objective(steps_per_epoch),
            optimizer=optimizer,
            learning_rate=built.make_learning_rate(steps_per_epoch),
            augment=built.make_augment(),
            average_decay=built.optimizer.average_decay,
            accumulate=built.accumulate,
            loop=built.loop,
            steps_per_epoch=steps_per_epoch,
            batch_size=built.batches.batch_size,
            create=functools.partial(
                create_state,
                image=built.patch,
                model=model,
                optimizer=optimizer,
                keep_average=built.optimizer.average_decay > 0,
            ),
            open_batches=lambda start: training_batches(
                records, data.training, built.batches, start_step=start, shard=parallel.shard()
            ),
            validate=_make_validation(
                built,
                data,
                records,
                compiled_predict(model, built.parallel, regions=built.trains_regions),
            ),
            score_name=SCORE,
            shown=tuple(f"val/dice/{name}" for name in ("ET", "WT", "TC", "mean")),
            describe=functools.partial(describe_run, built, data),
            parallel=built.parallel,
        ),
        data,
    )


def _make_validation(
    built: Experiment,
    data: Data,
    records: Records,
    predict: Predict,
) -> Validate:
    """Dice of the first validation cases, from their records, each by one of the processes."""
    chosen = data.validation[: built.evaluation.validation_cases or None]
    labels_of = CONVENTIONS[data.cohort.label_convention]
    window = window_for_devices(built.inference.window, built.parallel)

    def validate(state: TrainState, stop_requested: Callable[[], bool]) -> dict[str, float]:
        variables = [state.variables()]
        scores = []
        for _, case in evaluation_cases(records, parallel.own_share(chosen)):
            if stop_requested():
                break
            if isinstance(window, SlidingWindowOptions):
                image, labels = case.image, case.labels
                probabilities = predict_volume(predict, variables, image, window)
            else:
                image, labels = case.full_image(), case.full_labels()
                probabilities = predict_whole_volume(predict, variables, image, window)
            predicted = postprocess(
                labels_from_probabilities(probabilities, regions=built.trains_regions),
                built.inference.postprocess,
            )
            scores.append(
                score_case(
                    predicted,
                    labels,
                    case_id=case.record.case_id,
                    regions=region_classes(labels_of),
                    spacing_mm=case.record.spacing_mm,
                    convention=built.evaluation.convention_for(labels_of),
                    with_surface=False,
                )
            )
        shares = parallel.gather(scores)
        if sum(map(len, shares)) < len(chosen):
            return {}
        found = [score for case in parallel.in_order(shares) for score in case]
        summary = summarize(found, prefix="val")
        return {name: value for name, value in summary.items() if name.startswith("val/dice/")}

    return validate
