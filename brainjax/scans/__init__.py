"""Raw scans: finding cases, reading NIfTI, label conventions, the phantom cohort."""

from brainjax.scans.cohort import find_cases_to_predict, find_cohort, read_volume
from brainjax.scans.dicom import Series, read_series
from brainjax.scans.figshare_mat import write_mat_slice
from brainjax.scans.image_file import read_image_file, write_image_file
from brainjax.scans.labels import CONVENTIONS, REGIONS, TISSUES, LabelConvention, convention
from brainjax.scans.nifti import from_lps, new_grid, read_image, to_lps, write_array
from brainjax.scans.normalize import brain_box, brain_mask, zscore
from brainjax.scans.phantom import write_phantom_cohort
from brainjax.scans.phantom_series import write_phantom_series
from brainjax.scans.phantom_slices import PHANTOM_LAYOUTS, write_phantom_slices
from brainjax.scans.rsna import SeriesOptions, find_rsna, find_series_to_predict
from brainjax.scans.scan import MODALITIES, CaseFiles, Cohort, Grid, Volume
from brainjax.scans.series_slice import read_series_slice
from brainjax.scans.slice import Slice, SliceFile, SliceSet
from brainjax.scans.slices import SOURCES, find_slices, find_slices_to_predict, read_slice
from brainjax.scans.tumour_region import read_boxes, read_region

__all__ = [
    "CONVENTIONS",
    "MODALITIES",
    "PHANTOM_LAYOUTS",
    "REGIONS",
    "SOURCES",
    "TISSUES",
    "CaseFiles",
    "Cohort",
    "Grid",
    "LabelConvention",
    "Series",
    "SeriesOptions",
    "Slice",
    "SliceFile",
    "SliceSet",
    "Volume",
    "brain_box",
    "brain_mask",
    "convention",
    "find_cases_to_predict",
    "find_cohort",
    "find_rsna",
    "find_series_to_predict",
    "find_slices",
    "find_slices_to_predict",
    "from_lps",
    "new_grid",
    "read_boxes",
    "read_image",
    "read_image_file",
    "read_region",
    "read_series",
    "read_series_slice",
    "read_slice",
    "read_volume",
    "to_lps",
    "write_array",
    "write_image_file",
    "write_mat_slice",
    "write_phantom_cohort",
    "write_phantom_series",
    "write_phantom_slices",
    "zscore",
]
