"""Paper 2's U-Net for saliency: an autoencoder, and its encoder as a classifier.

What the paper leaves open: depth and widths (four levels, 32 to 256 here), activations (a
ReLU after each batch norm but the last, which has to give any brightness), and how the two
sides meet. Here they are added up, since the paper wants no trainable layer on the right
side: one behind it could make a grey image of the right side alone.
"""

from __future__ import annotations

from typing import Any, ClassVar

import flax.linen as nn
import jax

from brainjax.errors import InputError
from brainjax.layers.convolution import Conv, convolve
from brainjax.layers.normalization import BatchNorm
from brainjax.layers.transposed_convolution import TransposedConv
from brainjax.models.classifier import Classifier, Initializer, flatten, glorot_uniform
from brainjax.models.outputs import ReconstructionOutput

WIDTHS = (32, 64, 128, 256)


class Encoder(nn.Module):
    """Levels of a strided 3x3 convolution, batch norm and ReLU; each halves the image.

    Attributes:
      widths: channels of each level.
      dtype: of the computation.
    """

    widths: tuple[int, ...] = WIDTHS
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """The latent image [B, H / 2^n, W / 2^n, widths[-1]] of ``x`` [B, H, W, C]."""
        for level, width in enumerate(self.widths, start=1):
            # No bias: batch norm would take it out again.
            x = Conv(
                width, 3, strides=2, use_bias=False, kernel_init=glorot_uniform,
                dtype=self.dtype, name=f"down{level}",
            )(x)  # fmt: skip
            x = BatchNorm(relu=True, dtype=self.dtype, name=f"norm{level}")(x, train=train)
        return x


class Decoder(nn.Module):
    """Levels of a 3x3 transposed convolution and batch norm, with a ReLU but in the last.

    Attributes:
      widths: channels of each level, the image's own last.
      dtype: of the computation.
    """

    widths: tuple[int, ...]
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """An image [B, 2^n h, 2^n w, widths[-1]] of the latent image [B, h, w, C]."""
        for level, width in enumerate(self.widths, start=1):
            x = TransposedConv(
                width, kernel_init=glorot_uniform, dtype=self.dtype, name=f"up{level}"
            )(x)
            last = level == len(self.widths)
            x = BatchNorm(relu=not last, dtype=self.dtype, name=f"norm{level}")(x, train=train)
        return x


class Location(nn.Module):
    """The frozen right side: one random 1x1 convolution to a single channel, without bias.

    Its kernel stands among the running statistics, which are saved and restored with the
    parameters and which no optimiser, weight decay or average reaches.
    """

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Takes ``x`` [B, H, W, C] to [B, H, W, 1]."""
        shape = (1, 1, x.shape[-1], 1)
        kernel = self.variable(
            "batch_stats", "kernel", lambda: glorot_uniform(self.make_rng("params"), shape)
        )
        return convolve(x, kernel.value.astype(x.dtype))


class SaliencyUNet(nn.Module):
    """The autoencoder: ``decoder(encoder(image)) + location(image)``.

    Attributes:
      widths: channels of the encoder's levels; the decoder goes back through them.
      dtype: of the computation.
    """

    widths: tuple[int, ...] = WIDTHS
    dtype: Any = None

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool = False) -> ReconstructionOutput:
        """Reconstructs images.

        Args:
          image: [B, H, W, C], 0 to 1.
          train: lets batch norm take the statistics of this batch.

        Raises:
          InputError: height or width cannot be halved so often.
        """
        check_halves(self.widths, image.shape[1], image.shape[2])
        back = (*self.widths[-2::-1], image.shape[-1])
        latent = Encoder(self.widths, dtype=self.dtype, name="encoder")(image, train=train)
        left = Decoder(back, dtype=self.dtype, name="decoder")(latent, train=train)
        left = left.astype("float32")
        right = Location(name="location")(image)
        return ReconstructionOutput(image=left + jax.numpy.broadcast_to(right, left.shape),
                                    left=left, right=right)  # fmt: skip


class SaliencyEncoder(Classifier):
    """The encoder as a classifier: flattened, one dense layer. ``body`` is an ``Encoder``.

    Attributes:
      widths: channels of the encoder's levels.
    """

    widths: tuple[int, ...] = WIDTHS

    last_init: ClassVar[Initializer] = staticmethod(glorot_uniform)

    def _make_body(self) -> Encoder:
        return Encoder(tuple(self.widths), dtype=self.dtype)

    def _pool(self, features: jax.Array) -> jax.Array:
        return flatten(features)

    def _check_size(self, height: int, width: int) -> None:
        check_halves(self.widths, height, width)


def check_halves(widths: tuple[int, ...], height: int, width: int) -> None:
    """Refuses images whose sides cannot be halved once for each level.

    Raises:
      InputError: names the size and the nearest smaller one that works.

    >>> check_halves((8, 16), 12, 8)
    """
    step = 2 ** len(widths)
    if not widths or min(widths) < 1:
        raise InputError(f"widths {widths}: expected one or more channels for each level")
    if height % step or width % step:
        near = tuple(max(side // step, 1) * step for side in (height, width))
        raise InputError(
            f"image_size {height}x{width} does not divide by {step}: the network halves each side "
            f"{len(widths)} times; try {near[0]}x{near[1]}"
        )
