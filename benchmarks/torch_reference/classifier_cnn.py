"""The plain networks of papers 2 and 4 in PyTorch."""

from __future__ import annotations

import torch
from torch import nn


class CNN(nn.Module):
    """Convolutions with ReLU and 2x2 max pooling, flattened; dense layers; logits.

    Texture features are joined to the flattened ones.
    """

    def __init__(
        self, widths, hidden, inputs, classes, channels=1, padding="valid", batch_norm=False
    ):
        super().__init__()
        self.depth, self.batch_norm = len(widths), batch_norm
        for index, width in enumerate(widths):
            edge = 1 if padding == "same" else 0
            self.add_module(f"conv{index}", nn.Conv2d(channels, width, 3, padding=edge))
            if batch_norm:
                self.add_module(f"norm{index}", nn.BatchNorm2d(width))
            channels = width
        self.hidden = nn.ModuleList()
        for width in hidden:
            self.hidden.append(nn.Linear(inputs, width))
            inputs = width
        self.logits = nn.Linear(inputs, classes)

    def forward(self, x, texture=None):
        for index in range(self.depth):
            x = getattr(self, f"conv{index}")(x)
            if self.batch_norm:
                x = getattr(self, f"norm{index}")(x)
            x = nn.functional.max_pool2d(torch.relu(x), 2)
        x = x.flatten(1)
        if texture is not None:
            x = torch.cat((x, texture), dim=1)
        for layer in self.hidden:
            x = torch.relu(layer(x))
        return self.logits(x)
