"""A configuration to the experiment of its task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from brainjax.errors import InputError
from brainjax.experiment.classification import ClassificationExperiment, build_classification
from brainjax.experiment.sections import plain_values
from brainjax.experiment.segmentation import Experiment, build_segmentation

TASKS = ("segmentation", "classification")

ADDED: dict[str, dict[str, Any]] = {
    "batches": {"accumulate": 1},
    "optimizer": {"rate_scaling": "none", "reference_batch": 0},
    "parallel": {"lift": "jit", "space": 1, "shard_parameters": False},
}
"""What saved configurations may lack, and the values that stand for what was done then."""


def build(config: Mapping[str, Any]) -> Experiment | ClassificationExperiment:
    """Checks a configuration and makes an experiment of it.

    Args:
      config: a ``ConfigDict`` or the plain dictionary kept in a checkpoint; one
        without ``task`` is of the time when there was only segmentation.

    Raises:
      InputError: a section or a key is missing or unknown, or a value is refused.
    """
    plain = {"task": "segmentation", **plain_values(config)}
    if plain["task"] not in TASKS:
        raise InputError(f"task {plain['task']!r}: expected one of {TASKS}")
    if plain["task"] == "classification":
        return build_classification(plain)
    return build_segmentation(plain)


def complete_saved(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration read from a run, with the keys that there were not when it was saved.

    >>> complete_saved({"task": "segmentation", "batches": {"batch_size": 2}})["batches"]
    {'accumulate': 1, 'batch_size': 2}
    """
    added = {name: {**keys, **config.get(name, {})} for name, keys in ADDED.items()}
    return {"task": "segmentation", **config, **added}
