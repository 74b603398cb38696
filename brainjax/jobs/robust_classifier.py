"""What a trained classifier bears: its scores on images with artefacts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from brainjax.errors import InputError
from brainjax.evaluation import expected_calibration_error, score_classification
from brainjax.experiment import ClassificationExperiment
from brainjax.jobs.evaluate_classifier import load_evaluated
from brainjax.jobs.fit import latest_run
from brainjax.jobs.robustness import CLEAN, Condition, artefact_conditions, write_tables
from brainjax.jobs.saved_run import check_configuration
from brainjax.jobs.slices import check_slice_data, find_slice_data
from brainjax.records import texture_features
from brainjax.report import RobustnessRow
from brainjax.scans import ACQUIRED, NORMALISED, artefact_generator
from brainjax.training import ProgressPrinter

COLUMNS = ("accuracy", "balanced_accuracy", "f1/macro", "auroc/macro")


def evaluate_classifier_robustness(
    built: ClassificationExperiment, workdir: Path, *, checkpoints: Sequence[Path] = ()
) -> int:
    """Scores the test images, or without any the validation images, under every artefact.

    Args:
      built: the experiment.
      workdir: the run's folder; gets ``robustness.csv``, ``.md`` and ``.html``.
      checkpoints: other runs to average instead of the one in ``workdir``.

    Raises:
      InputError: no checkpoint, or images that cannot be used.
    """
    own = latest_run(workdir) if not checkpoints else None
    if own is not None:
        check_configuration(built, own, workdir)
    trained = load_evaluated(built, list(checkpoints) or [workdir])
    data = find_slice_data(built, workdir)
    if own is not None:
        check_slice_data(data, own, workdir)
    if trained.class_names != data.class_names:
        raise InputError(
            f"the classifier tells apart {', '.join(trained.class_names)}; "
            f"the images are of {', '.join(data.class_names)}"
        )
    part = "test" if data.split.test else "validation"
    chosen = list(getattr(data.split, part))
    images, labels = data.images[chosen], data.labels[chosen]
    names = data.slice_ids(part)
    printer = ProgressPrinter("robustness", unit="rows")
    wanted = [Condition(kind=CLEAN), *artefact_conditions()]
    rows = []
    for number, condition in enumerate(wanted, start=1):
        changed = worsened_images(images, names, condition)
        texture = texture_features(changed) if built.data.texture else None
        probabilities = trained.probabilities(changed, range(len(changed)), texture)
        scores = score_classification(probabilities, labels, data.class_names).numbers("x")
        details = {name: scores[f"x/{name}"] for name in (*COLUMNS, "log_loss")}
        details["ece"] = expected_calibration_error(probabilities, labels)
        rows.append(
            RobustnessRow(
                kind=condition.kind,
                label=condition.label,
                strength=condition.strength,
                scores={name: details[name] for name in COLUMNS},
                details=details,
            )
        )
        printer(number, len(wanted))
    write_tables(
        workdir,
        rows,
        columns=COLUMNS,
        metric="score",
        title=f"Robustness of {built.config['model']['name']}: {workdir.name}",
        config=built.config,
        notes=(
            *data.notes,
            f"{len(chosen)} {part} images as the network gets them, at its image size. Noise is "
            "in standard deviations of the image; shift and scale of the intensity in its range; "
            "ghosting is of a head that moved by so many voxels; a bias "
            "field of s multiplies by exp(-s) to exp(s); resolution 1 has pixels twice as long.",
        ),
    )
    return 0


def worsened_images(images: np.ndarray, names: Sequence[str], condition: Condition) -> np.ndarray:
    """Images uint8 [N, H, W, C] under a condition, clipped to 0..255."""
    if condition.kind == CLEAN:
        return images
    change = {**ACQUIRED, **NORMALISED}[condition.kind]
    changed = np.empty_like(images)
    for number, name in enumerate(names):
        rng = artefact_generator(0, condition.kind, name)
        image = change(images[number].astype(np.float32) / 255, condition.strength, rng)
        changed[number] = np.clip(np.rint(255 * image), 0, 255).astype(np.uint8)
    return changed
