"""DenseNet in PyTorch, from the paper; names are torchvision's."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn


class DenseLayer(nn.Module):
    """A 1x1 and a 3x3 convolution, joined to the input."""

    def __init__(self, inputs, growth):
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, 4 * growth, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(4 * growth)
        self.conv2 = nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)

    def forward(self, x):
        y = self.conv1(torch.relu(self.norm1(x)))
        y = self.conv2(torch.relu(self.norm2(y)))
        return torch.cat((x, y), dim=1)


class DenseNet(nn.Module):
    """DenseNet-121 unless told otherwise."""

    def __init__(self, sizes=(6, 12, 24, 16), growth=32, width=64, classes=1000, channels=3):
        super().__init__()
        features = OrderedDict(
            conv0=nn.Conv2d(channels, width, 7, stride=2, padding=3, bias=False),
            norm0=nn.BatchNorm2d(width),
            relu0=nn.ReLU(),
            pool0=nn.MaxPool2d(3, stride=2, padding=1),
        )
        for block, count in enumerate(sizes, start=1):
            layers = OrderedDict()
            for index in range(1, count + 1):
                layers[f"denselayer{index}"] = DenseLayer(width, growth)
                width += growth
            features[f"denseblock{block}"] = nn.Sequential(layers)
            if block < len(sizes):
                features[f"transition{block}"] = nn.Sequential(
                    OrderedDict(
                        norm=nn.BatchNorm2d(width),
                        relu=nn.ReLU(),
                        conv=nn.Conv2d(width, width // 2, 1, bias=False),
                        pool=nn.AvgPool2d(2),
                    )
                )
                width //= 2
        features["norm5"] = nn.BatchNorm2d(width)
        self.features = nn.Sequential(features)
        self.classifier = nn.Linear(width, classes)

    def forward(self, x):
        return self.classifier(torch.relu(self.features(x)).mean(dim=(2, 3)))
