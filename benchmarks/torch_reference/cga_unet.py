"""The CGA U-Net in PyTorch, from the paper and the list of names.

Parameter names and shapes are those of the released checkpoint.
"""

from __future__ import annotations

import itertools

import torch
from torch import nn
from torch.nn import functional


class Holder(nn.Module):
    """Modules under given names."""

    def __init__(self, **modules):
        super().__init__()
        for name, module in modules.items():
            self.add_module(name, module)


def conv(inputs, outputs, size=3, stride=1):
    """A convolution with bias, padded by half its kernel."""
    return nn.Conv3d(inputs, outputs, size, stride=stride, padding=size // 2)


def norm(kind, width):
    """Group norm of 8 groups, or batch norm."""
    return nn.GroupNorm(8, width) if kind == "group" else nn.BatchNorm3d(width)


def block(kind, width):
    """The layers of a residual block, in the order of the checkpoint's names."""
    parts = {}
    for index in (1, 2):
        parts[f"bn{index}"] = norm(kind, width)
        parts[f"conv{index}"] = conv(width, width)
    return Holder(**parts)


def run_block(module, x):
    """Norm, ReLU and convolution, twice, added to the input."""
    y = module.conv1(torch.relu(module.bn1(x)))
    return x + module.conv2(torch.relu(module.bn2(y)))


class CGAUNet(nn.Module):
    """Both variants, without dropout: gradients are compared, and times of the same work."""

    def __init__(self, variant="released", classes=4, width=16, channels=4):
        super().__init__()
        self.variant = variant
        kind = {"released": "group", "paper": "batch"}[variant]
        size = {"released": 1, "paper": 3}[variant]
        self.weight_attention = nn.Parameter(torch.ones(1))
        self.InitConv = Holder(conv=conv(channels, width))
        self.EnBlock1 = block(kind, width)
        for level, blocks in ((2, 2), (3, 2), (4, 4)):
            wide = width * 2 ** (level - 1)
            self.add_module(f"EnDown{level - 1}", Holder(conv=conv(wide // 2, wide, stride=2)))
            for index in range(1, blocks + 1):
                self.add_module(f"EnBlock{level}_{index}", block(kind, wide))
        widths = (channels, 16, 16, classes)
        self.AttentionBlock = nn.Sequential(
            *(conv(a, b, stride=2) for a, b in itertools.pairwise(widths))
        )
        for level in (3, 2, 1):
            wide = width * 2 ** (level - 1)
            up = Holder(
                conv1=conv(2 * wide, wide, size),
                conv2=nn.ConvTranspose3d(wide, wide, 2, stride=2),
                conv3=conv(2 * wide, wide, size),
            )
            self.add_module(f"DeUp{level}", up)
            self.add_module(f"DeBlock{level}", block(kind, wide))
        self.EndConv = Holder(conv=conv(width, classes, 1))

    def forward(self, image):
        """Softmax output, attention map and D of each example."""
        y = run_block(self.EnBlock1, self.InitConv.conv(image))
        skips = [y]
        for level, blocks in ((2, 2), (3, 2), (4, 4)):
            y = getattr(self, f"EnDown{level - 1}").conv(y)
            for index in range(1, blocks + 1):
                y = run_block(getattr(self, f"EnBlock{level}_{index}"), y)
            skips.append(y)
        skips.pop()
        attention = self.AttentionBlock(image)
        y, distance = self.guide(y, attention)
        for level in (3, 2, 1):
            up = getattr(self, f"DeUp{level}")
            y = up.conv3(torch.cat((skips[level - 1], up.conv2(up.conv1(y))), dim=1))
            y = run_block(getattr(self, f"DeBlock{level}"), y)
        return torch.softmax(self.EndConv.conv(y), dim=1), attention, distance

    def guide(self, features, attention):
        """Intra-class update and inter-class distance, loops over classes and pairs."""
        classes = attention.shape[1]
        if self.variant == "released":
            hard = functional.one_hot(attention.argmax(dim=1), classes)
            masks, epsilon = hard.movedim(-1, 1).to(features.dtype), 1e-5
        else:
            masks, epsilon = attention.clamp(0, 1), 0.1
        updated = features
        prototypes = []
        for k in range(classes):
            mask = masks[:, k : k + 1]
            total = (features * mask).sum(dim=(2, 3, 4), keepdim=True)
            prototype = total / (mask.sum(dim=(2, 3, 4), keepdim=True) + epsilon)
            updated = updated + prototype * mask
            prototypes.append(prototype.flatten(1))
        pairs = [(a, b) for a in range(classes) for b in range(classes) if a != b]
        squares = [(prototypes[a] - prototypes[b]).square().sum(dim=1) for a, b in pairs]
        if self.variant == "released":
            return updated, torch.stack(squares).sum(dim=0).sqrt()
        return updated, torch.stack(squares).sqrt().sum(dim=0)


def soft_dice(probabilities, labels):
    """Sum over classes 1 to 3 of the soft Dice loss over the batch."""
    loss = 0.0
    for k in (1, 2, 3):
        predicted, truth = probabilities[:, k], (labels == k).to(probabilities.dtype)
        shared = 2 * (predicted * truth).sum()
        loss = loss + 1 - shared / (predicted.sum() + truth.sum() + 1e-5)
    return loss


def attention_error(attention, labels):
    """MSE of the attention map against the labels sampled down by ``interpolate``."""
    small = functional.interpolate(labels[:, None].float(), attention.shape[2:], mode="nearest")
    target = functional.one_hot(small[:, 0].long(), attention.shape[1]).movedim(-1, 1)
    return functional.mse_loss(attention, target.to(attention.dtype))


def total_loss(variant, probabilities, attention, distance, labels):
    """The objective of a variant, inter-class term included."""
    dice, error = soft_dice(probabilities, labels), attention_error(attention, labels)
    if variant == "released":
        return dice + 20 * error + 10 * torch.log(1 + 100 / distance.sum())
    return dice + error + torch.log(1 / (1 + distance)).mean()
