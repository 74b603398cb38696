"""Augmentation on the device: pure functions of (key, batch), compiled into the step."""

from brainjax.augment.batch import AugmentOptions, augment_batch, augment_volumes
from brainjax.augment.geometry import flip_randomly
from brainjax.augment.images import ImageAugmentOptions, augment_images
from brainjax.augment.intensity import drop_modalities_randomly, scale_and_shift_randomly
from brainjax.augment.mixing import mix_examples
from brainjax.augment.slices import augment_slices
from brainjax.augment.warp import warp_affine

__all__ = [
    "AugmentOptions",
    "ImageAugmentOptions",
    "augment_batch",
    "augment_images",
    "augment_slices",
    "augment_volumes",
    "drop_modalities_randomly",
    "flip_randomly",
    "mix_examples",
    "scale_and_shift_randomly",
    "warp_affine",
]
