"""Losses, all in f32, and their sum."""

from brainjax.losses.attention import attention_loss, inter_class_loss, sample_labels_down
from brainjax.losses.classification import ClassificationObjective, cross_entropy, focal_loss
from brainjax.losses.cross_entropy import cross_entropy_loss
from brainjax.losses.dice import soft_dice_loss
from brainjax.losses.objective import Objective
from brainjax.losses.reconstruction import reconstruction_loss

__all__ = [
    "ClassificationObjective",
    "Objective",
    "attention_loss",
    "cross_entropy",
    "cross_entropy_loss",
    "focal_loss",
    "inter_class_loss",
    "reconstruction_loss",
    "sample_labels_down",
    "soft_dice_loss",
]
