"""nnU-Net's plain and residual networks in PyTorch, written from their description.

Modules are named as ours are, so that parameters go from one to the other by name.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

WIDEST = 10  # times the width at full resolution


class Block(nn.Module):
    """Convolution, instance norm and, where asked for, leaky ReLU."""

    def __init__(self, inputs, outputs, size=3, stride=1, *, bias=True, activate=True):
        super().__init__()
        self.conv = nn.Conv3d(inputs, outputs, size, stride, padding=size // 2, bias=bias)
        self.norm = nn.InstanceNorm3d(outputs, affine=True)
        self.activate = activate

    def forward(self, x):
        """Runs the layers in turn."""
        y = self.norm(self.conv(x))
        return functional.leaky_relu(y, 0.01) if self.activate else y


class NNUNet(nn.Module):
    """Both networks; ``blocks`` makes the encoder residual, with so many blocks a stage."""

    def __init__(self, classes=4, channels=4, width=32, stages=6, blocks=None):
        super().__init__()
        self.stages, self.blocks = stages, blocks
        widths = [width * min(2**stage, WIDEST) for stage in range(stages)]
        inputs = channels
        if blocks:
            self.stem = Block(channels, width)
            inputs = width
        for stage, wide in enumerate(widths, start=1):
            for index in range(1, (blocks[stage - 1] if blocks else 2) + 1):
                stride = 2 if stage > 1 and index == 1 else 1
                name = f"encoder{stage}_block{index}"
                if blocks:
                    self.add_module(f"{name}_conv1", Block(inputs, wide, stride=stride))
                    self.add_module(f"{name}_conv2", Block(wide, wide, activate=False))
                    if inputs != wide:
                        skip = Block(inputs, wide, 1, bias=False, activate=False)
                        self.add_module(f"{name}_skip", skip)
                else:
                    self.add_module(name, Block(inputs, wide, stride=stride))
                inputs = wide
        for stage in range(stages - 1, 0, -1):
            wide = widths[stage - 1]
            self.add_module(f"decoder{stage}_up", nn.ConvTranspose3d(inputs, wide, 2, 2))
            self.add_module(f"decoder{stage}_block1", Block(2 * wide, wide))
            if not blocks:
                self.add_module(f"decoder{stage}_block2", Block(wide, wide))
            head = nn.Conv3d(wide, classes, 1)
            self.add_module("head" if stage == 1 else f"head{stage}", head)
            inputs = wide

    def forward(self, image):
        """Logits of all levels, the finest first."""
        y = self.stem(image) if self.blocks else image
        skips = []
        for stage in range(1, self.stages + 1):
            for index in range(1, (self.blocks[stage - 1] if self.blocks else 2) + 1):
                y = self._encode(y, f"encoder{stage}_block{index}", halve=stage > 1 and index == 1)
            skips.append(y)
        found = []
        for stage in range(self.stages - 1, 0, -1):
            up = getattr(self, f"decoder{stage}_up")
            y = torch.cat((up(y), skips[stage - 1]), dim=1)
            for index in range(1, 2 if self.blocks else 3):
                y = getattr(self, f"decoder{stage}_block{index}")(y)
            found.append(getattr(self, "head" if stage == 1 else f"head{stage}")(y))
        return found[::-1]

    def _encode(self, x, name, *, halve):
        if not self.blocks:
            return getattr(self, name)(x)
        skip = functional.avg_pool3d(x, 2) if halve else x
        if hasattr(self, f"{name}_skip"):
            skip = getattr(self, f"{name}_skip")(skip)
        y = getattr(self, f"{name}_conv2")(getattr(self, f"{name}_conv1")(x))
        return functional.leaky_relu(y + skip, 0.01)
