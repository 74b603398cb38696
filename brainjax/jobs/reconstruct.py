"""Paper 2's saliency by U-Net, step by step; a finished step is never done again."""

from __future__ import annotations

from pathlib import Path

from brainjax.errors import InputError
from brainjax.experiment import ReconstructionExperiment
from brainjax.jobs.evaluate_reconstruction import finish_reconstruction
from brainjax.jobs.fit import CHECKPOINTS, INTERRUPTED, latest_run
from brainjax.jobs.reconstruction_snapshots import (
    AUTOENCODER,
    CLASSIFIER,
    autoencoder_snapshots,
)
from brainjax.jobs.saved_run import check_configuration, is_finished, mark_finished
from brainjax.jobs.slices import check_slice_data, data_root, find_slice_data
from brainjax.jobs.train_autoencoder import train_autoencoder
from brainjax.jobs.train_classifier import train_classifier
from brainjax.scans import read_boxes


def reconstruct(built: ReconstructionExperiment, workdir: Path) -> int:
    """Trains the autoencoder, then its encoder as a classifier, then joins and scores them.

    Each network has a folder of its own in ``workdir``; the classifier's is a run like any
    other classifier's. An interrupted step is resumed, a finished one kept.

    Returns:
      0, or ``INTERRUPTED`` when asked to stop and the state is saved.

    Raises:
      InputError: images or boxes cannot be used, or the folder holds another run.
    """
    _check_folder(built, workdir)
    data = find_slice_data(built.classification, workdir)
    read_boxes(data_root(built.classification, workdir))  # a broken table is told at once

    folder = workdir / AUTOENCODER
    print(f"\n{folder}", flush=True)
    if is_finished(folder, built.config):
        print("finished before; kept", flush=True)
    else:
        if train_autoencoder(built, data, folder) == INTERRUPTED:
            return INTERRUPTED
        mark_finished(folder, built.config)

    folder = workdir / CLASSIFIER
    print(f"\n{folder}", flush=True)
    if is_finished(folder, built.config):
        print("finished before; kept", flush=True)
    else:
        body = None
        if built.options.encoder_from == "autoencoder":
            last = autoencoder_snapshots(built, data, workdir / AUTOENCODER)[-1].variables
            body = {kind: values["encoder"] for kind, values in last.items()}
        code = train_classifier(
            built.classification,
            folder,
            home=workdir,
            body=body,
            keep_every_epochs=built.options.classifier_snapshot_every_epochs,
        )
        if code == INTERRUPTED:
            return INTERRUPTED
        mark_finished(folder, built.config)

    print(f"\n{workdir}", flush=True)
    finish_reconstruction(built, data, workdir)
    return 0


def evaluate_reconstruction(built: ReconstructionExperiment, workdir: Path) -> None:
    """Joins, scores and reports again what was trained.

    Raises:
      InputError: a network is missing, or images or boxes cannot be used.
    """
    _check_folder(built, workdir)
    missing = [
        name for name in (AUTOENCODER, CLASSIFIER) if not (workdir / name / CHECKPOINTS).is_dir()
    ]
    if missing:
        raise InputError(f"{workdir / missing[0]}: not trained yet; run --mode=train first")
    data = find_slice_data(built.classification, workdir)
    for name in (AUTOENCODER, CLASSIFIER):
        found = latest_run(workdir / name)
        assert found is not None
        check_slice_data(data, found, workdir / name)
    finish_reconstruction(built, data, workdir)


def _check_folder(built: ReconstructionExperiment, workdir: Path) -> None:
    """Compares what lies in the folder with what is asked for, before anything is done.

    Raises:
      InputError: it holds another kind of run, or one of another configuration.
    """
    if (workdir / CHECKPOINTS).is_dir():
        raise InputError(f"{workdir}: holds a single network's run; choose another --workdir")
    for name, own in ((AUTOENCODER, built), (CLASSIFIER, built.classification)):
        found = latest_run(workdir / name)
        if found is not None:
            check_configuration(own, found, workdir / name)
