"""Scans to records: makes phantoms where no scans are given, and deals patients out."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from brainjax.errors import InputError
from brainjax.experiment import Experiment
from brainjax.records import RecordOptions, Records, patient_folds, prepare_records
from brainjax.scans import CONVENTIONS, CaseFiles, Cohort, find_cohort, write_phantom_cohort
from brainjax.training import ProgressPrinter


@dataclasses.dataclass(frozen=True, kw_only=True)
class Data:
    """What a run trains and validates on.

    Attributes:
      cohort: the raw scans; records have the same order.
      training: numbers of the training cases.
      validation: numbers of the validation cases.
      notes: what a reader of the scores has to know.
    """

    cohort: Cohort
    training: tuple[int, ...]
    validation: tuple[int, ...]
    notes: tuple[str, ...]

    def patients(self, cases: tuple[int, ...]) -> list[str]:
        """The patients of some cases, sorted."""
        return sorted({self.cohort.cases[n].patient_id for n in cases})

    def case_ids(self, cases: tuple[int, ...]) -> list[str]:
        """The names of some cases."""
        return [self.cohort.cases[n].case_id for n in cases]

    @property
    def num_classes(self) -> int:
        """Classes that the network tells apart, background included."""
        return len(CONVENTIONS[self.cohort.label_convention].classes)

    def validation_files(self) -> list[CaseFiles]:
        """Raw files of the validation cases."""
        return [self.cohort.cases[n] for n in self.validation]


def find_data(experiment: Experiment, workdir: Path) -> Data:
    """Finds the scans and splits them by patient; makes phantoms where none are given.

    Raises:
      InputError: scans are missing or their layout is not known, or there are fewer
        patients than folds.
    """
    notes: tuple[str, ...] = ()
    if experiment.data.root:
        cohort = find_cohort(
            experiment.data.root,
            experiment.data.label_convention,
            modalities=experiment.data.modalities,
        )
    elif experiment.data.needs_root:
        raise InputError(
            "config.data.root is empty: this recipe is for real scans; "
            "add --config.data.root=FOLDER (BraTS 2017-2024 or MSD Task01 layout)"
        )
    else:
        phantom = experiment.phantom
        root = write_phantom_cohort(
            workdir / "phantoms",
            cases=phantom.cases,
            shape=phantom.shape,
            seed=phantom.seed,
            progress=ProgressPrinter("phantoms", unit="cases"),
        )
        cohort = find_cohort(root, "brats2020")
        notes = (
            "Made-up heads (phantoms): these scores say that the software works, "
            "nothing about real tumours.",
        )
    number = len(cohort.cases)
    print(f"{cohort.root}: {cohort.layout}, {number} case{'s' * (number > 1)}", flush=True)
    training, validation, split_notes = _split(experiment, cohort)
    return Data(
        cohort=cohort, training=training, validation=validation, notes=(*notes, *split_notes)
    )


def split_again(experiment: Experiment, data: Data) -> Data:
    """The same scans, split as another fold of the experiment asks.

    Raises:
      InputError: there are fewer patients than folds.
    """
    training, validation, _ = _split(experiment, data.cohort)
    return dataclasses.replace(data, training=training, validation=validation)


def prepare(experiment: Experiment, data: Data, workdir: Path) -> Records:
    """Writes the records of all cases, once.

    Raises:
      InputError: a scan cannot be read or its files do not fit together.
    """
    folder = Path(experiment.data.records) if experiment.data.records else workdir / "records"
    records = prepare_records(
        data.cohort,
        folder,
        options=RecordOptions(modalities=experiment.data.modalities),
        parts=experiment.data.parts,
        progress=ProgressPrinter("records", unit="cases"),
    )
    if records.reason:
        print(f"records written to {folder}: {records.reason}", flush=True)
    return records


def _split(
    experiment: Experiment, cohort: Cohort
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[str, ...]]:
    patients = sorted({case.patient_id for case in cohort.cases})
    everything = tuple(range(len(cohort.cases)))
    split = experiment.split
    if split.folds == 1 or len(patients) == 1:
        reason = "config.split.folds is 1" if split.folds == 1 else "there is only one patient"
        note = (
            f"Validated on the training cases ({reason}): "
            "these scores measure fitting, not generalisation."
        )
        print(f"note: {note}", flush=True)
        return everything, everything, (note,)
    if len(patients) < split.folds:
        raise InputError(
            f"config.split.folds {split.folds}: more than the {len(patients)} patients in "
            f"{cohort.root}; set it to {len(patients)} or less (1 validates on the training cases)"
        )
    grades = {case.patient_id: case.grade for case in cohort.cases}
    folds = patient_folds(patients, folds=split.folds, seed=split.seed, grades=grades)
    held_out = set(folds[split.fold])
    validation = tuple(n for n in everything if cohort.cases[n].patient_id in held_out)
    return tuple(n for n in everything if n not in validation), validation, ()
