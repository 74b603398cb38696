"""Brain-tumour MRI deep learning in JAX/Flax.

The packages are the stages that data passes, in order::

    scans -> records -> batches -> augment -> models (layers, weights) -> losses
          -> training -> inference -> evaluation -> report

Host stages (scans, records, batches, evaluation, report) are NumPy and never
import jax. Device stages (augment, layers, models, losses, training,
inference) are JAX and never read a file format.
"""

__version__ = "0.1.0"
