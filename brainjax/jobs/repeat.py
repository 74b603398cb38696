"""Several runs of one experiment: repeated seeds, and slice split beside patient split."""

from __future__ import annotations

import dataclasses
import re
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from brainjax.errors import InputError
from brainjax.evaluation import repeats_markdown, summarise_repeats
from brainjax.experiment import ClassificationExperiment, build
from brainjax.files import read_json, write_json, write_text
from brainjax.jobs.fit import INTERRUPTED
from brainjax.jobs.predictor import versions
from brainjax.jobs.saved_run import as_json
from brainjax.jobs.train_classifier import train_classifier
from brainjax.report import write_comparison_report

METRICS = ("test/accuracy", "test/balanced_accuracy", "test/f1/macro", "test/auroc/macro")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Variant:
    """One of several ways to run an experiment.

    Attributes:
      name: of its folder and of its row; empty when there is only one.
      changes: dotted names of the configuration to new values.
    """

    name: str
    changes: Mapping[str, Any]

    @property
    def folder(self) -> str:
        """The name as a folder's: ``focal + SMOTE`` becomes ``focal_smote``."""
        return _slug(self.name)


def train_all(built: ClassificationExperiment, workdir: Path) -> int:
    """Trains every variant and seed that the configuration asks for, one after the other.

    A slice split is trained beside a patient split, each in a folder of its own, and
    ``repeats`` trains that many seeds of each. A finished run is kept, an interrupted
    one is resumed.

    Returns:
      0, or ``INTERRUPTED`` when asked to stop and the state is saved.
    """
    variants = _variants(built)
    if len(variants) == 1 and built.repeats == 1:
        return train_classifier(built, workdir)
    summaries: dict[str, list[dict[str, float]]] = {}
    for variant in variants:
        for repeat in range(built.repeats):
            seed = built.seed + repeat
            folder = workdir / variant.folder / (f"seed_{seed}" if built.repeats > 1 else "")
            one = _changed(built, workdir, variant, seed)
            print(f"\n{folder}", flush=True)
            if not _is_finished(folder, one):
                folder.mkdir(parents=True, exist_ok=True)
                code = train_classifier(one, folder)
                if code == INTERRUPTED:
                    return INTERRUPTED
            label = variant.name or "all seeds"
            summaries.setdefault(label, []).append(read_json(folder / "summary.json"))
    _write_comparison(built, workdir, summaries)
    return 0


def _variants(built: ClassificationExperiment) -> list[Variant]:
    """Those of the configuration; a slice split stands beside one that keeps patients apart."""
    named = [Variant(name=name, changes=dict(changes)) for name, changes in built.variants]
    if named or built.data.split != "slice":
        return named or [Variant(name="", changes={})]
    return [
        Variant(name="split by slice", changes={}),
        Variant(name="split by patient", changes={"data.split": "auto"}),
    ]


def _changed(
    built: ClassificationExperiment, workdir: Path, variant: Variant, seed: int
) -> ClassificationExperiment:
    """The experiment of one variant and seed; records are shared where they can be."""
    config: dict[str, Any] = {**built.config, "seed": seed, "repeats": 1, "variants": ()}
    if config["data"]["root"] and not config["data"]["records"]:
        config["data"] = dict(config["data"], records=str(workdir / "records"))
    for name, value in variant.changes.items():
        section, _, key = name.partition(".")
        if key not in config.get(section, ()):
            raise InputError(f"variants: {variant.name!r} changes the unknown {name}")
        config[section] = dict(config[section], **{key: value})
    changed = build(config)
    if not isinstance(changed, ClassificationExperiment):
        raise InputError("task: expected classification")
    return changed


def _is_finished(folder: Path, built: ClassificationExperiment) -> bool:
    """Whether a run of the same configuration has written its summary."""
    config, summary = folder / "config.json", folder / "summary.json"
    if not (config.is_file() and summary.is_file()):
        return False
    finished = read_json(config) == as_json(built.config)
    if finished:
        print("finished before; kept", flush=True)
    return finished


def _slug(name: str) -> str:
    return "_".join(re.findall(r"[a-z0-9]+", name.lower()))


def _write_comparison(
    built: ClassificationExperiment, workdir: Path, summaries: Mapping[str, list[dict[str, float]]]
) -> None:
    whole: dict[str, float] = {}
    for row, (label, found) in enumerate(summaries.items()):
        numbers = summarise_repeats(found)
        if row == 0:
            whole |= found[0] if len(found) == 1 else _means_as_plain(numbers)
            whole |= numbers
        else:
            prefix = _slug(label)
            whole |= {f"{prefix}/{name}": value for name, value in numbers.items()}
    write_json(workdir / "summary.json", whole)
    table = repeats_markdown(summaries, METRICS)
    write_text(workdir / "summary.md", f"# {built.config['model']['name']}\n\n{table}\n")
    write_comparison_report(
        workdir / "report.html",
        title=f"{built.config['model']['name']}: {workdir.name}",
        command=shlex.join(["python", "-m", "brainjax.main", *sys.argv[1:]]),
        config=built.config,
        runs=summaries,
        published=tuple((name, value, "the paper") for name, value in built.published),
        environment=versions(),
        figures_folder=workdir / "figures",
    )
    print(f"\n{table}\n", flush=True)
    print(f"report: {workdir / 'report.html'}", flush=True)


def _means_as_plain(numbers: Mapping[str, float]) -> dict[str, float]:
    """Means over seeds under the names that a single run has."""
    return {
        name.replace("_mean", "", 1): value for name, value in numbers.items() if "_mean" in name
    }
