"""Whole networks; ``MODELS`` is the one place where a name becomes a class."""

from brainjax.models.cga_unet import CGAUNet
from brainjax.models.outputs import SegmentationOutput
from brainjax.models.unet import UNet

MODELS = {"cga_unet": CGAUNet, "unet": UNet}

__all__ = ["MODELS", "CGAUNet", "SegmentationOutput", "UNet"]
