"""The sum of losses that training minimises."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import jax
import jax.numpy as jnp

from brainjax.layers.manual_axes import batch_mean
from brainjax.losses.attention import attention_loss, inter_class_loss
from brainjax.losses.cross_entropy import cross_entropy_loss
from brainjax.losses.dice import soft_dice_loss


class _Output(Protocol):
    logits: jax.Array
    attention: jax.Array | None
    distance: jax.Array | None


@dataclass(frozen=True, kw_only=True)
class Objective:
    """Weighted sum of soft Dice, attention, inter-class loss and, if wanted, cross-entropy.

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
          ``cross_entropy_loss``, ``attention_loss``, ``inter_loss`` (with its sign; all
          without weights, and ``inter_loss`` also before it counts) and ``distance``
          (mean D).
        """
        dice = soft_dice_loss(
            jax.nn.softmax(output.logits.astype(jnp.float32), axis=-1),
            labels,
            classes=self.dice_classes,
            over=self.dice_over,
            epsilon=self.dice_epsilon,
        )
        parts = {"dice_loss": dice}
        total = self.dice_weight * dice
        if self.cross_entropy_weight:
            parts["cross_entropy_loss"] = cross_entropy_loss(output.logits, labels)
            total += self.cross_entropy_weight * parts["cross_entropy_loss"]
        if output.attention is not None:
            parts["attention_loss"] = attention_loss(output.attention, labels)
            total += self.attention_weight * parts["attention_loss"]
        if output.distance is not None:
            inter = self.inter_sign * inter_class_loss(output.distance, form=self.inter_form)
            parts["inter_loss"] = inter
            parts["distance"] = batch_mean(jnp.mean(output.distance.astype(jnp.float32)))
            total += self.inter_weight * jnp.where(step >= self.inter_start_step, inter, 0.0)
        return total, {"loss": total, **parts}
