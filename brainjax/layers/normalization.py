"""Group, instance and batch normalisation with f32 statistics and an optional ReLU.

All gather mean and variance per example and channel, combine them over the groups or over
the batch, and apply one multiplication and one addition per voxel. The last spatial axis is
folded into the channels for it, because rows of 16 channels are too short to reduce over
fast: with ``flax.linen.GroupNorm`` a training step of the CGA U-Net takes one and a half
times as long on a CPU.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from brainjax.layers.activation import ReLU
from brainjax.layers.convolution import add_bias
from brainjax.layers.manual_axes import batch_mean, batch_parts

Norm = Literal["batch", "group", "instance", "none"]


def normalize(
    x: jax.Array,
    norm: Norm,
    *,
    train: bool,
    name: str,
    offset: jax.Array | None = None,
    groups: int = 8,
    relu: bool = False,
    negative_slope: float = 0.0,
    dtype: Any = None,
) -> jax.Array:
    """Normalises by a norm's name, inside a compact method that owns the parameters.

    Args:
      x: [B, *spatial, C].
      norm: ``"batch"``, ``"group"``, ``"instance"``, or ``"none"`` for the ReLU alone.
      train: of batch norm.
      name: of the parameters.
      offset: bias [C] of the layer before, which ``x`` lacks so far.
      groups: of group norm.
      relu: whether a ReLU follows.
      negative_slope: of that ReLU below zero.
      dtype: of the result; that of the input by default.

    Raises:
      ValueError: an unknown norm, or groups that do not divide the channels.
    """
    options: dict[str, Any] = {
        "relu": relu, "negative_slope": negative_slope, "dtype": dtype, "name": name,
    }  # fmt: skip
    if norm == "batch":
        return BatchNorm(**options)(x, offset, train=train)
    if norm == "group":
        return GroupNorm(groups, **options)(x, offset)
    if norm == "instance":
        return InstanceNorm(**options)(x, offset)
    if norm == "none":
        x = add_bias(x, offset)
        return ReLU(negative_slope)(x) if relu else x
    raise ValueError(f"norm is 'batch', 'group', 'instance' or 'none', not {norm!r}")


class GroupNorm(nn.Module):
    """Normalises groups of channels over all voxels of one example.

    Attributes:
      groups: number of groups; has to divide the channels.
      epsilon: added to the variance.
      relu: whether a ReLU follows, in the same pass.
      negative_slope: of that ReLU below zero; 0.01 in a leaky one.
      dtype: of the result; that of the input by default.
      param_dtype: of scale and bias.
    """

    groups: int = 8
    epsilon: float = 1e-5
    relu: bool = False
    negative_slope: float = 0.0
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, offset: jax.Array | None = None) -> jax.Array:
        """Returns ``x`` [B, *spatial, C] normalised, of the same shape.

        Args:
          x: the features.
          offset: [C], to be added to ``x`` first.

        Raises:
          ValueError: the groups do not divide the channels.
        """
        channels = x.shape[-1]
        if channels % self.groups:
            raise ValueError(f"{self.groups} groups do not divide {channels} channels")
        scale, bias = _parameters(self, channels)
        grouped = (x.shape[0], self.groups, channels // self.groups)
        mean, variance = (moment.reshape(grouped) for moment in _moments(x, offset))
        mean, variance = (
            jnp.broadcast_to(moment, grouped).reshape(x.shape[0], channels)
            for moment in combine_moments(mean, variance, axis=-1)
        )
        return _apply(self, x, offset, mean, variance, scale, bias)


class InstanceNorm(nn.Module):
    """Normalises each channel over all voxels of one example.

    A channel of a single voxel becomes its bias, whatever it was.

    Attributes:
      epsilon: added to the variance.
      relu: whether a ReLU follows, in the same pass.
      negative_slope: of that ReLU below zero; 0.01 in a leaky one.
      dtype: of the result; that of the input by default.
      param_dtype: of scale and bias.
    """

    epsilon: float = 1e-5
    relu: bool = False
    negative_slope: float = 0.0
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, offset: jax.Array | None = None) -> jax.Array:
        """Returns ``x`` [B, *spatial, C] normalised, of the same shape.

        Args:
          x: the features.
          offset: [C], to be added to ``x`` first, which changes nothing here.
        """
        scale, bias = _parameters(self, x.shape[-1])
        mean, variance = _moments(x, offset)
        return _apply(self, x, offset, mean, variance, scale, bias)


class BatchNorm(nn.Module):
    """Normalises each channel over the batch and all voxels.

    Running statistics live in the collection ``batch_stats`` as ``mean`` and ``var``
    and move as PyTorch's do: ``momentum * old + (1 - momentum) * batch``, with the
    unbiased variance (n - 1), starting at 0 and 1. Where the batch is split over
    devices, under ``jax.jit`` or along ``manual_axes.BATCH_AXIS`` of ``shard_map`` or
    ``pmap``, its statistics are those of the whole batch.

    Attributes:
      momentum: share of the old running statistics that stays.
      epsilon: added to the variance.
      relu: whether a ReLU follows, in the same pass.
      negative_slope: of that ReLU below zero; 0.01 in a leaky one.
      dtype: of the result; that of the input by default.
      param_dtype: of scale and bias.
    """

    momentum: float = 0.9
    epsilon: float = 1e-5
    relu: bool = False
    negative_slope: float = 0.0
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, offset: jax.Array | None = None, *, train: bool) -> jax.Array:
        """Returns ``x`` [B, *spatial, C] normalised, of the same shape.

        Args:
          x: the features.
          offset: [C], to be added to ``x`` first.
          train: takes the statistics of this batch and moves the running ones;
            otherwise the running ones are used and left alone.
        """
        channels = x.shape[-1]
        scale, bias = _parameters(self, channels)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, (channels,), jnp.float32)
        running_variance = self.variable("batch_stats", "var", jnp.ones, (channels,), jnp.float32)

        if not train:
            mean, variance = running_mean.value[None], running_variance.value[None]
            return _apply(self, x, offset, mean, variance, scale, bias)

        mean, variance = _over_devices(*combine_moments(*_moments(x, offset), axis=0))
        if not self.is_initializing():
            count = batch_parts() * x.size // channels
            unbiased = variance[0] * (count / max(count - 1, 1))
            stay = self.momentum
            running_mean.value = stay * running_mean.value + (1 - stay) * mean[0]
            running_variance.value = stay * running_variance.value + (1 - stay) * unbiased
        return _apply(self, x, offset, mean, variance, scale, bias)


def channel_moments(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean and variance of each example's channels over its voxels, in f32.

    A mean far from zero does not eat up the digits of the variance: it is taken about the
    mean on a CPU, in a second pass, and elsewhere about the first voxel, in the same pass.

    Args:
      x: [B, *spatial, C].

    Returns:
      Both [B, C]; the variance is the biased one.

    >>> mean, variance = channel_moments(jnp.array([[[5.0], [7.0]]]))  # [1, 2, 1]
    >>> float(mean[0, 0]), float(variance[0, 0])
    (6.0, 1.0)
    """
    batch, channels = x.shape[0], x.shape[-1]
    rows = _fold_last_axis(x).astype(jnp.float32)
    voxels = math.prod(x.shape[1:-1])

    def mean(values: jax.Array) -> jax.Array:
        over_rows = jnp.sum(values, axis=range(1, values.ndim - 1))
        return jnp.sum(over_rows.reshape(batch, -1, channels), axis=1) / voxels

    if jax.default_backend() == "cpu":
        whole = mean(rows)
        origin = jax.lax.stop_gradient(whole)
        offset = whole - origin
    else:
        origin = jax.lax.stop_gradient(x[(slice(None), *(0,) * (x.ndim - 2))])  # [B, C]
        origin = origin.astype(jnp.float32)
        offset = mean(rows - _spread(origin, x))
        whole = origin + offset
    variance = mean((rows - _spread(origin, x)) ** 2) - offset * offset
    return whole, jnp.maximum(variance, 0.0)


def _moments(x: jax.Array, offset: jax.Array | None) -> tuple[jax.Array, jax.Array]:
    """``channel_moments`` of ``x + offset``."""
    mean, variance = channel_moments(x)
    return mean if offset is None else mean + offset.astype(jnp.float32)[None], variance


def combine_moments(
    mean: jax.Array, variance: jax.Array, *, axis: int
) -> tuple[jax.Array, jax.Array]:
    """Mean and variance of parts of equal size taken together along ``axis``, kept as 1.

    >>> mean, variance = combine_moments(jnp.array([1.0, 3.0]), jnp.zeros(2), axis=0)
    >>> float(mean[0]), float(variance[0])
    (2.0, 1.0)
    """
    whole = jnp.mean(mean, axis=axis, keepdims=True)
    spread = jnp.mean(variance + (mean - whole) ** 2, axis=axis, keepdims=True)
    return whole, spread


def _over_devices(mean: jax.Array, variance: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean and variance of the devices' equal parts of the batch taken together."""
    if batch_parts() == 1:
        return mean, variance
    whole = batch_mean(mean)
    return whole, batch_mean(variance + (mean - whole) ** 2)


_Module = GroupNorm | InstanceNorm | BatchNorm


def _parameters(module: _Module, channels: int) -> tuple[jax.Array, jax.Array]:
    scale = module.param("scale", nn.initializers.ones_init(), (channels,), module.param_dtype)
    bias = module.param("bias", nn.initializers.zeros_init(), (channels,), module.param_dtype)
    return scale.astype(jnp.float32), bias.astype(jnp.float32)


def _apply(
    module: _Module,
    x: jax.Array,
    offset: jax.Array | None,
    mean: jax.Array,
    variance: jax.Array,
    scale: jax.Array,
    bias: jax.Array,
) -> jax.Array:
    """Scales and shifts ``x + offset`` [B, *spatial, C] by its statistics [B or 1, C]."""
    factor = jax.lax.rsqrt(variance + module.epsilon) * scale[None]
    mean = mean if offset is None else mean - offset.astype(jnp.float32)[None]
    shift = bias[None] - mean * factor
    y = _fold_last_axis(x).astype(jnp.float32) * _spread(factor, x) + _spread(shift, x)
    if module.relu:
        y = ReLU(module.negative_slope)(y)
    return y.astype(module.dtype or x.dtype).reshape(x.shape)


def _fold_last_axis(x: jax.Array) -> jax.Array:
    """[B, ..., W, C] to [B, ..., W * C]."""
    return x.reshape(*x.shape[:-2], x.shape[-2] * x.shape[-1])


def _spread(values: jax.Array, x: jax.Array) -> jax.Array:
    """[B or 1, C] to [B or 1, 1, ..., W * C], to broadcast against the folded ``x``."""
    tiled = jnp.tile(values, (1, x.shape[-2]))
    return tiled.reshape(values.shape[0], *(1,) * (x.ndim - 3), tiled.shape[-1])
