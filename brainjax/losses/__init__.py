"""Losses, all in f32, and their sum."""

from brainjax.losses.attention import attention_loss, inter_class_loss, sample_labels_down
from brainjax.losses.classification import ClassificationObjective, cross_entropy, focal_loss
from brainjax.losses.cross_entropy import cross_entropy_loss
from brainjax.losses.deep_supervision import deep_supervision_weights
from brainjax.losses.dice import soft_dice_loss
from brainjax.losses.objective import Objective
from brainjax.losses.reconstruction import reconstruction_loss
from brainjax.losses.regions import (
    region_cross_entropy_loss,
    region_dice_loss,
    region_targets,
)

__all__ = [
    "ClassificationObjective",
    "Objective",
    "attention_loss",
    "cross_entropy",
    "cross_entropy_loss",
    "deep_supervision_weights",
    "focal_loss",
    "inter_class_loss",
    "reconstruction_loss",
    "region_cross_entropy_loss",
    "region_dice_loss",
    "region_targets",
    "sample_labels_down",
    "soft_dice_loss",
]
