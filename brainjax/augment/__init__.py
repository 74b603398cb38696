"""Augmentation on the device: pure functions of (key, batch), compiled into the step."""

from brainjax.augment.batch import AugmentOptions, augment_batch
from brainjax.augment.geometry import flip_randomly
from brainjax.augment.intensity import scale_and_shift_randomly

__all__ = ["AugmentOptions", "augment_batch", "flip_randomly", "scale_and_shift_randomly"]
