"""Plain convolutional networks: those of paper 2 and of paper 4.

Kernels start Glorot uniform and biases at zero, as in Keras, which both papers used.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import flax.linen as nn
import jax

from brainjax.errors import InputError
from brainjax.layers.activation import ReLU
from brainjax.layers.convolution import convolve
from brainjax.layers.image_pooling import max_pool
from brainjax.layers.normalization import BatchNorm
from brainjax.models.classifier import Classifier, Initializer, flatten, glorot_uniform

Padding = Literal["same", "valid"]


class PaddedConv(nn.Module):
    """A square convolution with bias, padded as Keras pads.

    Attributes:
      features: channels of the output.
      size: rows and columns of the kernel.
      padding: ``"same"`` keeps the image's size, ``"valid"`` adds nothing.
      dtype: of the computation.
    """

    features: int
    size: int
    padding: Padding
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Takes ``x`` [B, H, W, Cin] to [B, H', W', features]."""
        shape = (self.size, self.size, x.shape[-1], self.features)
        kernel = self.param("kernel", glorot_uniform, shape)
        bias = self.param("bias", nn.initializers.zeros_init(), (self.features,))
        x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias, dtype=self.dtype)
        edge = ((self.size - 1) // 2, self.size // 2) if self.padding == "same" else (0, 0)
        y = convolve(x, kernel, padding=(edge, edge))
        return y + bias[None, None, None]


class CNNBody(nn.Module):
    """Convolutions with ReLU and max pooling between them; the last pooling is the head's.

    Attributes:
      widths: channels of each convolution.
      kernel_size: rows and columns of the kernels.
      padding: of each convolution.
      pool: rows and columns of the windows; 1 pools nothing.
      batch_norm: whether a batch norm stands before each ReLU.
      dtype: of the computation.
    """

    widths: tuple[int, ...]
    kernel_size: int
    padding: tuple[Padding, ...]
    pool: int
    batch_norm: bool
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Features [B, h, w, C] of images [B, H, W, Cin]."""
        for index, (width, padding) in enumerate(zip(self.widths, self.padding, strict=True)):
            if index and self.pool > 1:
                x = max_pool(x, self.pool)
            name = f"conv{index}"
            x = PaddedConv(width, self.kernel_size, padding, dtype=self.dtype, name=name)(x)
            if self.batch_norm:
                norm = BatchNorm(relu=True, dtype=self.dtype, name=f"norm{index}")
                x = norm(x, train=train)
            else:
                x = ReLU()(x)
        return x


class CNN(Classifier):
    """Convolutions, each with ReLU and max pooling, flattened, dense layers.

    The defaults are the baseline of paper 4, with 46,596 parameters at 30x30x1 and four
    classes; ``padding="same"`` throughout and other widths are its improved network.
    Paper 2's is ``CNN(widths=(64, 256, 512, 1024, 1024, 1024), hidden=(128,),
    dropout=0.1, padding="same")``. The image's size decides the parameters. Layers are
    ``body/conv0``, ``body/norm0``, ..., ``head/hidden_0``, ..., ``head/logits``.

    Attributes:
      widths: channels of each convolution.
      kernel_size: rows and columns of the kernels.
      padding: ``"same"`` or ``"valid"``, as in Keras, or one of them for each convolution.
      pool: rows and columns of the max pooling after each convolution; 1 pools nothing.
      batch_norm: whether a batch norm stands before each ReLU.
    """

    hidden: tuple[int, ...] = (32,)
    widths: tuple[int, ...] = (32, 32)
    kernel_size: int = 3
    padding: Padding | tuple[Padding, ...] = "valid"
    pool: int = 2
    batch_norm: bool = False

    last_init: ClassVar[Initializer] = staticmethod(glorot_uniform)

    def _make_body(self) -> CNNBody:
        return CNNBody(
            widths=tuple(self.widths),
            kernel_size=self.kernel_size,
            padding=self._paddings(),
            pool=self.pool,
            batch_norm=self.batch_norm,
            dtype=self.dtype,
        )

    def _pool(self, features: jax.Array) -> jax.Array:
        return flatten(max_pool(features, self.pool) if self.pool > 1 else features)

    def _paddings(self) -> tuple[Padding, ...]:
        paddings = self.padding
        if isinstance(paddings, str):
            paddings = (paddings,) * len(self.widths)
        if len(paddings) != len(self.widths) or not set(paddings) <= {"same", "valid"}:
            raise InputError(
                f"padding: expected 'same', 'valid' or one of them for each of "
                f"{len(self.widths)} convolutions, found {self.padding!r}"
            )
        return tuple(paddings)

    def _check_size(self, height: int, width: int) -> None:
        sides = [height, width]
        for index, padding in enumerate(self._paddings(), start=1):
            lost = self.kernel_size - 1 if padding == "valid" else 0
            left = [(side - lost) // max(self.pool, 1) for side in sides]
            if min(left) < 1:
                raise InputError(
                    f"image: {height}x{width} is too small for {len(self.widths)} convolutions "
                    f"with pooling by {self.pool}: nothing is left of {sides[0]}x{sides[1]} after "
                    f"the {padding!r} convolution {index}; use a larger image_size, fewer widths "
                    f"or padding 'same'"
                )
            sides = left
