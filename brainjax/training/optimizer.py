"""The papers' optimisers as optax chains over one flat vector of all parameters."""

from __future__ import annotations

import dataclasses
import fnmatch
import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
import optax

from brainjax.errors import InputError
from brainjax.training.schedules import SCHEDULES, schedule_factor

RATE_SCALINGS = {"none": 0.0, "linear": 1.0, "sqrt": 0.5}
"""Powers of the ratio of two batches by which the learning rate is multiplied."""

ALGORITHMS = ("adam", "amsgrad", "adamw", "sgd")


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimizerOptions:
    """How parameters are updated.

    Attributes:
      algorithm: ``adam`` (the CGA paper, papers 2 and 4), ``amsgrad`` (the CGA paper's
        released code), ``adamw``, or ``sgd`` with momentum (paper 1).
      learning_rate: at the start.
      schedule: see ``schedules.schedule_factor``; ``plateau`` follows the validation.
      power: exponent of the polynomial schedule.
      warmup_steps: linear rise from 0 before the schedule; 0 for none.
      l2: L2 penalty's factor, added to the gradient before the moments
        (PyTorch's ``weight_decay`` of Adam and SGD), not decoupled.
      clip_norm: gradients with a larger global norm are scaled to it; 0 is off.
      average_decay: decay of the moving average of the parameters; 0 is off.
      momentum: of ``sgd``.
      nesterov: of ``sgd``.
      decoupled_decay: weight decay of ``adamw``, for kernels only.
      l2_layers: patterns such as ``head/hidden_0/kernel`` that the L2 penalty is for;
        empty is every parameter.
      rate_scaling: how the learning rate follows the batch: ``none``; ``linear``, times
        ``batch_size / reference_batch`` (Goyal et al. 2017, for SGD); ``sqrt``, times the
        root of that (for Adam). Never the number of devices: that changes nothing.
      reference_batch: the batch that ``learning_rate`` is stated for; needed for scaling.
      body_rate: factor of the learning rate of everything under ``body``; 0 leaves it
        as it is, without decay, and its gradients out of ``clip_norm``.
      constant_epochs: before ``exponential_after`` begins to fall.
      decay_epochs: between the falls of ``step``.
      decay_factor: of ``step``, ``exponential_after`` (Keras' example has exp(-0.1),
        0.905) and ``plateau``.
      final_fraction: least factor of ``cosine``, ``cyclical`` and ``plateau``.
      cycle_epochs: length of a cycle of ``cyclical``.
      plateau_patience: validations without a better score before ``plateau`` falls.
      plateau_threshold: by how much a score has to be better.
    """

    algorithm: str
    learning_rate: float
    schedule: str
    power: float
    warmup_steps: int
    l2: float
    clip_norm: float
    average_decay: float
    momentum: float = 0.9
    nesterov: bool = False
    decoupled_decay: float = 0.0
    l2_layers: tuple[str, ...] = ()
    rate_scaling: str = "none"
    reference_batch: int = 0
    body_rate: float = 1.0
    constant_epochs: int = 7
    decay_epochs: int = 7
    decay_factor: float = 0.1
    final_fraction: float = 0.0
    cycle_epochs: float = 4.0
    plateau_patience: int = 3
    plateau_threshold: float = 0.0

    def __post_init__(self) -> None:
        if isinstance(self.l2_layers, str):
            raise ValueError(f"optimizer.l2_layers {self.l2_layers!r}: expected several, in ()")
        object.__setattr__(self, "l2_layers", tuple(self.l2_layers))
        if self.algorithm not in ALGORITHMS:
            raise ValueError(f"optimizer.algorithm {self.algorithm!r} is not one of {ALGORITHMS}")
        if self.rate_scaling not in RATE_SCALINGS:
            raise ValueError(
                f"optimizer.rate_scaling {self.rate_scaling!r} is not one of {tuple(RATE_SCALINGS)}"
            )
        if self.rate_scaling != "none" and self.reference_batch < 1:
            raise ValueError(
                f"optimizer.reference_batch {self.reference_batch}: rate_scaling "
                f"{self.rate_scaling!r} needs the batch that learning_rate is stated for"
            )
        if self.schedule not in SCHEDULES:
            raise ValueError(f"optimizer.schedule {self.schedule!r} is not one of {SCHEDULES}")
        for name in ("learning_rate", "power", "warmup_steps", "l2", "clip_norm",
                     "decoupled_decay", "body_rate", "constant_epochs",
                     "plateau_threshold"):  # fmt: skip
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"optimizer.{name} {getattr(self, name)}: expected 0 or more")
        for name in ("average_decay", "momentum"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"optimizer.{name} {getattr(self, name)} is outside [0, 1)")
        for name in ("decay_factor", "final_fraction"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"optimizer.{name} {getattr(self, name)} is outside [0, 1]")
        for name in ("decay_epochs", "cycle_epochs", "plateau_patience"):
            if not getattr(self, name) >= 1:
                raise ValueError(f"optimizer.{name} {getattr(self, name)}: expected 1 or more")
        if self.decoupled_decay and self.algorithm != "adamw":
            raise ValueError(
                f"optimizer.decoupled_decay {self.decoupled_decay} is for adamw; set l2 for "
                f"{self.algorithm}"
            )
        if self.nesterov and not (self.algorithm == "sgd" and self.momentum):
            raise ValueError("optimizer.nesterov is for sgd with momentum")


def scale_rate(options: OptimizerOptions, batch_size: int) -> OptimizerOptions:
    """The options with the learning rate for a batch of this size over all devices.

    >>> options = OptimizerOptions(algorithm="sgd", learning_rate=0.5, schedule="constant",
    ...     power=1.0, warmup_steps=0, l2=0.0, clip_norm=0.0, average_decay=0.0,
    ...     rate_scaling="linear", reference_batch=16)
    >>> scale_rate(options, 64).learning_rate
    2.0
    """
    if options.rate_scaling == "none":
        return options
    factor = (batch_size / options.reference_batch) ** RATE_SCALINGS[options.rate_scaling]
    return dataclasses.replace(options, learning_rate=options.learning_rate * factor)


def learning_rate_schedule(
    options: OptimizerOptions, *, steps: int, steps_per_epoch: int
) -> optax.Schedule:
    """Learning rate as a function of the step.

    >>> options = OptimizerOptions(algorithm="adam", learning_rate=1.0, schedule="polynomial",
    ...     power=1.0, warmup_steps=0, l2=0.0, clip_norm=0.0, average_decay=0.0)
    >>> rate = learning_rate_schedule(options, steps=40, steps_per_epoch=10)
    >>> [round(float(rate(step)), 2) for step in (0, 9, 10, 39)]
    [1.0, 1.0, 0.75, 0.25]
    """
    factor = schedule_factor(
        options.schedule,
        steps=steps,
        steps_per_epoch=steps_per_epoch,
        power=options.power,
        constant_epochs=options.constant_epochs,
        decay_epochs=options.decay_epochs,
        decay_factor=options.decay_factor,
        final_fraction=options.final_fraction,
        cycle_epochs=options.cycle_epochs,
    )

    def rate(step):
        found = factor(jnp.asarray(step))
        if options.warmup_steps:
            found = found * jnp.minimum(1.0, (step + 1) / options.warmup_steps)
        return options.learning_rate * found

    return rate


def make_optimizer(
    options: OptimizerOptions, *, steps: int, steps_per_epoch: int, params: Any = None
) -> optax.GradientTransformation:
    """Clipping, then L2, then the moments, then decoupled decay, then the learning rate.

    Args:
      options: see ``OptimizerOptions``.
      steps: of the whole run.
      steps_per_epoch: batches that make one pass.
      params: the network's parameters or their shapes, where options tell them apart.

    Raises:
      ValueError: ``l2_layers``, ``body_rate`` or ``decoupled_decay`` are set without
        ``params``.
      InputError: a pattern fits none of the parameters.
    """
    apart = options.l2_layers or options.body_rate != 1 or options.decoupled_decay
    if apart and params is None:
        raise ValueError("optimizer: telling layers apart needs the network's parameters")
    parts = []
    if options.body_rate == 0:
        parts.append(_scale(_fits(params, ("body/*",), "body_rate"), 0.0))
    if options.clip_norm:
        parts.append(optax.clip_by_global_norm(options.clip_norm))
    if options.l2 and options.l2_layers:
        parts.append(_add_decay(_fits(params, options.l2_layers, "l2_layers"), options.l2))
    elif options.l2:
        parts.append(optax.add_decayed_weights(options.l2))
    parts.append(_moments(options))
    if options.decoupled_decay:
        kernels = _fits(params, ("*/kernel",), "decoupled_decay")
        parts.append(_add_decay(kernels, options.decoupled_decay))
    rate = learning_rate_schedule(options, steps=steps, steps_per_epoch=steps_per_epoch)
    parts.append(optax.scale_by_learning_rate(rate))
    if options.body_rate != 1:
        parts.append(_scale(_fits(params, ("body/*",), "body_rate"), options.body_rate))
    return optax.chain(*parts)


def _moments(options: OptimizerOptions) -> optax.GradientTransformation:
    if options.algorithm == "sgd":
        if not options.momentum:
            return optax.identity()
        return optax.trace(decay=options.momentum, nesterov=options.nesterov)
    return optax.scale_by_amsgrad() if options.algorithm == "amsgrad" else optax.scale_by_adam()


Spans = tuple[tuple[float, int], ...]
"""A value and for how many entries of the flat vector it holds, one after the other."""


def _fits(params: Any, patterns: tuple[str, ...], option: str) -> Spans:
    """1 where a parameter's name fits a pattern, 0 elsewhere; ``option`` is for the error."""
    leaves = jax.tree_util.tree_flatten_with_path(params)[0]
    names = ["/".join(str(key.key) for key in path) for path, _ in leaves]
    for pattern in patterns:
        if not fnmatch.filter(names, pattern):
            raise InputError(
                f"optimizer.{option}: {pattern!r} fits no parameter; there are {', '.join(names)}"
            )
    fitting = [any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns) for name in names]
    pairs = zip(fitting, (math.prod(leaf.shape) for _, leaf in leaves), strict=True)
    together = itertools.groupby(pairs, key=lambda pair: pair[0])
    return tuple((float(value), sum(size for _, size in group)) for value, group in together)


def _vector(spans: Spans, *, start: float, slope: float) -> jax.Array:
    """``start + slope * value`` for every entry [P], made in the program, not kept in it."""
    return jnp.concatenate([jnp.full((size,), start + slope * value) for value, size in spans])


def _add_decay(spans: Spans, factor: float) -> optax.GradientTransformation:
    """Adds ``factor`` times the parameters to the updates where ``spans`` are 1."""
    return optax.stateless(
        lambda updates, params: updates + _vector(spans, start=0.0, slope=factor) * params
    )


def _scale(spans: Spans, factor: float) -> optax.GradientTransformation:
    """Multiplies the updates by ``factor`` where ``spans`` are 1."""
    return optax.stateless(
        lambda updates, params: _vector(spans, start=1.0, slope=factor - 1.0) * updates
    )
