"""Scans to records, once: ArrayRecord files, a voxel store for cheap crops, patient splits."""

from brainjax.records.builders import RecordOptions
from brainjax.records.prepare import prepare_records
from brainjax.records.schema import SCHEMA_VERSION, CaseRecord
from brainjax.records.splits import patient_folds, split_patients
from brainjax.records.store import Records, StoredCase, open_records

__all__ = [
    "SCHEMA_VERSION",
    "CaseRecord",
    "RecordOptions",
    "Records",
    "StoredCase",
    "open_records",
    "patient_folds",
    "prepare_records",
    "split_patients",
]
