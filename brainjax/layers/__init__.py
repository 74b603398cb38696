"""Parts of networks for two and three spatial axes, channels last."""

from brainjax.layers.activation import ReLU
from brainjax.layers.attention import (
    ContextPrior,
    SelfAttention,
    SupervisedAttention,
    class_affinity,
    class_mask,
)
from brainjax.layers.attention_gate import AttentionGate
from brainjax.layers.conv_block import ConvBlock, PReLU
from brainjax.layers.convolution import Conv
from brainjax.layers.initialization import uniform_fan_in
from brainjax.layers.normalization import BatchNorm, GroupNorm, InstanceNorm
from brainjax.layers.pooling import (
    inter_class_distance,
    intra_class_update,
    masked_average_pool,
)
from brainjax.layers.resampling import (
    average_pool_by_2,
    interpolate_down,
    interpolate_up,
    max_pool_by_2,
)
from brainjax.layers.residual import ResidualBlock
from brainjax.layers.upsampling import UpConv

__all__ = [
    "AttentionGate",
    "BatchNorm",
    "ContextPrior",
    "Conv",
    "ConvBlock",
    "GroupNorm",
    "InstanceNorm",
    "PReLU",
    "ReLU",
    "ResidualBlock",
    "SelfAttention",
    "SupervisedAttention",
    "UpConv",
    "average_pool_by_2",
    "class_affinity",
    "class_mask",
    "inter_class_distance",
    "interpolate_down",
    "interpolate_up",
    "intra_class_update",
    "masked_average_pool",
    "max_pool_by_2",
    "uniform_fan_in",
]
