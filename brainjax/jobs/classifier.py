"""Trained classifiers, ready to predict, from nothing but the paths of their checkpoints."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from brainjax import experiment, parallel
from brainjax.batches import evaluation_batches
from brainjax.errors import InputError
from brainjax.evaluation import apply_temperature
from brainjax.experiment import ClassificationExperiment
from brainjax.jobs.predictor import find_checkpoint, overridden
from brainjax.jobs.temperature import read_temperature
from brainjax.parallel import ParallelOptions
from brainjax.training import Checkpoints, classify_step

Variables = Mapping[str, Any]
Classify = Callable[[Variables, dict[str, Any]], jax.Array]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainedClassifier:
    """One classifier, or several whose probabilities are averaged.

    Attributes:
      experiment: what the (first) network was trained by.
      classify: ``(variables, inputs) -> log-probabilities``, compiled once for all.
      variables: one tree for each checkpoint.
      class_names: in the order of the outputs.
      steps: after how many updates each checkpoint was saved.
      temperature: divides the log-probabilities; 1 before calibration.
      training_patients: those that any of the networks was trained on.
    """

    experiment: ClassificationExperiment
    classify: Classify
    variables: tuple[Variables, ...]
    class_names: tuple[str, ...]
    steps: tuple[int, ...]
    temperature: float
    training_patients: frozenset[str]

    def log_probabilities(
        self,
        images: np.ndarray,
        chosen: Sequence[int],
        texture: np.ndarray | None,
        *,
        shared: bool = False,
    ) -> np.ndarray:
        """Uncalibrated log-probabilities [n, K] of chosen images uint8 [N, H, W, C].

        Where it is ``shared`` all processes have to call it, and each works out a part.
        """
        work_out = shared_log_probabilities if shared else log_probabilities
        return work_out(
            self.classify,
            self.variables,
            images,
            chosen,
            texture=texture,
            batch_size=self.experiment.evaluation.batch_size,
        )

    def probabilities(
        self, images: np.ndarray, chosen: Sequence[int], texture: np.ndarray | None
    ) -> np.ndarray:
        """Calibrated probabilities [n, K], worked out by this process alone."""
        return apply_temperature(self.log_probabilities(images, chosen, texture), self.temperature)


def compiled_classify(
    model: nn.Module, *, mirror: bool, options: ParallelOptions | None = None
) -> Classify:
    """The network's prediction as one function for all checkpoints of that network."""

    def classify(variables: Variables, inputs: dict[str, jax.Array]) -> jax.Array:
        image = inputs["image"].astype(jax.numpy.float32) / 255.0
        return classify_step(
            dict(variables), {**inputs, "image": image}, model=model, mirror=mirror
        )

    return parallel.lift_prediction(classify, options)


def log_probabilities(
    classify: Classify,
    variables: Sequence[Variables],
    images: np.ndarray,
    chosen: Sequence[int],
    *,
    texture: np.ndarray | None,
    batch_size: int,
) -> np.ndarray:
    """Log of the networks' mean probability [n, K] for chosen images, on this process.

    Args:
      classify: of ``compiled_classify``.
      variables: of each network.
      images: uint8 [N, H, W, C].
      chosen: numbers of images.
      texture: float32 [N, F], None when the network takes none.
      batch_size: images at a time.
    """
    labels = np.zeros(len(images), np.int32)
    devices = jax.local_device_count()
    batch_size = -(-batch_size // devices) * devices
    rows = []
    for batch in evaluation_batches(images, labels, chosen, batch_size, texture=texture):
        inputs: dict[str, Any] = {
            name: batch[name] for name in ("image", "texture") if name in batch
        }
        # Waiting for the copy, as in ``place_batch``.
        inputs = jax.block_until_ready(jax.device_put(inputs))
        each = [np.asarray(classify(one, inputs)) for one in variables]
        together = functools.reduce(np.logaddexp, each) - np.log(len(each))
        rows.append(together[: batch["valid"]])
    return np.concatenate(rows)


def shared_log_probabilities(
    classify: Classify,
    variables: Sequence[Variables],
    images: np.ndarray,
    chosen: Sequence[int],
    **options: Any,
) -> np.ndarray:
    """``log_probabilities`` of which every process works out a part, and gets all."""
    index, count = parallel.shard()
    size = -(-len(chosen) // count)
    own = chosen[index * size : (index + 1) * size]
    found = log_probabilities(classify, variables, images, own, **options) if len(own) else None
    return np.concatenate([part for part in parallel.gather(found) if part is not None])


def load_classifier(
    paths: Sequence[Path], *, overrides: Mapping[str, Any] | None = None
) -> TrainedClassifier:
    """Reads checkpoints of classifiers.

    Args:
      paths: each a run's folder (its best checkpoint), the folder ``checkpoints`` in
        it, or one checkpoint.
      overrides: dotted names of the configuration to new values; only
        ``evaluation...`` may change.

    Raises:
      InputError: nothing is there, it is damaged, or the checkpoints are of different
        networks or classes.
    """
    found = [_read(path, overrides or {}) for path in paths]
    first = found[0]
    for path, other in zip(paths[1:], found[1:], strict=True):
        differing = [
            what
            for what, of in {
                "classes": lambda one: one.class_names,
                "images": lambda one: one.experiment.images,
                "network": lambda one: one.experiment.config["model"],
                "texture": lambda one: one.experiment.data.texture,
            }.items()
            if of(other) != of(first)
        ]
        if differing:
            raise InputError(
                f"{path}: {' and '.join(differing)} differ from those of {paths[0]}; "
                "only classifiers of one kind can be averaged"
            )
    return dataclasses.replace(
        first,
        variables=tuple(other.variables[0] for other in found),
        steps=tuple(other.steps[0] for other in found),
        temperature=float(np.exp(np.mean([np.log(other.temperature) for other in found]))),
        training_patients=frozenset().union(*(other.training_patients for other in found)),
    )


def _read(path: Path, overrides: Mapping[str, Any]) -> TrainedClassifier:
    folder, step = find_checkpoint(path)
    with Checkpoints(folder, read_only=True) as checkpoints:
        if step is None:
            step = checkpoints.best_step
        if step is None:
            raise InputError(f"{folder}: no checkpoint has been saved here yet")
        run = checkpoints.read_run(step)
        built = experiment.build(overridden(run["config"], overrides))
        if not isinstance(built, ClassificationExperiment):
            raise InputError(f"{path}: holds a segmentation network, expected a classifier")
        model = built.make_model(len(run["class_names"]))
        variables = checkpoints.restore_model(step, built.abstract_state(model))
    return TrainedClassifier(
        experiment=built,
        classify=compiled_classify(model, mirror=built.evaluation.mirror, options=built.parallel),
        variables=(parallel.place_variables(variables, built.parallel),),
        class_names=tuple(run["class_names"]),
        steps=(step,),
        temperature=read_temperature(
            folder.parent, step=step, mirror=built.evaluation.mirror, setting="evaluation.mirror"
        ),
        training_patients=frozenset(run["training_patients"]),
    )
