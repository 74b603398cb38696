"""Whole networks; the two dictionaries are the one place where a name becomes a class."""

from brainjax.models.attention_unet import AttentionUNet
from brainjax.models.cga_unet import CGAUNet
from brainjax.models.classifier import Classifier
from brainjax.models.cnn import CNN
from brainjax.models.densenet import DenseNet
from brainjax.models.kiunet3d import KiUNet3D
from brainjax.models.nnunet import PlainConvUNet, ResidualEncoderUNet
from brainjax.models.outputs import (
    ClassificationOutput,
    ReconstructionOutput,
    SegmentationOutput,
)
from brainjax.models.resnet import ResNet
from brainjax.models.saliency_unet import SaliencyEncoder, SaliencyUNet
from brainjax.models.unet import UNet
from brainjax.models.unet3d import UNet3D
from brainjax.models.vgg import VGG
from brainjax.models.vnet import VNet

MODELS = {
    "attention_unet": AttentionUNet,
    "cga_unet": CGAUNet,
    "kiunet3d": KiUNet3D,
    "nnunet": PlainConvUNet,
    "resenc_unet": ResidualEncoderUNet,
    "unet": UNet,
    "unet3d": UNet3D,
    "vnet": VNet,
}
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
    "AttentionUNet",
    "CGAUNet",
    "ClassificationOutput",
    "Classifier",
    "DenseNet",
    "KiUNet3D",
    "PlainConvUNet",
    "ReconstructionOutput",
    "ResNet",
    "ResidualEncoderUNet",
    "SaliencyEncoder",
    "SaliencyUNet",
    "SegmentationOutput",
    "UNet",
    "UNet3D",
    "VNet",
]
