"""From a configuration to real objects: the only reader of config files."""

from brainjax.experiment.build import ADDED, build, complete_saved
from brainjax.experiment.classification import ClassificationExperiment
from brainjax.experiment.reconstruction import ReconstructionExperiment
from brainjax.experiment.search import (
    Parameter,
    SearchOptions,
    make_search,
    value_of,
    with_changes,
)
from brainjax.experiment.sections import plain_values
from brainjax.experiment.segmentation import Experiment

__all__ = [
    "ADDED",
    "ClassificationExperiment",
    "Experiment",
    "Parameter",
    "ReconstructionExperiment",
    "SearchOptions",
    "build",
    "complete_saved",
    "make_search",
    "plain_values",
    "value_of",
    "with_changes",
]
