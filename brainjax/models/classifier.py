"""What all image classifiers share: input, frozen body, and the layers that classify."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from brainjax.errors import InputError
from brainjax.layers.activation import ReLU
from brainjax.layers.image_pooling import global_average_pool
from brainjax.layers.initialization import uniform_fan_in
from brainjax.models.outputs import ClassificationOutput

STANDARDIZE_EPSILON = 1e-4
"""Added to the variance of an image in 0..1, that a nearly even one stays nearly even."""

Initializer = Callable[..., jax.Array]

glorot_uniform = nn.initializers.glorot_uniform()


class ClassifierHead(nn.Module):
    """Makes a vector of the features, joins the texture, and classifies.

    Attributes:
      pool: takes features [B, h, w, C] to a vector [B, F].
      hidden: names and widths of the dense layers with ReLU before the last.
      last: name of the last layer.
      num_classes: K.
      dropout: share dropped before each layer, one number for each, the last included.
      hidden_init: initial kernels of the hidden layers.
      last_init: initial kernel of the last layer.
      dtype: of the computation; the last layer is f32.
    """

    pool: Callable[[jax.Array], jax.Array]
    hidden: tuple[tuple[str, int], ...]
    last: str
    num_classes: int
    dropout: tuple[float, ...]
    hidden_init: Initializer
    last_init: Initializer
    dtype: Any = None

    @nn.compact
    def __call__(
        self, features: jax.Array, texture: jax.Array | None = None, *, train: bool = False
    ) -> jax.Array:
        """Logits [B, K], f32, of features [B, h, w, C] and texture [B, F]."""
        x = self.pool(features)
        if texture is not None:
            x = jnp.concatenate([x, texture.astype(x.dtype)], axis=-1)
        for (name, width), share in zip(self.hidden, self.dropout, strict=False):
            x = nn.Dropout(share, deterministic=not train)(x)
            dense = nn.Dense(width, kernel_init=self.hidden_init, dtype=self.dtype, name=name)
            x = ReLU()(dense(x))
        x = nn.Dropout(self.dropout[-1], deterministic=not train)(x)
        last = nn.Dense(
            self.num_classes, kernel_init=self.last_init, dtype=jnp.float32, name=self.last
        )
        return last(x)


class Classifier(nn.Module):
    """A body that makes features of an image, and a head that classifies them.

    Parameters are ``{"body": ..., "head": ...}`` and f32 whatever the type of the
    computation. Subclasses say what the body is and how the head begins. The layers'
    names in both are torchvision's with ``_`` for ``.`` inside one block.

    Attributes:
      num_classes: K.
      hidden: widths of dense layers with ReLU before the last.
      dropout: share dropped before the last dense layer in training; by default the
        network's own, which is none but in VGG's ImageNet head.
      mean: subtracted from the input, for each channel; empty leaves it as it comes.
      std: divides the input, for each channel.
      input_channels: 0 takes the image as it comes; with any other number a
        one-channel image is repeated so often, and one of more channels has to match.
      resize: height and width that the image is resampled to (bilinear) before anything
        else; empty leaves it. Paper 4 feeds VGG-16 with 30x30 images enlarged so.
      standardize: whether each image is brought to mean 0 and standard deviation 1, in
        place of ``mean`` and ``std``.
      freeze_body: whether training leaves the body as it is: its batch norms use and
        keep their running statistics, and no gradient reaches it.
      dtype: of the computation, such as ``jnp.bfloat16``.
    """

    num_classes: int = 1000
    hidden: tuple[int, ...] = ()
    dropout: float | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    input_channels: int = 0
    resize: tuple[int, ...] = ()
    standardize: bool = False
    freeze_body: bool = False
    dtype: Any = None

    last_layer: ClassVar[str] = "logits"
    hidden_init: ClassVar[Initializer] = staticmethod(glorot_uniform)
    last_init: ClassVar[Initializer] = staticmethod(uniform_fan_in)

    def setup(self) -> None:
        self.body = self._make_body()
        self.classification_head = self._make_head()  # named "head", which VGG has a field of

    def __call__(
        self, image: jax.Array, texture: jax.Array | None = None, *, train: bool = False
    ) -> ClassificationOutput:
        """Classifies images.

        Args:
          image: [B, H, W, C], 0 to 1.
          texture: [B, F], joined to the features just before the head's first dense
            layer.
          train: switches dropout on (random key ``dropout``) and lets batch norm take
            the statistics of this batch.

        Returns:
          Logits [B, K], f32, and the last feature map.

        Raises:
          InputError: the image's type, channels or size do not fit.
        """
        image = self._prepare(image)
        self._check_size(image.shape[1], image.shape[2])
        features = self.body(image, train=train and not self.freeze_body)
        if self.freeze_body and train:  # when predicting, gradients may explain the image
            features = jax.lax.stop_gradient(features)
        logits = self.classification_head(features, texture, train=train)
        return ClassificationOutput(logits=logits, features=features)

    def classify(
        self, features: jax.Array, texture: jax.Array | None = None, *, train: bool = False
    ) -> jax.Array:
        """Logits [B, K] of a last feature map [B, h, w, C], for gradients between the two."""
        return self.classification_head(features, texture, train=train)

    def _make_body(self) -> nn.Module:
        """The module that takes (image [B, H, W, C], train) to features [B, h, w, C]."""
        raise NotImplementedError

    def _make_head(self) -> ClassifierHead:
        return ClassifierHead(
            pool=self._pool,
            hidden=tuple((f"hidden_{i}", width) for i, width in enumerate(self.hidden)),
            last=self.last_layer,
            num_classes=self.num_classes,
            dropout=(0.0,) * len(self.hidden) + (self.dropout or 0.0,),
            hidden_init=self.hidden_init,
            last_init=self.last_init,
            dtype=self.dtype,
            name="head",
        )

    def _pool(self, features: jax.Array) -> jax.Array:
        """How the features become a vector [B, F]; their mean over the image here."""
        return global_average_pool(features)

    def _check_size(self, height: int, width: int) -> None:
        """Refuses images that the body cannot take; any size will do here."""

    def _prepare(self, image: jax.Array) -> jax.Array:
        """Repeats and normalises the input's channels."""
        if not jnp.issubdtype(image.dtype, jnp.floating):
            raise InputError(
                f"image: expected floats from 0 to 1, found {image.dtype}; divide bytes by 255"
            )
        if self.resize:
            shape = (image.shape[0], *self.resize, image.shape[-1])
            image = jax.image.resize(image, shape, "bilinear")
        if self.standardize:
            image = _standardized(image)
        channels = self.input_channels or image.shape[-1]
        if image.shape[-1] == 1 and channels > 1:
            image = jnp.repeat(image, channels, axis=-1)
        if image.shape[-1] != channels:
            raise InputError(
                f"input_channels: the network takes {channels}, the image has "
                f"{image.shape[-1]}; give images of {channels} channels or of one"
            )
        if not self.mean and not self.std:
            return image
        if not len(self.mean) == len(self.std) == channels:
            raise InputError(
                f"mean and std: expected {channels} numbers each, one for each channel, found "
                f"{len(self.mean)} and {len(self.std)}; give both so many, or leave both empty"
            )
        mean, std = (
            jnp.broadcast_to(jnp.asarray(values, image.dtype), image.shape)
            for values in (self.mean, self.std)
        )
        return (image - mean) / std


def _standardized(image: jax.Array) -> jax.Array:
    """Each image of [B, H, W, C] with mean 0 and standard deviation 1; an even one is 0."""
    axes = (1, 2, 3)
    centred = image - jnp.mean(image, axis=axes, keepdims=True)
    spread = jnp.sqrt(jnp.mean(centred * centred, axis=axes, keepdims=True) + STANDARDIZE_EPSILON)
    return centred / spread


def he_normal_fan_out(
    key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32
) -> jax.Array:
    """Draws a kernel [*k, Cin, Cout] with variance ``2 / (prod(k) * Cout)``."""
    return _normal(key, shape, 2.0 / (math.prod(shape[:-2]) * shape[-1]), dtype)


def he_normal_fan_in(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
    """Draws a kernel [*k, Cin, Cout] with variance ``2 / (prod(k) * Cin)``."""
    return _normal(key, shape, 2.0 / math.prod(shape[:-1]), dtype)


def flatten(features: jax.Array) -> jax.Array:
    """[B, h, w, C] to [B, h * w * C]: rows, columns, channels.

    >>> flatten(jnp.ones((2, 3, 4, 5))).shape
    (2, 60)
    """
    return features.reshape(features.shape[0], -1)


def refuse_smaller(network: str, height: int, width: int, least: int) -> None:
    """Refuses images of which a side is shorter than ``least`` pixels.

    Raises:
      InputError: names both sizes.

    >>> refuse_smaller("VGG-16", 32, 40, 32)
    """
    if min(height, width) < least:
        raise InputError(
            f"image: {height}x{width} is too small for {network}, which halves it until nothing "
            f"is left; expected at least {least}x{least}: use a larger image_size"
        )


def _normal(key: jax.Array, shape: tuple[int, ...], variance: float, dtype: Any) -> jax.Array:
    """Normal numbers drawn in one row: XLA takes twice as long to compile draws of many axes."""
    row = jax.random.normal(key, (math.prod(shape),), dtype)
    return math.sqrt(variance) * row.reshape(shape)
