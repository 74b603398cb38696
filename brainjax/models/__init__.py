"""Whole networks; the two dictionaries are the one place where a name becomes a class."""

from brainjax.models.cga_unet import CGAUNet
from brainjax.models.classifier import Classifier
from brainjax.models.cnn import CNN
from brainjax.models.densenet import DenseNet
from brainjax.models.outputs import (
    ClassificationOutput,
    ReconstructionOutput,
    SegmentationOutput,
)
from brainjax.models.resnet import ResNet
from brainjax.models.saliency_unet import SaliencyEncoder, SaliencyUNet
from brainjax.models.unet import UNet
from brainjax.models.vgg import VGG

MODELS = {"cga_unet": CGAUNet, "unet": UNet}
CLASSIFIERS = {
    "cnn": CNN,
    "densenet": DenseNet,
    "resnet": ResNet,
    "saliency_encoder": SaliencyEncoder,
    "vgg": VGG,
}

__all__ = [
    "CLASSIFIERS",
    "CNN",
    "MODELS",
    "VGG",
    "CGAUNet",
    "ClassificationOutput",
    "Classifier",
    "DenseNet",
    "ReconstructionOutput",
    "ResNet",
    "SaliencyEncoder",
    "SaliencyUNet",
    "SegmentationOutput",
    "UNet",
]
