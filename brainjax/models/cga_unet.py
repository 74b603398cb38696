"""CGA U-Net: category guided attention network for brain tumour segmentation.

Li, Yu, Chen, Ding, Zha: Category Guided Attention Network for Brain Tumor Segmentation
in MRI, 2021. ``variant="paper"`` follows the text, ``variant="released"`` the authors'
code, whose weights ``brainjax.weights.cga_unet`` reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import jax

from brainjax.layers.attention import SupervisedAttention
from brainjax.layers.pooling import inter_class_distance
from brainjax.models.outputs import SegmentationOutput
from brainjax.models.unet import HALVINGS, UNet

MASK: dict[str, Literal["soft", "hard"]] = {"paper": "soft", "released": "hard"}


class CGAUNet(UNet):
    """The residual U-Net with supervised attention on its deepest features.

    Variants differ in the U-Net's parts (see ``UNet``), in the mask (attention map as
    soft weights, or hard one-hot of its argmax) and in the form of the distance D
    (see ``inter_class_distance``). With both ``intra`` and ``inter`` off there is no
    attention path, and the network is the paper's baseline.

    Attributes:
      intra: whether the deepest features are updated with their class's prototypes.
      inter: whether the distance between the prototypes is worked out, for the
        inter-class loss.
      intra_classes: only these classes are written back (single-class ablation).
      attention_from: ``"image"``, or ``"features"`` for Figure 5's comparison, a single
        1x1x1 convolution on the deepest features.
      attention_classes: classes of the attention map, where they are not those of the
        logits, as in region-wise training; 0 for the same.
    """

    intra: bool = True
    inter: bool = True
    intra_classes: Sequence[int] | None = None
    attention_from: Literal["image", "features"] = "image"
    attention_classes: int = 0

    def _guide(self, image: jax.Array, features: jax.Array) -> SegmentationOutput:
        """Applies the supervised attention module to the deepest features."""
        if not (self.intra or self.inter):
            return SegmentationOutput(logits=features)
        updated, attention, prototypes = SupervisedAttention(
            num_classes=self.attention_classes or self.num_classes,
            rate=2**HALVINGS,
            mask=MASK[self.variant],
            update=self.intra,
            classes=self.intra_classes,
            source=self.attention_from,
            dtype=self.dtype,
            name="attention",
        )(image, features)
        distance = inter_class_distance(prototypes, form=self.variant) if self.inter else None
        return SegmentationOutput(
            logits=updated,
            attention=attention,
            prototypes=prototypes,
            distance=distance,
            features_before=features,
            features_after=updated,
        )
