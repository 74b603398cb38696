"""From the command line's words to one job."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from brainjax import experiment
from brainjax.errors import InputError
from brainjax.experiment import ClassificationExperiment
from brainjax.jobs.classify import classify
from brainjax.jobs.evaluate import evaluate
from brainjax.jobs.model_pictures import compare
from brainjax.jobs.predict import predict
from brainjax.jobs.predictor import task_of
from brainjax.jobs.prepare import find_data, prepare
from brainjax.jobs.repeat import evaluate_all, runs_in, train_all
from brainjax.jobs.slices import prepare_slice_records
from brainjax.jobs.train import train


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
    with_viewer: bool = False,
) -> int:
    """Runs one job.

    Args:
      mode: ``train``, ``prepare``, ``evaluate``, ``predict`` or ``compare``.
      config: the configuration; predict reads the checkpoint's own instead, and needs
        it only for a file of released weights.
      overrides: what the command line changed in it, dotted names to values.
      workdir: the run's folder.
      inputs: what to predict.
      output: where predictions go.
      checkpoints: runs to use instead of the one in ``workdir``.
      write_probabilities: whether predictions come with probabilities.
      with_viewer: whether segmentations come with a page that shows them in the browser.

    Returns:
      The exit code: 0, or 143 when training was asked to stop and has saved.

    Raises:
      InputError: a mistake of the user, in one line.
    """
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
        if task_of(trained[0]) == "classification":
            if with_viewer:
                raise InputError(f"--viewer: {trained[0]} is a classifier; it shows segmentations")
            return classify(checkpoints=trained, inputs=inputs, output=output, overrides=overrides)
        return predict(
            checkpoints=trained,
            inputs=inputs,
            output=output,
            config=config,
            overrides=overrides,
            write_probabilities=write_probabilities,
            with_viewer=with_viewer,
        )
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
    with _alone_in(folder):
        if isinstance(built, ClassificationExperiment):
            return _run_classification(mode, built, folder, checkpoints)
        if mode == "prepare":
            prepare(built, find_data(built, folder), folder)
            return 0
        if mode == "evaluate":
            evaluate(built, folder, checkpoints=checkpoints)
            return 0
        return train(built, folder)


def _run_classification(
    mode: str, built: ClassificationExperiment, folder: Path, checkpoints: Sequence[Path]
) -> int:
    if mode == "prepare":
        prepare_slice_records(built, folder)
        return 0
    if mode == "evaluate":
        evaluate_all(built, folder, checkpoints=_trained(checkpoints))
        return 0
    return train_all(built, folder)


def _trained(paths: Sequence[Path]) -> list[Path]:
    return [run for path in paths for run in runs_in(path)]


def _required(path: Path | None, option: str = "--workdir") -> Path:
    if path is None:
        raise InputError(f"{option} is missing; for example --workdir=runs/cga")
    return path


@contextlib.contextmanager
def _alone_in(workdir: Path) -> Iterator[None]:
    """Keeps a second process out of a run's folder."""
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        stream = (workdir / ".lock").open("w")
    except OSError as error:
        raise InputError(
            f"--workdir={workdir}: cannot be written ({error.strerror}); choose another folder"
        ) from error
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"--workdir={workdir}: another process is at work there; wait, or choose another"
            ) from error
        yield
