"""Losses of classifiers: cross-entropy and focal loss, with class weights and soft targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import jax
import jax.numpy as jnp

from brainjax.errors import InputError
from brainjax.layers.manual_axes import batch_sum

# Of 1 - p, below which the focal loss's modulating factor no longer changes: with gamma < 1
# its gradient would be infinite at p = 1.
SMALLEST_DOUBT = 1e-12


def cross_entropy(
    logits: jax.Array,
    targets: jax.Array,
    class_weights: Sequence[float] = (),
    *,
    label_smoothing: float = 0.0,
) -> jax.Array:
    """Mean of ``-sum_k y_k log p_k``, as PyTorch's ``CrossEntropyLoss``.

    Args:
      logits: [B, K].
      targets: probabilities [B, K]; a row of zeros does not count.
      class_weights: K factors; the mean is then weighted by those of the targets. Empty:
        all 1.
      label_smoothing: this share of each target is spread over all classes.

    Returns:
      f32 scalar.

    >>> round(float(cross_entropy(jnp.zeros((1, 4)), jnp.array([[0.0, 1.0, 0.0, 0.0]]))), 4)
    1.3863
    """
    log_p = jax.nn.log_softmax(logits.astype(jnp.float32), axis=-1)
    return _weighted_mean(-log_p, targets, class_weights, label_smoothing)


def focal_loss(
    logits: jax.Array,
    targets: jax.Array,
    *,
    gamma: float = 2.0,
    alpha: float = 0.25,
    class_weights: Sequence[float] = (),
    label_smoothing: float = 0.0,
) -> jax.Array:
    """Mean of ``-alpha sum_k y_k (1 - p_k)^gamma log p_k`` (Lin et al. 2017, equation 5).

    With one ``alpha`` for all classes, as Keras' ``CategoricalFocalCrossentropy``, and the
    mean over examples, where the paper divides by the number of matched anchors.

    Args:
      logits: [B, K].
      targets: probabilities [B, K]; a row of zeros does not count.
      gamma: how much well-classified examples fade; 0 is cross-entropy times ``alpha``.
      alpha: factor of the whole.
      class_weights: see ``cross_entropy``.
      label_smoothing: see ``cross_entropy``.

    Returns:
      f32 scalar.

    >>> targets = jnp.array([[0.0, 1.0]])
    >>> round(float(focal_loss(jnp.zeros((1, 2)), targets)), 4)  # 0.25 * 0.5**2 * ln 2
    0.0433
    """
    log_p = jax.nn.log_softmax(logits.astype(jnp.float32), axis=-1)
    losses = -log_p
    if gamma:
        losses *= jnp.maximum(-jnp.expm1(log_p), SMALLEST_DOUBT) ** gamma
    return alpha * _weighted_mean(losses, targets, class_weights, label_smoothing)


def balanced_class_weights(counts: Sequence[int]) -> tuple[float, ...]:
    """Weights in inverse proportion to the classes' numbers of examples, 1 where all are equal.

    ``total / (K * count)``, as scikit-learn's ``class_weight="balanced"``.

    Raises:
      InputError: a class has no example.

    >>> balanced_class_weights([10, 30])
    (2.0, 0.6666666666666666)
    """
    if not counts or min(counts) < 1:
        raise InputError(
            f"class counts {list(counts)}: expected 1 or more of each class; "
            "give class_weights yourself or leave the empty class out"
        )
    return tuple(sum(counts) / (len(counts) * count) for count in counts)


class _Output(Protocol):
    @property
    def logits(self) -> jax.Array: ...


@dataclass(frozen=True, kw_only=True)
class ClassificationObjective:
    """Cross-entropy or focal loss of a classifier.

    Attributes:
      loss: ``"cross_entropy"`` or ``"focal"``.
      gamma: of the focal loss.
      alpha: of the focal loss.
      label_smoothing: share of each target that is spread over all classes.
      class_weights: one factor per class; empty: all 1.
    """

    loss: Literal["cross_entropy", "focal"] = "cross_entropy"
    gamma: float = 2.0
    alpha: float = 0.25
    label_smoothing: float = 0.0
    class_weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "class_weights", tuple(self.class_weights))
        if self.loss not in ("cross_entropy", "focal"):
            raise InputError(f"loss: expected 'cross_entropy' or 'focal', found {self.loss!r}")
        if not self.gamma >= 0:
            raise InputError(f"gamma: expected 0 or more, found {self.gamma}")
        if not self.alpha > 0:
            raise InputError(f"alpha: expected more than 0, found {self.alpha}")
        if not 0 <= self.label_smoothing < 1:
            raise InputError(
                f"label_smoothing: expected 0 or more and below 1, found {self.label_smoothing}"
            )
        if self.class_weights and not min(self.class_weights) >= 0 < max(self.class_weights):
            raise InputError(
                f"class_weights: expected 0 or more and not all 0, found {self.class_weights}"
            )

    def __call__(
        self, output: _Output, labels: jax.Array, step: jax.Array | int
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Works out the loss.

        Args:
          output: of the network, with ``logits`` [B, K].
          labels: classes [B], integers, or probabilities [B, K], as mixing gives. A
            negative class does not count.
          step: not used; other objectives change with it.

        Returns:
          The total and f32 scalars: ``loss`` (the total), ``accuracy`` (share of examples
          whose most probable class is the target's) and, where it is another number than
          the total, ``cross_entropy_loss`` without weights or smoothing.
        """
        del step
        logits = output.logits.astype(jnp.float32)
        targets = labels
        if labels.ndim == 1:
            targets = jax.nn.one_hot(labels, logits.shape[-1], dtype=jnp.float32)
        if self.loss == "focal":
            total = focal_loss(
                logits, targets, gamma=self.gamma, alpha=self.alpha,
                class_weights=self.class_weights, label_smoothing=self.label_smoothing,
            )  # fmt: skip
        else:
            total = cross_entropy(
                logits, targets, self.class_weights, label_smoothing=self.label_smoothing
            )
        parts = {"loss": total, "accuracy": _accuracy(logits, targets)}
        if self.loss == "focal" or self.class_weights or self.label_smoothing:
            parts["cross_entropy_loss"] = cross_entropy(logits, targets)
        return total, parts


def _accuracy(logits: jax.Array, targets: jax.Array) -> jax.Array:
    counts = jnp.sum(targets, axis=-1) > 0
    right = (jnp.argmax(logits, axis=-1) == jnp.argmax(targets, axis=-1)) & counts
    number = jnp.maximum(batch_sum(jnp.sum(counts)), 1)
    return batch_sum(jnp.sum(right.astype(jnp.float32))) / number


def _weighted_mean(
    losses: jax.Array, targets: jax.Array, class_weights: Sequence[float], smoothing: float
) -> jax.Array:
    """``sum(w y l) / sum(w y)`` over examples and classes; smoothing changes only the former."""
    number = losses.shape[-1]
    weights = jnp.ones((1, number), jnp.float32)
    if len(class_weights):
        if len(class_weights) != number:
            raise InputError(
                f"class_weights: expected {number}, one per class, found {len(class_weights)}"
            )
        weights = jnp.array(class_weights, jnp.float32)[None]
    targets = targets.astype(jnp.float32)
    mass = batch_sum(jnp.sum(weights * targets))
    if smoothing:
        whole = jnp.sum(targets, axis=-1, keepdims=True)
        targets = (1.0 - smoothing) * targets + smoothing * whole / number
    # A target of 0 must not meet an infinite loss.
    products = jnp.where(targets > 0, weights * targets * losses, 0.0)
    return batch_sum(jnp.sum(products)) / jnp.maximum(mass, jnp.finfo(jnp.float32).tiny)
