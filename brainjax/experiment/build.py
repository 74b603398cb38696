"""A configuration to the experiment of its task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from brainjax.errors import InputError
from brainjax.experiment.classification import ClassificationExperiment, build_classification
from brainjax.experiment.reconstruction import ReconstructionExperiment, build_reconstruction
from brainjax.experiment.sections import plain_values
from brainjax.experiment.segmentation import Experiment, build_segmentation

TASKS = ("segmentation", "classification", "reconstruction")

ADDED: dict[str, dict[str, Any]] = {
    "batches": {"accumulate": 1},
    "explain": {
        "methods": (), "cases": (), "count": 200, "pictures": 8, "samples": 25, "noise": 0.15,
        "steps": 32, "layer": "", "window": 0.125, "region": "WT", "curve_steps": 16,
        "tolerance": 0.05, "sanity_cases": 16, "compare": "", "bootstrap": 1000, "chunk": 32,
        "seed": 0,
    },
}  # fmt: skip
"""Keys that saved configurations may lack, and the values that stand for what was done then."""


def build(
    config: Mapping[str, Any],
) -> Experiment | ClassificationExperiment | ReconstructionExperiment:
    """Checks a configuration and makes an experiment of it.

    Args:
      config: a ``ConfigDict`` or the plain dictionary kept in a checkpoint; one
        without ``task`` is of the time when there was only segmentation.

    Raises:
      InputError: a section or a key is missing or unknown, or a value is refused.
    """
    plain = {"task": "segmentation", "explain": ADDED["explain"], **plain_values(config)}
    if plain["task"] not in TASKS:
        raise InputError(f"task {plain['task']!r}: expected one of {TASKS}")
    if plain["task"] == "classification":
        return build_classification({"permute_labels": False, **plain})
    if plain["task"] == "reconstruction":
        return build_reconstruction(plain)
    return build_segmentation(plain)


def complete_saved(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration read from a run, with the keys that there were not when it was saved.

    >>> complete_saved({"task": "segmentation", "batches": {"batch_size": 2}})["batches"]
    {'accumulate': 1, 'batch_size': 2}
    """
    complete = {"task": "segmentation", "explain": {}, **config}
    if complete["task"] == "classification":
        complete = {"permute_labels": False, **complete}
    added = {name: {**keys, **complete[name]} for name, keys in ADDED.items() if name in complete}
    return {**complete, **added}
