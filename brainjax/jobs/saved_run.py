"""What a checkpoint says of its run, and whether a command goes on with that run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from brainjax.errors import InputError
from brainjax.experiment import (
    ClassificationExperiment,
    Experiment,
    ReconstructionExperiment,
    complete_saved,
)
from brainjax.files import read_json, write_json
from brainjax.jobs.predictor import versions
from brainjax.jobs.prepare import Data

_FREE_SECTIONS = (
    "evaluation", "explain", "inference", "loop", "parallel", "published", "repeats",
)  # fmt: skip
_FREE_KEYS = {
    # The cases are compared by name.
    "data": ("root", "records", "needs_root", "prepare_workers", "prepare_beam"),
    "batches": ("workers", "threads", "prefetch_batches"),  # they do not change the batches
    "reconstruction": ("pictures",),
}

FINISHED = "finished.json"
"""In a run's folder: the configuration of which everything is done."""


def describe_run(
    built: Experiment, data: Data, position: Mapping[str, Any], seconds: float
) -> dict[str, Any]:
    """What a checkpoint says about itself besides the arrays.

    Args:
      built: the experiment.
      data: what it trains on.
      position: of the batch that comes next.
      seconds: of training so far.
    """
    return {
        "position": dict(position),
        "seconds": seconds,
        "config": built.config,
        "modalities": list(built.data.modalities),
        "label_convention": data.cohort.label_convention,
        "training_cases": data.case_ids(data.training),
        "training_patients": data.patients(data.training),
        "validation_cases": data.case_ids(data.validation),
        "versions": versions(),
    }


def check_configuration(
    built: Experiment | ClassificationExperiment | ReconstructionExperiment,
    run: Mapping[str, Any],
    workdir: Path,
) -> None:
    """Compares a saved run's configuration with the one asked for.

    How long to train, how to predict and score, where the data lie and how they are
    read may change; everything that the result depends on may not.

    Raises:
      InputError: lists every difference.
    """
    saved = _fixed(complete_saved(run["config"]))
    changed = differences(saved, _fixed(as_json(built.config)))
    if changed:
        raise InputError(
            f"{workdir} holds a run of another configuration ({'; '.join(changed)}); "
            "choose another --workdir, or repeat the first run's options to go on with it"
        )


def check_data(data: Data, run: Mapping[str, Any], workdir: Path) -> None:
    """Compares the cases that a saved run used with those found now.

    Raises:
      InputError: there are others, or they fall into other parts.
    """
    if run["label_convention"] != data.cohort.label_convention:
        raise InputError(
            f"{workdir} was trained on labels in {run['label_convention']}, "
            f"{data.cohort.root} has {data.cohort.label_convention}; choose another --workdir"
        )
    for name, cases in (("training", data.training), ("validation", data.validation)):
        before, now = set(run[f"{name}_cases"]), set(data.case_ids(cases))
        if before != now:
            gone, new = sorted(before - now), sorted(now - before)
            raise InputError(
                f"{workdir} was begun with other {name} cases: {len(gone)} are gone "
                f"({', '.join(gone[:3])}), {len(new)} are new ({', '.join(new[:3])}); going on "
                "would mix patients of both sides; restore the scans or choose another --workdir"
            )


def mark_finished(folder: Path, config: Mapping[str, Any]) -> None:
    """Notes in a run's folder that everything of this configuration is done."""
    write_json(folder / FINISHED, config)


def is_finished(folder: Path, config: Mapping[str, Any]) -> bool:
    """Whether everything of this very configuration was done in a run's folder."""
    path = folder / FINISHED
    return path.is_file() and complete_saved(read_json(path)) == as_json(config)


def _fixed(config: Mapping[str, Any]) -> dict[str, Any]:
    return {
        section: {
            key: value for key, value in values.items() if key not in _FREE_KEYS.get(section, ())
        }
        if isinstance(values, dict)
        else values
        for section, values in config.items()
        if section not in _FREE_SECTIONS
    }


def differences(saved: Any, wanted: Any, name: str = "") -> list[str]:
    """Every setting in which two configurations differ, as ``name old -> new``."""
    if isinstance(saved, dict) and isinstance(wanted, dict):
        return [
            line
            for key in sorted({*saved, *wanted})
            for line in differences(saved.get(key), wanted.get(key), f"{name}.{key}".lstrip("."))
        ]
    return [] if saved == wanted else [f"{name} {saved} -> {wanted}"]


def as_json(value: Any) -> Any:
    """A configuration as it comes back from JSON: lists for tuples."""
    if isinstance(value, Mapping):
        return {name: as_json(item) for name, item in value.items()}
    if isinstance(value, tuple):
        return [as_json(item) for item in value]
    return value
