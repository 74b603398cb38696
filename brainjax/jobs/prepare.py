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
class PreparedData:
    """What a run trains and validates on.

    Attributes:
      cohort: the raw scans.
      records: the prepared ones; case n is the cohort's case n.
      training: numbers of the training cases.
      validation: numbers of the validation cases.
      notes: what a reader of the scores has to know.
    """

    cohort: Cohort
    records: Records
    training: tuple[int, ...]
    validation: tuple[int, ...]
    notes: tuple[str, ...]

    @property
    def seen(self) -> int:
        """How many patients are on both sides of the split."""
        patients = [case.patient_id for case in self.cohort.cases]
        return len({patients[n] for n in self.training} & {patients[n] for n in self.validation})

    @property
    def num_classes(self) -> int:
        """Classes that the network tells apart, background included."""
        return len(CONVENTIONS[self.cohort.label_convention].classes)

    def validation_files(self) -> list[CaseFiles]:
        """Raw files of the validation cases."""
        return [self.cohort.cases[n] for n in self.validation]


def prepare(experiment: Experiment, workdir: Path) -> PreparedData:
    """Finds the scans, writes their records once, and splits them by patient.

    Raises:
      InputError: scans are missing, unreadable or do not fit together.
    """
    notes = []
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
            workdir / "phantoms", cases=phantom.cases, shape=phantom.shape, seed=phantom.seed,
            progress=ProgressPrinter("phantoms", unit="cases"),
        )  # fmt: skip
        cohort = find_cohort(root, "brats2020")
        notes.append(
            "Made-up heads (phantoms): these scores say that the software works, "
            "nothing about real tumours."
        )
    print(f"{cohort.root}: {cohort.layout}, {len(cohort.cases)} cases", flush=True)
    records = prepare_records(
        cohort,
        Path(experiment.data.records) if experiment.data.records else workdir / "records",
        options=RecordOptions(modalities=experiment.data.modalities),
        progress=ProgressPrinter("records", unit="cases"),
    )
    training, validation, split_notes = _split(experiment, cohort)
    return PreparedData(
        cohort=cohort,
        records=records,
        training=training,
        validation=validation,
        notes=(*notes, *split_notes),
    )


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
    held_out = set(patient_folds(patients, folds=split.folds, seed=split.seed)[split.fold])
    validation = tuple(n for n in everything if cohort.cases[n].patient_id in held_out)
    return tuple(n for n in everything if n not in validation), validation, ()
