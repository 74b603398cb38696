"""From a configuration to real objects: the only reader of config files."""

from brainjax.experiment.build import build, complete_saved
from brainjax.experiment.classification import ClassificationExperiment
from brainjax.experiment.reconstruction import ReconstructionExperiment
from brainjax.experiment.segmentation import Experiment

__all__ = [
    "ClassificationExperiment",
    "Experiment",
    "ReconstructionExperiment",
    "build",
    "complete_saved",
]
