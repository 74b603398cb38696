"""Residual networks.

He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition, 2015. Kernels start
as torchvision's: normal with variance ``2 / (k * k * Cout)``, the last layer uniform in
``+-1 / sqrt(fan_in)`` with a bias of zero.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import flax.linen as nn
import jax

from brainjax.errors import InputError
from brainjax.layers.activation import ReLU
from brainjax.layers.convolution import Conv
from brainjax.layers.image_pooling import max_pool
from brainjax.layers.normalization import BatchNorm
from brainjax.models.classifier import Classifier, he_normal_fan_out

Block = Literal["basic", "bottleneck"]
StrideOn = Literal["3x3", "1x1"]
Stem = Literal["imagenet", "small"]

# Table 1 of the paper: the block and how many of them each stage has.
DEPTHS: dict[int, tuple[Block, tuple[int, ...]]] = {
    18: ("basic", (2, 2, 2, 2)),
    34: ("basic", (3, 4, 6, 3)),
    50: ("bottleneck", (3, 4, 6, 3)),
    101: ("bottleneck", (3, 4, 23, 3)),
    152: ("bottleneck", (3, 8, 36, 3)),
}
EXPANSION = 4  # of a bottleneck's output over its width


class ResNetBlock(nn.Module):
    """Two 3x3 convolutions, or 1x1, 3x3, 1x1, added to the input; ReLU.

    Where the shape changes, a 1x1 convolution and a batch norm take the input along.

    Attributes:
      kind: ``"basic"`` or ``"bottleneck"``.
      width: channels; a bottleneck returns four times as many.
      strides: of the block.
      stride_on: which convolution of a bottleneck has the stride.
      dtype: of the computation.
    """

    kind: Block
    width: int
    strides: int = 1
    stride_on: StrideOn = "3x3"
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Takes ``x`` [B, H, W, C] to [B, H', W', C']."""
        if self.kind == "basic":
            plan = [(self.width, 3, self.strides), (self.width, 3, 1)]
        else:
            first, second = (1, self.strides) if self.stride_on == "3x3" else (self.strides, 1)
            plan = [(self.width, 1, first), (self.width, 3, second), (EXPANSION * self.width, 1, 1)]
        y = x
        for index, (features, size, strides) in enumerate(plan, start=1):
            y = self._conv(features, size, strides, f"conv{index}")(y)
            norm = BatchNorm(relu=index < len(plan), dtype=self.dtype, name=f"bn{index}")
            y = norm(y, train=train)
        if x.shape != y.shape:
            x = self._conv(y.shape[-1], 1, self.strides, "downsample_0")(x)
            x = BatchNorm(dtype=self.dtype, name="downsample_1")(x, train=train)
        return ReLU()(x + y)

    def _conv(self, features: int, size: int, strides: int, name: str) -> Conv:
        return Conv(
            features,
            size,
            strides=strides,
            use_bias=False,
            kernel_init=he_normal_fan_out,
            dtype=self.dtype,
            name=name,
        )


class ResNetBody(nn.Module):
    """Stem and stages; each stage doubles the width and, but the first, halves the image.

    Attributes:
      kind: of the blocks.
      stage_sizes: blocks of each stage.
      width: of the stem and the first stage.
      stride_on: see ``ResNetBlock``.
      stem: see ``ResNet``.
      dtype: of the computation.
    """

    kind: Block
    stage_sizes: tuple[int, ...]
    width: int
    stride_on: StrideOn
    stem: Stem
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Features [B, h, w, C] of images [B, H, W, Cin]."""
        size, strides = (7, 2) if self.stem == "imagenet" else (3, 1)
        x = Conv(
            self.width,
            size,
            strides=strides,
            use_bias=False,
            kernel_init=he_normal_fan_out,
            dtype=self.dtype,
            name="conv1",
        )(x)
        x = BatchNorm(relu=True, dtype=self.dtype, name="bn1")(x, train=train)
        if self.stem == "imagenet":
            x = max_pool(x, 3, strides=2, padding=1)
        for stage, blocks in enumerate(self.stage_sizes):
            for block in range(blocks):
                x = ResNetBlock(
                    self.kind,
                    self.width * 2**stage,
                    strides=2 if stage and not block else 1,
                    stride_on=self.stride_on,
                    dtype=self.dtype,
                    name=f"layer{stage + 1}_{block}",
                )(x, train=train)
        return x


class ResNet(Classifier):
    """A residual network of 18, 34, 50, 101 or 152 layers, or of stages of one's own.

    Names: torchvision's ``layer1.0.downsample.0`` is ``body/layer1_0/downsample_0`` and
    ``fc`` is ``head/fc``.

    Attributes:
      depth: a key of ``DEPTHS``; not looked at where ``stage_sizes`` are given.
      stage_sizes: blocks of each stage; empty takes the depth's.
      block: ``"basic"`` or ``"bottleneck"``; by default the depth's, or basic where
        ``stage_sizes`` are given.
      width: channels of the stem and the first stage.
      stride_on: where bottlenecks have their stride: ``"3x3"``, as torchvision's
        weights want it, or ``"1x1"``, as in the paper (3.8 GFLOPs for 50 layers).
      stem: ``"imagenet"``, a 7x7 convolution of stride 2 and a 3x3 max pooling of
        stride 2; or ``"small"``, a 3x3 convolution, for small images.
    """

    depth: int = 18
    stage_sizes: tuple[int, ...] = ()
    block: Block | None = None
    width: int = 64
    stride_on: StrideOn = "3x3"
    stem: Stem = "imagenet"

    last_layer: ClassVar[str] = "fc"

    def _make_body(self) -> ResNetBody:
        if self.depth not in DEPTHS and not self.stage_sizes:
            raise InputError(
                f"depth: expected one of {', '.join(map(str, DEPTHS))}, found {self.depth}"
            )
        for name, value, known in (
            ("block", self.block, ("basic", "bottleneck", None)),
            ("stride_on", self.stride_on, ("3x3", "1x1")),
            ("stem", self.stem, ("imagenet", "small")),
        ):
            if value not in known:
                choices = " or ".join(repr(k) for k in known if k is not None)
                raise InputError(f"{name}: expected {choices}, found {value!r}")
        kind, stage_sizes = DEPTHS.get(self.depth, DEPTHS[18])
        if self.stage_sizes:
            kind, stage_sizes = "basic", self.stage_sizes
        return ResNetBody(
            kind=self.block or kind,
            stage_sizes=tuple(stage_sizes),
            width=self.width,
            stride_on=self.stride_on,
            stem=self.stem,
            dtype=self.dtype,
        )
