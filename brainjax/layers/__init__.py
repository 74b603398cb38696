"""Parts of networks for two and three spatial axes, channels last."""

from brainjax.layers.attention import (
    ContextPrior,
    SelfAttention,
    SupervisedAttention,
    class_affinity,
    class_mask,
)
from brainjax.layers.convolution import Conv
from brainjax.layers.initialization import uniform_fan_in
from brainjax.layers.normalization import BatchNorm, GroupNorm
from brainjax.layers.pooling import (
    inter_class_distance,
    intra_class_update,
    masked_average_pool,
)
from brainjax.layers.residual import ResidualBlock
from brainjax.layers.upsampling import UpConv

__all__ = [
    "BatchNorm",
    "ContextPrior",
    "Conv",
    "GroupNorm",
    "ResidualBlock",
    "SelfAttention",
    "SupervisedAttention",
    "UpConv",
    "class_affinity",
    "class_mask",
    "inter_class_distance",
    "intra_class_update",
    "masked_average_pool",
    "uniform_fan_in",
]
