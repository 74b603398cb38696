"""A network of one convolution, and its state."""

from __future__ import annotations

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax
import pytest

from brainjax.training import TrainState, create_state


@flax.struct.dataclass
class TinyOutput:
    logits: jax.Array


class TinyModel(nn.Module):
    """Dropout, batch norm and a product: every kind of state that a network has."""

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> TinyOutput:
        hidden = nn.BatchNorm(use_running_average=not train)(nn.Dense(3, use_bias=False)(image))
        hidden = nn.Dropout(0.2, deterministic=not train)(hidden)
        return TinyOutput(logits=nn.Dense(2)(nn.relu(hidden)))


def tiny_objective(output: TinyOutput, labels: jax.Array, step: jax.Array):
    del step
    loss = optax.softmax_cross_entropy_with_integer_labels(output.logits, labels).mean()
    return loss, {"loss": loss}


@pytest.fixture
def model() -> TinyModel:
    return TinyModel()


@pytest.fixture
def objective():
    return tiny_objective


@pytest.fixture
def optimizer() -> optax.GradientTransformation:
    return optax.adam(1e-2)


@pytest.fixture
def state(model: TinyModel, optimizer: optax.GradientTransformation) -> TrainState:
    image = jax.ShapeDtypeStruct((1, 4, 4, 4, 2), jnp.float32)
    return create_state(
        jax.random.key(0), image, model=model, optimizer=optimizer, keep_average=True
    )
