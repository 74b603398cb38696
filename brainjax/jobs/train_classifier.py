"""One classifier from raw images to the report, resumable at any moment."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from brainjax import parallel
from brainjax.batches import batches_per_epoch, slice_batches
from brainjax.errors import InputError
from brainjax.evaluation import score_classification
from brainjax.experiment import ClassificationExperiment
from brainjax.jobs.classifier import compiled_classify, shared_log_probabilities
from brainjax.jobs.evaluate import numbers_of_training
from brainjax.jobs.evaluate_classifier import finish_classifier, load_evaluated
from brainjax.jobs.fit import INTERRUPTED, Training, Validate, fit, latest_run
from brainjax.jobs.predictor import versions
from brainjax.jobs.saved_run import check_configuration
from brainjax.jobs.slices import (
    SliceData,
    check_slice_data,
    describe_classifier_run,
    find_slice_data,
)
from brainjax.training import TrainState
from brainjax.weights import fetch_weights, load_tensors, torchvision

SHOWN = ("val/loss", "val/accuracy", "val/balanced_accuracy")


def train_classifier(
    built: ClassificationExperiment,
    workdir: Path,
    *,
    home: Path | None = None,
    body: Mapping[str, Any] | None = None,
    keep_every_epochs: int = 0,
) -> int:
    """Trains, or goes on training, then evaluates and reports.

    Args:
      built: the experiment.
      workdir: folder of the run.
      home: folder of made-up images and of records; ``workdir`` when None.
      body: ``params`` and ``batch_stats`` that a new run's body begins from; None begins
        as the ``weights`` section says.
      keep_every_epochs: see ``Training``.

    Returns:
      0, or ``INTERRUPTED`` when asked to stop and the state is saved.

    Raises:
      InputError: images, weights or configuration cannot be used, or the folder holds
        a run of another configuration.
    """
    run, data = classifier_training(
        built, workdir, home=home, body=body, keep_every_epochs=keep_every_epochs
    )
    result, trained = fit(run, workdir)
    if result.stopped == "interrupted":
        return INTERRUPTED
    finish_classifier(
        load_evaluated(built, [workdir]),
        workdir,
        built=built,
        data=data,
        numbers=result.numbers | ({} if trained else numbers_of_training(workdir)),
    )
    return 0


def classifier_training(
    built: ClassificationExperiment,
    workdir: Path,
    *,
    home: Path | None = None,
    body: Mapping[str, Any] | None = None,
    keep_every_epochs: int = 0,
) -> tuple[Training, SliceData]:
    """What ``train_classifier`` trains, and the images; arguments as there.

    Raises:
      InputError: as there.
    """
    found = latest_run(workdir)
    if found is not None:
        check_configuration(built, found, workdir)
    with parallel.first_goes_first():
        path = _find_weights(built) if found is None and body is None else None
    data = find_slice_data(built, home or workdir)
    if found is not None:
        check_slice_data(data, found, workdir)
    _check_score(built, data)
    pretrained = path is not None if found is None else bool(found["pretrained"])
    model = built.make_model(len(data.class_names), pretrained=pretrained)
    steps_per_epoch = batches_per_epoch(len(data.training), batch_size=built.batches.batch_size)
    create = functools.partial(
        built.create_state, model=model, steps_per_epoch=steps_per_epoch, pretrained=pretrained
    )
    first = None if path is None else _pretrained_variables(built, path, create)
    if found is None and body is not None:
        fresh = _fresh_variables(built, create)
        first = {kind: {**values, "body": body[kind]} for kind, values in fresh.items()}
    return (
        Training(
            config=built.config,
            seed=built.seed,
            model=model,
            objective=built.make_objective(),
            optimizer=built.make_optimizer(steps_per_epoch, model=model, pretrained=pretrained),
            learning_rate=built.make_learning_rate(steps_per_epoch),
            augment=built.make_augment(len(data.class_names)),
            average_decay=built.optimizer.average_decay,
            accumulate=built.accumulate,
            loop=built.loop.logged_every_epoch(steps_per_epoch),
            steps_per_epoch=steps_per_epoch,
            batch_size=built.batches.batch_size,
            create=create,
            pretrained=first,
            open_batches=lambda start: slice_batches(
                data.images,
                data.labels,
                data.training,
                built.batches,
                texture=data.texture,
                start_step=start,
                shard=parallel.shard(),
            ),
            validate=_make_validation(built, data, model),
            score_name=built.score,
            shown=SHOWN,
            describe=functools.partial(
                describe_classifier_run, built, data, versions(), pretrained
            ),
            keep_every_epochs=keep_every_epochs,
            rate_factor=built.rate_factor,
            parallel=built.parallel,
        ),
        data,
    )


def _make_validation(
    built: ClassificationExperiment, data: SliceData, model: nn.Module
) -> Validate:
    """Scores of the validation part, without mirroring: those that are shown and ``score``."""
    classify = compiled_classify(model, mirror=False, options=built.parallel)
    chosen = data.split.validation
    labels = data.labels[list(chosen)]

    def validate(state: TrainState, stop_requested: Callable[[], bool]) -> dict[str, float]:
        if any(parallel.gather(stop_requested())):
            return {}
        found = shared_log_probabilities(
            classify,
            [state.variables()],
            data.images,
            chosen,
            texture=data.texture,
            batch_size=built.evaluation.batch_size,
        )
        scores = _validation_scores(np.exp(found), labels, data.class_names)
        logged = (*SHOWN, "val/f1/macro", "val/auroc/macro", built.score)
        return {name: scores[name] for name in dict.fromkeys(logged)}

    return validate


def _validation_scores(
    probabilities: np.ndarray, labels: np.ndarray, class_names: Sequence[str]
) -> dict[str, float]:
    """Every score by which weights can be called the best."""
    numbers = score_classification(probabilities, labels, class_names).numbers("val")
    found = {name: value for name, value in numbers.items() if not name.startswith("val/cases")}
    return {"val/loss": found.pop("val/log_loss"), **found}


def _check_score(built: ClassificationExperiment, data: SliceData) -> None:
    count = len(data.class_names)
    known = _validation_scores(
        np.full((count, count), 1 / count), np.arange(count), data.class_names
    )
    lower_is_better = ("val/brier", "val/ece")
    known = {name: value for name, value in known.items() if name not in lower_is_better}
    if built.score not in known:
        raise InputError(f"score {built.score!r}: expected one of {', '.join(known)}")


def _find_weights(built: ClassificationExperiment) -> Path | None:
    """The file of pretrained weights; None when training from scratch.

    Raises:
      InputError: it cannot be had, and training from scratch was not asked for.
    """
    wanted = built.weights
    if not wanted.pretrained:
        print("weights: random; this run trains from scratch", flush=True)
        return None
    if not built.data.root and not Path(wanted.pretrained).is_file():
        print(f"weights: random; {wanted.pretrained} is not fetched for made-up images", flush=True)
        return None
    try:
        return fetch_weights(wanted.pretrained, cache=parallel.cache_folder(), sha256=wanted.sha256)
    except InputError as error:
        if not wanted.from_scratch:
            raise InputError(
                f"{error}; or train from scratch with --config.weights.from_scratch=true"
            ) from error
        print(f"note: {error}", flush=True)
        print("weights: random; this run trains from scratch, as asked", flush=True)
        return None


def _fresh_variables(
    built: ClassificationExperiment, create: Callable[[jax.Array], TrainState]
) -> dict[str, Any]:
    state = jax.jit(create)(jax.random.key(built.seed))
    return {"params": state.params, "batch_stats": state.batch_stats}


def _pretrained_variables(
    built: ClassificationExperiment, path: Path, create: Callable[[jax.Array], TrainState]
) -> dict[str, Any]:
    """A fresh network's variables with what the file holds in their places."""
    fresh = _fresh_variables(built, create)
    variables, left = torchvision.convert(
        load_tensors(path), fresh, image_channels=_input_channels(built)
    )
    kept = f"; random as before: {', '.join(left)}" if left else ""
    print(f"weights: {path}{kept}", flush=True)
    return variables


def _input_channels(built: ClassificationExperiment) -> int:
    return built.config["model"].get("input_channels") or built.images.channels
