"""From a configuration to real objects: the only reader of config files."""

from brainjax.experiment.build import ADDED, build, complete_saved
from brainjax.experiment.classification import ClassificationExperiment
from brainjax.experiment.segmentation import Experiment

__all__ = ["ADDED", "ClassificationExperiment", "Experiment", "build", "complete_saved"]
