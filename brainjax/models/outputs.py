"""What networks return."""

from __future__ import annotations

import flax.struct
import jax


@flax.struct.dataclass
class SegmentationOutput:
    """Output of a segmentation network; what a network does not have is None.

    Attributes:
      logits: [B, *spatial, K], f32.
      coarse_logits: of deep supervision, f32, each level's half as fine as the one before
        it, the finest, [B, *spatial / 2, K], first; empty without.
      attention: the attention map S, [B, *spatial / 8, K], f32.
      prototypes: of the classes, [B, K, C], f32.
      distance: between the prototypes of one example, D, [B], f32.
      features_before: the deepest features, [B, *spatial / 8, C].
      features_after: the same after the intra-class update.
    """

    logits: jax.Array
    coarse_logits: tuple[jax.Array, ...] = ()
    attention: jax.Array | None = None
    prototypes: jax.Array | None = None
    distance: jax.Array | None = None
    features_before: jax.Array | None = None
    features_after: jax.Array | None = None


@flax.struct.dataclass
class ClassificationOutput:
    """Output of a classifier.

    Attributes:
      logits: [B, K], f32.
      features: the last feature map before pooling, [B, h, w, C], of the type of the
        computation; ``Classifier.classify`` takes it to the logits.
    """

    logits: jax.Array
    features: jax.Array


@flax.struct.dataclass
class ReconstructionOutput:
    """Output of an autoencoder of two sides.

    Attributes:
      image: the reconstruction [B, H, W, C], f32: the sum of the two.
      left: what the trained layers add to it, [B, H, W, C], f32.
      right: what the frozen path carries across, [B, H, W, 1].
    """

    image: jax.Array
    left: jax.Array
    right: jax.Array
