"""The sum of losses that training minimises."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Literal, Protocol

import jax
import jax.numpy as jnp

from brainjax.layers.manual_axes import batch_mean
from brainjax.layers.pooling import pairwise_distances
from brainjax.losses.attention import attention_loss, inter_class_loss, sample_labels_down
from brainjax.losses.cross_entropy import cross_entropy_loss
from brainjax.losses.deep_supervision import deep_supervision_weights
from brainjax.losses.dice import soft_dice_loss
from brainjax.losses.regions import region_cross_entropy_loss, region_dice_loss


class _Output(Protocol):
    logits: jax.Array
    coarse_logits: tuple[jax.Array, ...]
    attention: jax.Array | None
    prototypes: jax.Array | None
    distance: jax.Array | None


@dataclass(frozen=True, kw_only=True)
class Objective:
    """Weighted sum of soft Dice, attention, inter-class loss and, if wanted, cross-entropy.

    Dice and cross-entropy of coarser heads are taken against the labels sampled down to
    them and counted with ``deep_supervision_weights``.

    Defaults are the paper's; the released code has ``attention_weight=20`` and
    ``inter_form="released"``.

    Attributes:
      dice_weight: of the soft Dice loss (L_M).
      attention_weight: of the attention map's mean squared error (L_A).
      inter_weight: of the inter-class loss (L_I).
      inter_form: ``"paper"`` or ``"released"``, see ``inter_class_loss``.
      inter_sign: 1, or -1 for the ablation that draws the classes together.
      inter_start_step: the inter-class loss counts from this step on; the paper starts
        it after 20 epochs.
      dice_over: ``"batch"`` or ``"example"``, see ``soft_dice_loss``.
      dice_classes: that count in it.
      dice_epsilon: of its denominator.
      cross_entropy_weight: of the mean cross-entropy of all voxels; not in the paper,
        where it is 0. It gives a gradient where the Dice has none (false voxels of a
        class that the batch lacks), which short runs with small batches need.
      regions: classes that each channel of the logits unites, for region-wise training:
        sigmoid, and binary cross-entropy. Empty: a softmax over classes.
    """

    dice_weight: float = 1.0
    attention_weight: float = 1.0
    inter_weight: float = 1.0
    inter_form: Literal["paper", "released"] = "paper"
    inter_sign: int = 1
    inter_start_step: int = 0
    dice_over: Literal["batch", "example"] = "batch"
    dice_classes: tuple[int, ...] = (1, 2, 3)
    dice_epsilon: float = 1e-5
    cross_entropy_weight: float = 0.0
    regions: tuple[tuple[int, ...], ...] = ()

    def __call__(
        self, output: _Output, labels: jax.Array, step: jax.Array | int
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Works out the loss.

        Args:
          output: of the network; where attention map or distance is None, that part
            and its name are left out.
          labels: classes [B, *spatial], integers.
          step: number of the update, from 0.

        Returns:
          The total and f32 scalars: ``loss`` (the total), ``dice_loss``,
          ``cross_entropy_loss`` (both at full resolution), ``attention_loss``,
          ``inter_loss`` (with its sign; all without weights, and ``inter_loss`` also
          before it counts), ``distance`` (mean D) and, of a network with prototypes,
          ``prototype_distance/<i>_<j>``, the mean over the batch of the distance of
          classes i and j.
        """
        heads = (output.logits, *output.coarse_logits)
        parts: dict[str, jax.Array] = {}
        total = jnp.zeros((), jnp.float32)
        for logits, weight in zip(heads, deep_supervision_weights(len(heads)), strict=True):
            found = self._of_head(logits, sample_labels_down(labels, logits.shape[1:-1]))
            parts = parts or found
            if weight:
                total += weight * self.dice_weight * found["dice_loss"]
                if self.cross_entropy_weight:
                    total += weight * self.cross_entropy_weight * found["cross_entropy_loss"]
        if output.attention is not None:
            parts["attention_loss"] = attention_loss(output.attention, labels)
            total += self.attention_weight * parts["attention_loss"]
        if output.distance is not None:
            inter = self.inter_sign * inter_class_loss(output.distance, form=self.inter_form)
            parts["inter_loss"] = inter
            parts["distance"] = batch_mean(jnp.mean(output.distance.astype(jnp.float32)))
            total += self.inter_weight * jnp.where(step >= self.inter_start_step, inter, 0.0)
        if output.prototypes is not None:
            apart = batch_mean(jnp.mean(pairwise_distances(output.prototypes), axis=0))  # [pairs]
            pairs = itertools.combinations(range(output.prototypes.shape[1]), 2)
            parts |= {f"prototype_distance/{i}_{j}": apart[n] for n, (i, j) in enumerate(pairs)}
        return total, {"loss": total, **parts}

    def _of_head(self, logits: jax.Array, labels: jax.Array) -> dict[str, jax.Array]:
        """Dice and, if wanted, cross-entropy of one head on its own grid."""
        if self.regions:
            found = {
                "dice_loss": region_dice_loss(
                    logits, labels, self.regions, over=self.dice_over, epsilon=self.dice_epsilon
                )
            }
            if self.cross_entropy_weight:
                found["cross_entropy_loss"] = region_cross_entropy_loss(
                    logits, labels, self.regions
                )
            return found
        found = {
            "dice_loss": soft_dice_loss(
                jax.nn.softmax(logits.astype(jnp.float32), axis=-1),
                labels,
                classes=self.dice_classes,
                over=self.dice_over,
                epsilon=self.dice_epsilon,
            )
        }
        if self.cross_entropy_weight:
            found["cross_entropy_loss"] = cross_entropy_loss(logits, labels)
        return found
