"""ResNet in PyTorch, from the paper; names are torchvision's."""

from __future__ import annotations

import torch
from torch import nn

STAGES = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}


class Block(nn.Module):
    """A basic block or a bottleneck; ``stride_on`` says which convolution of it strides."""

    def __init__(self, inputs, width, stride, bottleneck, stride_on):
        super().__init__()
        outputs = 4 * width if bottleneck else width
        if bottleneck:
            strides = (1, stride, 1) if stride_on == "3x3" else (stride, 1, 1)
            plan = list(zip((1, 3, 1), (width, width, outputs), strides, strict=True))
        else:
            plan = [(3, width, stride), (3, width, 1)]
        self.count = len(plan)
        before = inputs
        for index, (size, after, step) in enumerate(plan, start=1):
            conv = nn.Conv2d(before, after, size, stride=step, padding=size // 2, bias=False)
            self.add_module(f"conv{index}", conv)
            self.add_module(f"bn{index}", nn.BatchNorm2d(after))
            before = after
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x):
        y = x
        for index in range(1, self.count + 1):
            y = getattr(self, f"bn{index}")(getattr(self, f"conv{index}")(y))
            if index < self.count:
                y = torch.relu(y)
        return torch.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """Of 18, 34 or 50 layers."""

    def __init__(self, depth=18, classes=1000, channels=3, width=64, stride_on="3x3"):
        super().__init__()
        bottleneck = depth >= 50
        self.conv1 = nn.Conv2d(channels, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        inputs = width
        for stage, blocks in enumerate(STAGES[depth]):
            wide = width * 2**stage
            layers = []
            for index in range(blocks):
                stride = 2 if stage and not index else 1
                layers.append(Block(inputs, wide, stride, bottleneck, stride_on))
                inputs = 4 * wide if bottleneck else wide
            self.add_module(f"layer{stage + 1}", nn.Sequential(*layers))
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x):
        x = self.pool(torch.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(x.mean(dim=(2, 3)))
