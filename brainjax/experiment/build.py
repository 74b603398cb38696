"""A configuration to the experiment of its task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from brainjax.errors import InputError
from brainjax.experiment.classification import ClassificationExperiment, build_classification
from brainjax.experiment.reconstruction import ReconstructionExperiment, build_reconstruction
from brainjax.experiment.search import make_search
from brainjax.experiment.sections import plain_values
from brainjax.experiment.segmentation import Experiment, build_segmentation

TASKS = ("segmentation", "classification", "reconstruction")

_EXPLAIN: dict[str, Any] = {
    "methods": (), "cases": (), "count": 200, "pictures": 8, "samples": 25, "noise": 0.15,
    "steps": 32, "layer": "", "window": 0.125, "region": "WT", "curve_steps": 16,
    "tolerance": 0.05, "sanity_cases": 16, "compare": "", "bootstrap": 1000, "chunk": 32,
    "seed": 0,
}  # fmt: skip

_SHARED: dict[str, Any] = {
    "data": {"prepare_workers": 1, "prepare_beam": ""},
    "batches": {"accumulate": 1},
    "explain": _EXPLAIN,
    "optimizer": {"rate_scaling": "none", "reference_batch": 0},
    "parallel": {"lift": "auto", "space": 1, "shard_parameters": False},
}

ADDED: dict[str, dict[str, Any]] = {
    "segmentation": {
        **_SHARED,
        "augment": {"modality_dropout": 0.0},
        "model": {"deep_supervision": False, "norm": ""},
        "objective": {"target": "classes"},
    },
    "classification": _SHARED,
    "reconstruction": _SHARED,
}
"""Per task, what saved configurations may lack, and what stands for what was done then."""


def build(
    config: Mapping[str, Any],
) -> Experiment | ClassificationExperiment | ReconstructionExperiment:
    """Checks a configuration and makes an experiment of it.

    Args:
      config: a ``ConfigDict`` or the plain dictionary kept in a checkpoint; one
        without ``task`` is of the time when there was only segmentation. What it says
        of a ``search`` is checked and left out of the experiment.

    Raises:
      InputError: a section or a key is missing or unknown, or a value is refused.
    """
    plain = {"task": "segmentation", "explain": _EXPLAIN, **plain_values(config)}
    if "search" in plain:
        make_search(plain)
        del plain["search"]
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
    whole = {"task": "segmentation", **config}
    if whole["task"] == "classification":
        whole = {"permute_labels": False, **whole}
    added = ADDED[whole["task"]]
    return whole | {name: {**keys, **whole.get(name, {})} for name, keys in added.items()}
