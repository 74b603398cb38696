"""What a trained network bears: its scores under missing modalities and artefacts."""

from __future__ import annotations

import dataclasses
import shlex
import shutil
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from brainjax.errors import InputError
from brainjax.evaluation import (
    RegionScore,
    read_case_table,
    score_case,
    summarize,
    write_case_table,
)
from brainjax.experiment import Experiment
from brainjax.files import read_json, write_json, write_text
from brainjax.jobs.evaluate import find_test_cohort, region_classes
from brainjax.jobs.fit import CHECKPOINTS, INTERRUPTED
from brainjax.jobs.predictor import Predictor, load_predictor, versions
from brainjax.jobs.prepare import find_data
from brainjax.jobs.saved_run import as_json, check_configuration, check_data
from brainjax.report import RobustnessRow, robustness_csv, robustness_markdown, write_robustness
from brainjax.scans import (
    ACQUIRED,
    CONVENTIONS,
    NORMALISED,
    STRENGTHS,
    CaseFiles,
    Volume,
    artefact_generator,
    brain_mask,
    present_subsets,
    read_volume,
)
from brainjax.training import Checkpoints, ProgressPrinter

FOLDER = "robustness"
CLEAN = "none"
MISSING = "missing modalities"

Change = Callable[[np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Condition:
    """One way in which scans are made worse.

    Attributes:
      kind: ``none``, ``missing modalities``, or a name in ``scans.STRENGTHS``.
      strength: of an artefact.
      present: the modalities that are left.
    """

    kind: str
    strength: float = 0.0
    present: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The row's name: what is left, or how strong."""
        if self.kind == MISSING:
            return f"only {' + '.join(self.present)}"
        return "as it is" if self.kind == CLEAN else f"{self.kind} {self.strength:g}"

    @property
    def slug(self) -> str:
        """The label as a file's name."""
        return self.label.replace(" + ", "+").replace(" ", "_")


def conditions(modalities: tuple[str, ...]) -> list[Condition]:
    """The scans as they are, every subset of their modalities, every artefact and strength."""
    subsets = present_subsets(modalities)[1:]  # the first is all of them
    return [
        Condition(kind=CLEAN),
        *(Condition(kind=MISSING, present=present) for present in subsets),
        *artefact_conditions(),
    ]


def artefact_conditions() -> list[Condition]:
    """Every artefact at every strength."""
    return [
        Condition(kind=kind, strength=strength)
        for kind, strengths in STRENGTHS.items()
        for strength in strengths
    ]


def evaluate_robustness(
    built: Experiment, workdir: Path, *, checkpoints: Sequence[Path] = ()
) -> int:
    """Scores the test cohort, or without one the validation fold, under every condition.

    Each finished row is kept: the same command goes on with the next one. A missing
    modality is 0 after normalisation, the brain's mean. Artefacts of the scanner come before
    normalisation and leave the background 0, as skull stripping does; shifts and scales of
    the intensity, which normalisation takes away, come after it.

    Args:
      built: the experiment.
      workdir: the run's folder; gets ``robustness/`` with a table of cases for each row,
        and ``robustness.csv``, ``robustness.md`` and ``robustness.html``.
      checkpoints: other runs to average instead of the one in ``workdir``.

    Raises:
      InputError: no checkpoint, or scans that cannot be used.
    """
    before = signal.signal(signal.SIGTERM, stop_now)
    try:
        predictor = load_predictor(list(checkpoints) or [workdir])
        settings = dataclasses.replace(
            predictor.experiment, inference=built.inference, evaluation=built.evaluation
        )
        predictor = dataclasses.replace(predictor, experiment=settings)
        data = find_data(built, workdir)
        if not checkpoints:
            with Checkpoints(workdir / CHECKPOINTS, read_only=True) as saved:
                run = saved.read_run(predictor.steps[0])
            check_configuration(built, run, workdir)
            check_data(data, run, workdir)
        test = find_test_cohort(built)
        cases = data.validation_files() if test is None else list(test.cases)
        convention = (test or data.cohort).label_convention
        folder = workdir / FOLDER
        _keep_only_alike(folder, predictor, cases, checkpoints)
        rows = _score_rows(predictor, cases, convention, folder)
    finally:
        signal.signal(signal.SIGTERM, before)
    part = "validation" if test is None else "test"
    write_tables(
        workdir,
        rows,
        columns=("ET", "WT", "TC", "mean"),
        metric="Dice",
        title=f"Robustness of {built.config['model']['name']}: {workdir.name}",
        config=built.config,
        notes=(
            *data.notes,
            f"Mean Dice over {len(cases)} {part} case{'s' * (len(cases) != 1)}. A missing "
            "modality is 0 after normalisation, the brain's mean. Noise, ghosting, bias field "
            "and resolution come before normalisation, shift and scale of the intensity (in "
            "standard deviations of the brain) after it. Noise is in standard deviations of the "
            "scan; ghosting is of a head that moved by so many voxels; a "
            "bias field of s multiplies by exp(-s) to exp(s); resolution 1 has voxels twice as "
            "long along each axis.",
        ),
    )
    return 0


def stop_now(number: int, frame: Any) -> None:
    """Every row is kept as it ends: there is nothing else to save."""
    del number, frame
    print("stopped; run the same command to go on", flush=True)
    raise SystemExit(INTERRUPTED)


def write_tables(
    workdir: Path,
    rows: Sequence[RobustnessRow],
    *,
    columns: Sequence[str],
    metric: str,
    title: str,
    config: Mapping[str, Any],
    notes: Sequence[str],
) -> None:
    """Writes ``robustness.csv``, ``.md`` and ``.html`` and tells the table.

    Args:
      workdir: where they go.
      rows: the first is that without any artefact.
      columns: names of the scores in the heat map.
      metric: what they are.
      title: of the page.
      config: of the run.
      notes: what a reader has to know.
    """
    table = robustness_markdown(rows, columns, metric=metric)
    write_text(workdir / "robustness.csv", robustness_csv(rows))
    text = "".join(f"> {note}\n\n" for note in notes)
    write_text(workdir / "robustness.md", f"# {title}\n\n{text}{table}\n")
    write_robustness(
        workdir / "robustness.html",
        rows,
        columns,
        metric=metric,
        title=title,
        command=shlex.join(["python", "-m", "brainjax.main", *sys.argv[1:]]),
        config=config,
        environment=versions(),
        notes=notes,
        figures_folder=workdir / "figures",
    )
    print(f"\n{table}\n\nreport: {workdir / 'robustness.html'}", flush=True)


def _keep_only_alike(
    folder: Path, predictor: Predictor, cases: Sequence[CaseFiles], checkpoints: Sequence[Path]
) -> None:
    """Removes rows of another network, other cases or other ways to predict and score."""
    config = predictor.experiment.config
    told = as_json(
        {
            "checkpoints": [str(path) for path in checkpoints],
            "steps": predictor.steps,
            "cases": [case.case_id for case in cases],
            "inference": dataclasses.asdict(predictor.experiment.inference),
            "evaluation": dataclasses.asdict(predictor.experiment.evaluation),
            "model": config["model"],
            "strengths": dict(STRENGTHS),
        }
    )
    path = folder / "settings.json"
    if path.exists() and read_json(path) != told:
        print(f"{folder}: rows of another network, cases or settings; made anew", flush=True)
        shutil.rmtree(folder)
    write_json(path, told)


def _score_rows(
    predictor: Predictor, cases: Sequence[CaseFiles], convention: str, folder: Path
) -> list[RobustnessRow]:
    wanted = conditions(predictor.modalities)
    printer = ProgressPrinter("robustness", unit="rows")
    rows: list[RobustnessRow] = []
    kept = 0
    for number, condition in enumerate(wanted, start=1):
        path = folder / f"{condition.slug}.csv"
        if path.exists():
            kept += 1
        else:
            scores = _score(predictor, cases, convention, condition)
            write_case_table(path, scores)
            printer(number - kept, len(wanted) - kept)
        summary = summarize(read_case_table(path), prefix="x")
        rows.append(
            RobustnessRow(
                kind=condition.kind,
                label=condition.label,
                strength=condition.strength,
                scores={
                    name: summary[f"x/dice/{name}"]
                    for name in ("ET", "WT", "TC", "mean")
                    if f"x/dice/{name}" in summary
                },
                details={
                    name.removeprefix("x/"): value
                    for name, value in summary.items()
                    if name.split("/")[1] in ("dice", "dice_sd", "hd95_mm", "nsd")
                },
            )
        )
    if kept:
        print(f"{kept} of {len(wanted)} rows were there before; kept", flush=True)
    return rows


def _score(
    predictor: Predictor, cases: Sequence[CaseFiles], convention: str, condition: Condition
) -> list[RegionScore]:
    options = predictor.experiment.evaluation
    labels_of = CONVENTIONS[convention]
    scores: list[RegionScore] = []
    for case in cases:
        volume = read_volume(case, modalities=predictor.modalities, label_convention=convention)
        if volume.labels is None:
            raise InputError(f"{case.case_id}: no labels to score against")
        changed, after = worsened(volume, condition)
        predicted, _ = predictor.segment(changed, after_normalising=after)
        scores += score_case(
            predicted,
            volume.labels,
            case_id=case.case_id,
            regions=region_classes(labels_of),
            spacing_mm=volume.spacing_mm,
            convention=options.convention_for(labels_of),
            hd95_method=None if options.hd95_method == "auto" else options.hd95_method,
            tolerance_mm=options.tolerance_mm,
        )
    return scores


def worsened(volume: Volume, condition: Condition, *, seed: int = 0) -> tuple[Volume, Change]:
    """A scan under a condition, and what to do to it once it is normalised.

    Args:
      volume: the scan as read.
      condition: what happens to it.
      seed: of the artefacts; the same case has the same noise, axis and field every time.
    """
    if condition.kind == MISSING:
        kept = np.isin(volume.modalities, condition.present).astype(np.float32)  # [C]
        return volume, lambda image: image * kept
    rng = artefact_generator(seed, condition.kind, volume.case_id)
    if condition.kind in NORMALISED:
        change = NORMALISED[condition.kind]
        return volume, lambda image: change(image, condition.strength, rng)
    if condition.kind in ACQUIRED:
        image = ACQUIRED[condition.kind](volume.image, condition.strength, rng)
        image *= brain_mask(volume.image)[..., None]
        volume = dataclasses.replace(volume, image=image)
    return volume, lambda image: image
