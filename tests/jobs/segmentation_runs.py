"""Several segmentation runs in this process, with real training or with scores made up."""

from __future__ import annotations

import runpy
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from brainjax import jobs
from brainjax.evaluation import score_case, write_case_table
from brainjax.experiment import Experiment
from brainjax.files import write_json
from brainjax.jobs.prepare import find_data
from tests.jobs.command_line import ROOT

TINY: dict[str, Any] = {
    "phantom.cases": 4,
    "phantom.shape": (24, 24, 24),
    "batches.patch_shape": (16, 16, 16),
    "inference.patch_shape": (24, 24, 24),
    "inference.crop_to_brain": False,
    "split.folds": 2,
    "loop.steps": 2,
    "loop.log_every_steps": 1,
    "loop.validate_every_steps": 2,
    "loop.save_every_steps": 1,
    "evaluation.validation_cases": 1,
}


def run_job(
    mode: str, workdir: Path, changes: dict[str, Any] | None = None, *,
    rows: tuple[str, ...] = (), **options: Any,
) -> int:  # fmt: skip
    """What the command line does once its words are read; ``rows`` of the ablation, if any."""
    get_config = runpy.run_path(str(ROOT / "configs" / "cga.py"))["get_config"]
    config = get_config("ablation" if rows else "demo")
    config.update_from_flattened_dict(TINY | (changes or {}))
    if rows:
        config.variants = tuple(one for one in config.variants if one[0] in rows)
    words = {"overrides": {}, "inputs": (), "output": None, "checkpoints": (),
             "write_probabilities": False, **options}  # fmt: skip
    return jobs.run(mode, config=config, workdir=workdir, **words)


class MadeUpTraining:
    """Stands in for ``train``: leaves what a run leaves, and counts the runs.

    A variant with ``model.intra`` misses one voxel of each case, any other two.
    """

    def __init__(self, code: int = 0) -> None:
        self.code = code
        self.trained: list[str] = []

    def __call__(self, built: Experiment, workdir: Path, *, home: Path | None = None) -> int:
        if self.code:
            return self.code
        self.trained.append("/".join(workdir.parts[-2:]))
        data = find_data(built, home or workdir)
        scores = []
        for number in data.validation:
            case = data.cohort.cases[number]
            reference = np.zeros((6, 6, 6), np.uint8)
            reference[1:4, 1:4, 1 : 3 + number % 3] = 3
            predicted = reference.copy()
            predicted[1, 1, 1 : 2 if built.config["model"]["intra"] else 3] = 0
            scores += score_case(
                predicted, reference, case_id=case.case_id,
                regions={"ET": (3,), "WT": (1, 2, 3), "TC": (1, 3)},
                spacing_mm=(1.0, 1.0, 1.0), convention="brats2019",
            )  # fmt: skip
            folder = workdir / "segmentations" / "val"
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(case.labels, folder / f"{case.case_id}.nii.gz")
        write_case_table(workdir / "scores_val.csv", scores)
        numbers = {"train/seconds": 1.5, "train/steps": 2.0, "model/parameters": 7.0}
        write_json(workdir / "summary.json", numbers)
        return 0
