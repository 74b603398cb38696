"""VGG in PyTorch, from the paper; names are torchvision's."""

from __future__ import annotations

import torch
from torch import nn

STAGES = {11: (1, 1, 2, 2, 2), 16: (2, 2, 3, 3, 3)}


class VGG(nn.Module):
    """Of 11 or 16 layers; ``hidden`` replaces the two dense layers of 4,096."""

    def __init__(
        self, depth=16, classes=1000, channels=3, width=64, batch_norm=False, hidden=(), side=7
    ):
        super().__init__()
        layers, inputs = [], channels
        for stage, convolutions in enumerate(STAGES[depth]):
            wide = width * min(2**stage, 8)
            for _ in range(convolutions):
                layers.append(nn.Conv2d(inputs, wide, 3, padding=1))
                layers += [nn.BatchNorm2d(wide)] if batch_norm else []
                layers.append(nn.ReLU())
                inputs = wide
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        if hidden:
            self.hidden = nn.ModuleList()
            inputs = inputs * side * side
            for wide in hidden:
                self.hidden.append(nn.Linear(inputs, wide))
                inputs = wide
            self.classifier = nn.ModuleDict({"6": nn.Linear(inputs, classes)})
            return
        self.hidden = None
        self.classifier = nn.Sequential(
            nn.Linear(inputs * 49, 4096),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(4096, 4096),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(4096, classes),
        )

    def forward(self, x):
        x = self.features(x)
        if self.hidden is None:
            x = nn.functional.adaptive_avg_pool2d(x, 7)
            return self.classifier(x.flatten(1))
        x = x.flatten(1)
        for layer in self.hidden:
            x = torch.relu(layer(x))
        return self.classifier["6"](x)
