"""Scans to records, once: ArrayRecord files, a voxel store for cheap crops, patient splits."""

from brainjax.records.builders import RecordOptions
from brainjax.records.duplicates import find_duplicates
from brainjax.records.fit_image import fit_image, fit_region
from brainjax.records.prepare import prepare_records
from brainjax.records.schema import SCHEMA_VERSION, CaseRecord
from brainjax.records.slice_records import SliceRecords, open_slices, prepare_slices
from brainjax.records.slice_schema import SliceRecord, SliceRecordOptions
from brainjax.records.slice_splits import split_slices
from brainjax.records.split_options import SliceSplit, SliceSplitOptions
from brainjax.records.splits import patient_folds, split_patients
from brainjax.records.store import Records, StoredCase, open_records
from brainjax.records.texture import TEXTURE_FEATURES, glcm_energy, texture_features

__all__ = [
    "SCHEMA_VERSION",
    "TEXTURE_FEATURES",
    "CaseRecord",
    "RecordOptions",
    "Records",
    "SliceRecord",
    "SliceRecordOptions",
    "SliceRecords",
    "SliceSplit",
    "SliceSplitOptions",
    "StoredCase",
    "find_duplicates",
    "fit_image",
    "fit_region",
    "glcm_energy",
    "open_records",
    "open_slices",
    "patient_folds",
    "prepare_records",
    "prepare_slices",
    "split_patients",
    "split_slices",
    "texture_features",
]
