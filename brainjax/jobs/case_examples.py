"""Cases that a report shows, each with a viewer."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from brainjax.evaluation import RegionScore
from brainjax.report import CaseExample, LabelOverlay, select_examples, write_viewer
from brainjax.report.examples import score_text
from brainjax.scans import CONVENTIONS, CaseFiles, LabelConvention, Volume, read_image, read_volume


def case_examples(
    cases: Sequence[CaseFiles],
    scores: Sequence[RegionScore],
    segmentations: Mapping[str, Path],
    *,
    modalities: Sequence[str],
    label_convention: str,
    workdir: Path,
    viewers: str,
    suffix: str = "",
) -> tuple[CaseExample, ...]:
    """The best, the median and the worst of some cases, each with a viewer written.

    Args:
      cases: raw files.
      scores: of these cases.
      segmentations: case to the file that was written.
      modalities: order of the channels.
      label_convention: of the scans and the segmentations.
      workdir: folder of the report that will show them.
      viewers: folder of the viewers, from there.
      suffix: stands after best, median and worst.
    """
    mean_dice = {
        case.case_id: float(np.mean([s.dice for s in scores if s.case_id == case.case_id]))
        for case in cases
    }
    chosen = select_examples(list(mean_dice), list(mean_dice.values()))
    files = {case.case_id: case for case in cases}
    shown = {
        case_id: _example(
            read_volume(files[case_id], modalities=modalities, label_convention=label_convention),
            segmentations[case_id],
            CONVENTIONS[label_convention],
            {s.region: s.dice for s in scores if s.case_id == case_id},
            workdir,
            viewers,
        )
        for case_id in dict.fromkeys(chosen.values())
    }
    return tuple(
        dataclasses.replace(shown[case_id], rank=f"{rank}{suffix}")
        for rank, case_id in chosen.items()
    )


def _example(
    volume: Volume,
    segmentation: Path,
    labels_of: LabelConvention,
    dice: dict[str, float],
    workdir: Path,
    viewers: str,
) -> CaseExample:
    """A case for the report, with its viewer written."""
    written, _ = read_image(segmentation)
    predicted = labels_of.to_classes(written)
    overlays = [LabelOverlay(name="prediction", classes=predicted, class_names=labels_of.classes)]
    if volume.labels is not None:
        overlays.append(
            LabelOverlay(
                name="reference",
                classes=volume.labels,
                class_names=labels_of.classes,
                outlined=True,
            )
        )
    viewer = write_viewer(
        workdir / viewers / f"{volume.case_id}.html",
        volume,
        overlays,
        note="Dice " + ", ".join(f"{name} {score_text(value)}" for name, value in dice.items()),
    )
    return CaseExample(
        case_id=volume.case_id,
        rank="",
        image=volume.image,
        modalities=volume.modalities,
        reference=volume.labels,
        predicted=predicted,
        spacing_mm=volume.spacing_mm,
        scores={f"dice/{name}": value for name, value in dice.items()},
        viewer=viewer.relative_to(workdir).as_posix(),
    )
