"""Segmentations of labelled scans, their scores, tables and report."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from brainjax import parallel
from brainjax.errors import InputError
from brainjax.evaluation import (
    RegionScore,
    VoxelSample,
    score_case,
    summarize,
    summary_markdown,
    write_case_table,
)
from brainjax.experiment import Experiment
from brainjax.files import read_json, write_json, write_text
from brainjax.inference import write_segmentation
from brainjax.jobs.calibrate import calibrate, segment_and_sample
from brainjax.jobs.case_examples import case_examples
from brainjax.jobs.fit import CHECKPOINTS
from brainjax.jobs.predictor import Predictor, load_predictor, versions
from brainjax.jobs.prepare import Data, find_data
from brainjax.jobs.saved_run import check_configuration, check_data
from brainjax.jobs.temperature import write_temperature
from brainjax.report import (
    CalibratedPart,
    CaseExample,
    RunReport,
    write_report,
)
from brainjax.scans import (
    CONVENTIONS,
    CaseFiles,
    Cohort,
    LabelConvention,
    find_cohort,
    read_volume,
)
from brainjax.training import Checkpoints, ProgressPrinter, read_history


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scored:
    """Scores of one set of cases.

    Attributes:
      prefix: ``val`` or ``test``.
      scores: one for each case and region.
      examples: best, median and worst case with their voxels.
      samples: voxels of every case, for calibration; none of a network of regions.
    """

    prefix: str
    scores: tuple[RegionScore, ...]
    examples: tuple[CaseExample, ...]
    samples: tuple[VoxelSample, ...]


def evaluate(built: Experiment, workdir: Path, *, checkpoints: Sequence[Path] = ()) -> None:
    """Scores the validation fold and, where given, the test cohort, and writes the report.

    Args:
      built: the experiment. Its data and split decide what is scored; without
        ``checkpoints`` they must be those of the run in ``workdir``.
      workdir: the run's folder; gets ``scores_val.csv``, ``summary.json``,
        ``summary.md``, ``segmentations/``, ``viewer/`` and ``report.html``.
      checkpoints: other runs to average instead of the one in ``workdir``.

    Raises:
      InputError: no checkpoint, or scans that cannot be used.
    """
    predictor = load_predictor(list(checkpoints) or [workdir], parallel=built.parallel)
    if not checkpoints:
        with Checkpoints(workdir / CHECKPOINTS, read_only=True) as saved:
            run = saved.read_run(predictor.steps[0])
        check_configuration(built, run, workdir)
    test = find_test_cohort(built)
    with parallel.first_goes_first():
        data = find_data(built, workdir)
    if not checkpoints:
        check_data(data, run, workdir)
    finish(
        predictor,
        workdir,
        built=built,
        data=data,
        test=test,
        numbers=numbers_of_training(workdir),
        own=not checkpoints,
    )


def find_test_cohort(built: Experiment) -> Cohort | None:
    """The cohort of ``evaluation.test_root``, None without one.

    Raises:
      InputError: nothing usable is there.
    """
    if not built.evaluation.test_root:
        return None
    return find_cohort(built.evaluation.test_root, modalities=built.data.modalities)


def region_classes(labels_of: LabelConvention) -> dict[str, tuple[int, ...]]:
    """The classes of each region, in the order in which the field reports them."""
    return {name: labels_of.region_classes(name) for name in ("ET", "WT", "TC")}


def finish(
    trained: Predictor,
    workdir: Path,
    *,
    built: Experiment,
    data: Data,
    test: Cohort | None,
    numbers: dict[str, float],
    own: bool = True,
) -> dict[str, float]:
    """Scores all cases from their raw files and writes tables, summary and report.

    The cases are dealt out to the processes; the first writes all but the segmentations.
    Probabilities of classes are calibrated on the validation cases.

    Args:
      trained: the network; ``built`` says how it predicts and is scored.
      workdir: where everything goes.
      built: the experiment asked for.
      data: its scans and split.
      test: another cohort to score.
      numbers: of the training, for the summary.
      own: whether it is the run in ``workdir``, which then keeps the temperature.

    Returns:
      What ``summary.json`` holds.
    """
    settings = dataclasses.replace(
        trained.experiment, inference=built.inference, evaluation=built.evaluation
    )
    predictor = dataclasses.replace(trained, experiment=settings)
    cohorts = [("val", data.validation_files(), data.cohort)]
    if test is not None:
        cohorts.append(("test", list(test.cases), test))
    summary = dict(numbers)
    summary["model/parameters"] = float(
        sum(leaf.size for leaf in _leaves(predictor.variables[0]["params"]))
    )
    summary["checkpoint/step"] = float(predictor.steps[0])
    notes, text, sets = list(data.notes), [], []
    for prefix, cases, cohort in cohorts:
        seen = {case.patient_id for case in cases} & predictor.training_patients
        summary[f"{prefix}/patients_seen_in_training"] = float(len(seen))
        if seen and prefix == "test":
            notes.append(
                f"{len(seen)} of the test patients were trained on: "
                "the test scores are not of unseen patients."
            )
            print(f"note: {notes[-1]}", flush=True)
        scored = _score_set(predictor, cases, cohort.label_convention, prefix, workdir)
        summary |= summarize(scored.scores, prefix=prefix)
        text += [f"\n## {_SET_NAMES[prefix]}\n", summary_markdown(scored.scores)]
        sets.append(scored)
    if not parallel.is_first():
        return summary
    calibration: tuple[CalibratedPart, ...] = ()
    if not built.trains_regions:
        temperature, calibration, numbers_of_calibration = calibrate(
            {scored.prefix: scored.samples for scored in sets},
            region_classes(CONVENTIONS[data.cohort.label_convention]),
        )
        summary |= numbers_of_calibration
        if own:
            mirror = built.inference.window.mirror
            write_temperature(workdir, temperature, step=predictor.steps[0], mirror=mirror)
    write_json(workdir / "summary.json", summary)
    heading = [f"# {built.config['model']['name']}\n", *(f"> {note}\n" for note in notes)]
    write_text(workdir / "summary.md", "\n".join([*heading, *text]) + "\n")
    write_report(
        workdir / "report.html",
        RunReport(
            title=f"{built.config['model']['name']}: {workdir.name}",
            command=shlex.join(["python", "-m", "brainjax.main", *sys.argv[1:]]),
            config=built.config,
            history=read_history(workdir / "metrics.jsonl"),
            summary=summary,
            case_scores=[row for scored in sets for row in _case_rows(scored)],
            examples=tuple(example for scored in sets for example in scored.examples),
            calibration=calibration,
            environment=versions(),
            notes=tuple(notes),
        ),
    )
    print(f"\n{summary_markdown(sets[0].scores)}\n", flush=True)
    for scored in sets:
        name = f"{scored.prefix}/dice/mean"
        print(f"{name} {summary.get(name, float('nan')):.4f}", flush=True)
    print(f"report: {workdir / 'report.html'}", flush=True)
    return summary


_SET_NAMES = {"val": "Validation", "test": "Test"}


def _score_set(
    predictor: Predictor,
    cases: Sequence[CaseFiles],
    label_convention: str,
    prefix: str,
    workdir: Path,
) -> Scored:
    options = predictor.experiment.evaluation
    labels_of = CONVENTIONS[label_convention]
    if labels_of.classes != CONVENTIONS[predictor.label_convention].classes:
        raise InputError(
            f"the network tells apart {CONVENTIONS[predictor.label_convention].classes}, "
            f"the scans of {prefix} {labels_of.classes}; train on scans of the same classes"
        )
    method = None if options.hd95_method == "auto" else options.hd95_method
    folder = workdir / "segmentations" / prefix
    printer = ProgressPrinter(f"scoring {prefix}", unit="cases")
    of_cases: list[Sequence[RegionScore]] = []
    samples: list[VoxelSample] = []
    own = parallel.own_share(cases)
    for number, case in enumerate(own, start=1):
        volume = read_volume(
            case, modalities=predictor.modalities, label_convention=label_convention
        )
        if volume.labels is None:
            raise InputError(f"{case.case_id}: no labels to score against")
        if predictor.experiment.trains_regions:
            predicted, _ = predictor.segment(volume)
        else:
            predicted, sample = segment_and_sample(predictor, volume)
            samples.append(sample)
        write_segmentation(folder, volume, predicted)
        of_case = score_case(
            predicted,
            volume.labels,
            case_id=case.case_id,
            regions=region_classes(labels_of),
            spacing_mm=volume.spacing_mm,
            convention=options.convention_for(labels_of),
            hd95_method=method,
            tolerance_mm=options.tolerance_mm,
        )
        of_cases.append(of_case)
        printer(number, len(own))
    scores = [score for case in parallel.in_order(parallel.gather(of_cases)) for score in case]
    of_all = tuple(parallel.in_order(parallel.gather(samples)))
    if not parallel.is_first():
        return Scored(prefix=prefix, scores=tuple(scores), examples=(), samples=of_all)
    write_case_table(workdir / f"scores_{prefix}.csv", scores)
    examples = case_examples(
        cases,
        scores,
        {case.case_id: folder / f"{case.case_id}.nii.gz" for case in cases},
        modalities=predictor.modalities,
        label_convention=label_convention,
        workdir=workdir,
        viewers="viewer" if prefix == "val" else f"viewer/{prefix}",
        suffix="" if prefix == "val" else f" ({prefix})",
    )
    return Scored(prefix=prefix, scores=tuple(scores), examples=examples, samples=of_all)


def _case_rows(scored: Scored) -> list[dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {}
    for score in scored.scores:
        row = rows.setdefault(score.case_id, {"case_id": score.case_id, "set": scored.prefix})
        row[f"{score.region}_dice"] = score.dice
        row[f"{score.region}_hd95_mm"] = score.hd95_mm
    return list(rows.values())


def numbers_of_training(workdir: Path) -> dict[str, float]:
    """What an earlier ``summary.json`` says of the training itself."""
    path = workdir / "summary.json"
    if not path.exists():
        return {}
    return {name: value for name, value in read_json(path).items() if name.startswith("train/")}


def _leaves(tree: Any) -> list[np.ndarray]:
    if isinstance(tree, dict):
        return [leaf for branch in tree.values() for leaf in _leaves(branch)]
    return [tree]
