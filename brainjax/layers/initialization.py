"""How kernels are drawn."""

from __future__ import annotations

import flax.linen as nn

# PyTorch's default for convolutions (kaiming uniform with a = sqrt(5)): uniform in
# +-1/sqrt(fan_in), a variance of 1/(3 fan_in). Biases start at zero here, where
# PyTorch draws them from the same interval.
uniform_fan_in = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
