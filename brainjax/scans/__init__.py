"""Raw scans: finding cases, reading NIfTI, label conventions, the phantom cohort."""

from brainjax.scans.cohort import find_cases_to_predict, find_cohort, read_volume
from brainjax.scans.labels import CONVENTIONS, REGIONS, TISSUES, LabelConvention, convention
from brainjax.scans.nifti import from_lps, new_grid, read_image, to_lps, write_array
from brainjax.scans.normalize import brain_box, brain_mask, zscore
from brainjax.scans.phantom import write_phantom_cohort
from brainjax.scans.scan import MODALITIES, CaseFiles, Cohort, Grid, Volume

__all__ = [
    "CONVENTIONS",
    "MODALITIES",
    "REGIONS",
    "TISSUES",
    "CaseFiles",
    "Cohort",
    "Grid",
    "LabelConvention",
    "Volume",
    "brain_box",
    "brain_mask",
    "convention",
    "find_cases_to_predict",
    "find_cohort",
    "from_lps",
    "new_grid",
    "read_image",
    "read_volume",
    "to_lps",
    "write_array",
    "write_phantom_cohort",
    "zscore",
]
