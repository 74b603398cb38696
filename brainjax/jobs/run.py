"""From the command line's words to one job."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from brainjax import experiment, parallel
from brainjax.errors import InputError
from brainjax.experiment import ClassificationExperiment, Experiment, ReconstructionExperiment
from brainjax.jobs.classify import classify
from brainjax.jobs.crossvalidate import crossvalidate, train_variants
from brainjax.jobs.evaluate import evaluate
from brainjax.jobs.explain_slices import explain_slices
from brainjax.jobs.explain_volumes import explain_volumes
from brainjax.jobs.folder_lock import alone_in
from brainjax.jobs.model_pictures import compare
from brainjax.jobs.predict import predict
from brainjax.jobs.predictor import task_of
from brainjax.jobs.prepare import find_data, prepare
from brainjax.jobs.reconstruct import evaluate_reconstruction, reconstruct
from brainjax.jobs.repeat import evaluate_all, train_all
from brainjax.jobs.robust_classifier import evaluate_classifier_robustness
from brainjax.jobs.robustness import evaluate_robustness
from brainjax.jobs.several import check_kind, runs_in
from brainjax.jobs.slices import prepare_slice_records
from brainjax.jobs.train import train
from brainjax.jobs.tune import tune

_IN_ONE_PROCESS = ("compare", "explain", "robustness", "tune")


def run(
    mode: str,
    *,
    config: Mapping[str, Any] | None,
    overrides: Mapping[str, Any],
    workdir: Path | None,
    inputs: Sequence[Path],
    output: Path | None,
    checkpoints: Sequence[Path],
    write_probabilities: bool,
    fold: int | None = None,
    variants: Sequence[str] = (),
    with_viewer: bool = False,
    with_uncertainty: bool = False,
) -> int:
    """Runs one job.

    Args:
      mode: ``train``, ``crossvalidate``, ``prepare``, ``evaluate``, ``robustness``, ``tune``,
        ``predict``, ``compare`` or ``explain``.
      config: the configuration; predict and explain read the checkpoint's own instead, and
        predict needs it only for a file of released weights.
      overrides: what the command line changed in it, dotted names to values.
      workdir: the run's folder.
      inputs: what to predict.
      output: where predictions go.
      checkpoints: runs to use instead of the one in ``workdir``.
      write_probabilities: whether predictions come with probabilities.
      fold: of a cross-validation, train this one only.
      variants: of an ablation, train these only.
      with_viewer: whether segmentations come with a page that shows them in the browser.
      with_uncertainty: whether segmentations come with maps of uncertainty.

    Returns:
      The exit code: 0, or 143 when training or a search was asked to stop and has saved.

    Raises:
      InputError: a mistake of the user, in one line.
    """
    if mode in _IN_ONE_PROCESS and parallel.shard()[1] > 1:
        raise InputError(f"--mode={mode} works in one process only; start it without the others")
    if mode == "predict":
        if workdir is None and not checkpoints:
            raise InputError("predict needs --workdir=RUN or --checkpoint=RUN: what was trained")
        if not inputs:
            raise InputError(
                "predict needs --input=PATH: a case folder, a folder of cases, or files; for a "
                "classifier an image, a folder of images, a DICOM series or a .mat"
            )
        trained = _trained(list(checkpoints) or [_required(workdir)])
        output = output or _required(workdir, "--output (or --workdir)") / "predictions"
        if _task_of(trained[0]) == "classification":
            if with_viewer:
                raise InputError(f"--viewer: {trained[0]} is a classifier; it shows segmentations")
            if with_uncertainty:
                raise InputError(
                    "--uncertainty is for segmentations; a classifier's probabilities say how "
                    "sure it is"
                )
            return classify(checkpoints=trained, inputs=inputs, output=output, overrides=overrides)
        return predict(
            checkpoints=trained,
            inputs=inputs,
            output=output,
            config=config,
            overrides=overrides,
            write_probabilities=write_probabilities,
            with_viewer=with_viewer,
            with_uncertainty=with_uncertainty,
        )
    if mode == "explain":
        return _explain(workdir, inputs, output, checkpoints, overrides)
    if mode == "compare":
        if not checkpoints or output is None:
            raise InputError("compare needs --checkpoint=RUN, twice or more, and --output=FOLDER")
        return compare(
            checkpoints=_trained(checkpoints), inputs=inputs, output=output, overrides=overrides
        )
    if config is None:
        raise InputError("--config is missing; for example --config=configs/cga.py")
    folder = _required(workdir)
    built = experiment.build(config)
    _check_choice(mode, built, fold, variants)
    with _one_voice():
        if mode == "tune":
            with alone_in(folder, but_for_workers=True):
                return tune(experiment.plain_values(config), folder)
        if isinstance(built, Experiment) and mode == "crossvalidate":
            return crossvalidate(built, folder, fold=fold, variants=variants)
        if isinstance(built, Experiment) and mode == "train" and built.variants:
            return train_variants(built, folder, variants=variants)
        with alone_in(folder):
            if isinstance(built, ClassificationExperiment):
                return _run_classification(mode, built, folder, checkpoints)
            if isinstance(built, ReconstructionExperiment):
                if parallel.shard()[1] > 1:
                    raise InputError("task reconstruction works in one process only")
                return _run_reconstruction(mode, built, folder, checkpoints)
            return _run_segmentation(mode, built, folder, checkpoints)


def _run_segmentation(
    mode: str, built: Experiment, folder: Path, checkpoints: Sequence[Path]
) -> int:
    if mode == "prepare":
        with parallel.first_goes_first():
            prepare(built, find_data(built, folder), folder)
        return 0
    check_kind(folder, several=False)
    if mode == "evaluate":
        evaluate(built, folder, checkpoints=_trained(checkpoints))
        return 0
    if mode == "robustness":
        return evaluate_robustness(built, folder, checkpoints=_trained(checkpoints))
    return train(built, folder)


def _check_choice(
    mode: str,
    built: Experiment | ClassificationExperiment | ReconstructionExperiment,
    fold: int | None,
    variants: Sequence[str],
) -> None:
    """Refuses a choice of runs that the job does not have."""
    if fold is not None and mode != "crossvalidate":
        raise InputError(
            f"--fold={fold}: chooses a fold of --mode=crossvalidate; "
            f"for a single split add --config.split.fold={fold}"
        )
    if mode == "crossvalidate" and not isinstance(built, Experiment):
        raise InputError(
            "--mode=crossvalidate is for segmentation; a classifier's configuration has "
            "config.repeats, or data.split=folds with split.test_fold"
        )
    if not variants:
        return
    if mode not in ("train", "crossvalidate") or not isinstance(built, Experiment):
        raise InputError(
            f"--variant={variants[0]}: chooses among an ablation's variants in --mode=train or "
            "--mode=crossvalidate of a segmentation"
        )
    if not built.variants:
        raise InputError(
            f"--variant={variants[0]}: this configuration has no variants; "
            "for example --config=configs/cga.py:ablation has"
        )


def _run_classification(
    mode: str, built: ClassificationExperiment, folder: Path, checkpoints: Sequence[Path]
) -> int:
    if mode == "prepare":
        with parallel.first_goes_first():
            prepare_slice_records(built, folder)
        return 0
    if mode == "evaluate":
        evaluate_all(built, folder, checkpoints=_trained(checkpoints))
        return 0
    if mode == "robustness":
        return evaluate_classifier_robustness(built, folder, checkpoints=_trained(checkpoints))
    return train_all(built, folder)


def _run_reconstruction(
    mode: str, built: ReconstructionExperiment, folder: Path, checkpoints: Sequence[Path]
) -> int:
    if mode == "prepare":
        prepare_slice_records(built.classification, folder)
        return 0
    if mode == "evaluate":
        if checkpoints:
            raise InputError("--checkpoint is not for a reconstruction; evaluate its --workdir")
        evaluate_reconstruction(built, folder)
        return 0
    return reconstruct(built, folder)


def _explain(
    workdir: Path | None,
    inputs: Sequence[Path],
    output: Path | None,
    checkpoints: Sequence[Path],
    overrides: Mapping[str, Any],
) -> int:
    trained = _trained(list(checkpoints) or [_required(workdir)])
    if len(trained) > 1:
        raise InputError(
            f"explain takes one network, found {len(trained)}; choose one, such as {trained[0]}"
        )
    job = explain_slices if _task_of(trained[0]) == "classification" else explain_volumes
    return job(
        trained[0], inputs=inputs, overrides=overrides,
        output=output or _required(workdir, "--output (or --workdir)") / "explanation",
    )  # fmt: skip


def _trained(paths: Sequence[Path]) -> list[Path]:
    return [run for path in paths for run in runs_in(path)]


def _task_of(run: Path) -> str:
    task = task_of(run)
    if task == "reconstruction":
        raise InputError(f"{run}: holds an autoencoder; give the folder 'classifier' beside it")
    return task


def _required(path: Path | None, option: str = "--workdir") -> Path:
    if path is None:
        raise InputError(f"{option} is missing; for example --workdir=runs/cga")
    return path


@contextlib.contextmanager
def _one_voice() -> Iterator[None]:
    """Of several processes the first one prints."""
    if parallel.is_first():
        yield
        return
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield
