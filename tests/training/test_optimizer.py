"""Schedules and updates against hand-derived numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from brainjax.errors import InputError
from brainjax.training import (
    OptimizerOptions,
    learning_rate_schedule,
    make_optimizer,
    scale_rate,
)
from brainjax.training.state import flat_parameters, shaped_parameters

OPTIONS = OptimizerOptions(
    algorithm="adam", learning_rate=0.1, schedule="constant", power=0.9, warmup_steps=0,
    l2=0.0, clip_norm=0.0, average_decay=0.0,
)  # fmt: skip


def first_update(options: OptimizerOptions, gradient: float, parameter: float) -> float:
    optimizer = make_optimizer(options, steps=10, steps_per_epoch=1)
    params = jnp.array([parameter])
    updates, _ = optimizer.update(jnp.array([gradient]), optimizer.init(params), params)
    return float(optax.apply_updates(params, updates)[0])


@pytest.mark.parametrize("algorithm", ["adam", "amsgrad"])
def test_first_step_is_the_learning_rate_whatever_the_gradient(algorithm: str) -> None:
    options = dataclasses.replace(OPTIONS, algorithm=algorithm)
    assert first_update(options, 5.0, 1.0) == pytest.approx(0.9, abs=1e-5)
    assert first_update(options, -0.02, 1.0) == pytest.approx(1.1, abs=1e-5)


def test_l2_joins_the_gradient_before_the_moments() -> None:
    # gradient 0 + l2 * 1 has sign +1, so Adam's first step is a full one.
    assert first_update(dataclasses.replace(OPTIONS, l2=1e-3), 0.0, 1.0) == pytest.approx(
        0.9, abs=1e-4
    )
    assert first_update(OPTIONS, 0.0, 1.0) == 1.0


def test_polynomial_decay_is_constant_within_an_epoch() -> None:
    options = dataclasses.replace(OPTIONS, schedule="polynomial")
    rate = learning_rate_schedule(options, steps=100, steps_per_epoch=10)
    assert float(rate(0)) == float(rate(9)) == pytest.approx(0.1)
    assert float(rate(50)) == pytest.approx(0.1 * 0.5**0.9)
    assert float(rate(99)) == pytest.approx(0.1 * 0.1**0.9)


def test_warm_up_rises_linearly() -> None:
    options = dataclasses.replace(OPTIONS, warmup_steps=4)
    rate = learning_rate_schedule(options, steps=100, steps_per_epoch=10)
    np.testing.assert_allclose([float(rate(n)) for n in range(5)], [0.025, 0.05, 0.075, 0.1, 0.1])


def test_clipping_bounds_the_gradient_that_adam_sees() -> None:
    options = dataclasses.replace(OPTIONS, clip_norm=1.0)
    optimizer = make_optimizer(options, steps=10, steps_per_epoch=1)
    params = jnp.zeros(2)
    _, state = optimizer.update(jnp.array([30.0, 40.0]), optimizer.init(params), params)
    moments = next(part for part in state if hasattr(part, "mu"))
    np.testing.assert_allclose(moments.mu, 0.1 * np.array([0.6, 0.8]), rtol=1e-6)


@pytest.mark.parametrize(
    "wrong",
    [
        {"algorithm": "sgdd"},
        {"schedule": "linear"},
        {"average_decay": 1.0},
        {"momentum": 1.0},
        {"decay_factor": 1.5},
        {"final_fraction": -0.1},
        {"decay_epochs": 0},
        {"plateau_patience": 0},
        {"body_rate": -1.0},
        {"decoupled_decay": 0.1},
        {"nesterov": True},
        {"l2_layers": "head/*"},
    ],
)
def test_wrong_options_are_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        dataclasses.replace(OPTIONS, **wrong)


NAMES = {
    "body": {"conv": {"kernel": (3, 2), "bias": (2,)}, "norm": {"scale": (2,)}},
    "head": {"hidden_0": {"kernel": (2, 3), "bias": (3,)}, "logits": {"kernel": (3, 2)}},
}


def make_params() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return jax.tree.map(
        lambda shape: jnp.asarray(rng.normal(size=shape), jnp.float32),
        NAMES,
        is_leaf=lambda value: isinstance(value, tuple),
    )


def make_gradients(params: dict[str, Any], steps: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(1)
    return [
        jax.tree.map(lambda p: jnp.asarray(rng.normal(size=p.shape), jnp.float32), params)
        for _ in range(steps)
    ]


def train(
    options: OptimizerOptions, start: dict[str, Any], gradients: list[dict[str, Any]], **given: Any
) -> dict[str, Any]:
    """Several updates of the flat vector, as the training step makes them."""
    optimizer = make_optimizer(options, steps=len(gradients), steps_per_epoch=2, **given)
    vector = flat_parameters(start)
    state = optimizer.init(vector)
    update = jax.jit(optimizer.update)
    for gradient in gradients:
        change, state = update(flat_parameters(gradient), state, vector)
        vector = vector + change
    return shaped_parameters(vector, start)


def train_pytorch(
    make: Callable[..., Any], params: dict[str, Any], gradients: list[dict[str, Any]],
    clip_norm: float = 0.0,
) -> dict[str, Any]:  # fmt: skip
    torch = pytest.importorskip("torch")
    leaves, structure = jax.tree.flatten(params)
    tensors = [torch.tensor(np.asarray(leaf), requires_grad=True) for leaf in leaves]
    named = dict(zip(names_of(params), tensors, strict=True))
    optimizer = make(torch, named)
    for gradient in gradients:
        for tensor, leaf in zip(tensors, jax.tree.leaves(gradient), strict=True):
            tensor.grad = torch.tensor(np.asarray(leaf))
        if clip_norm:
            torch.nn.utils.clip_grad_norm_(tensors, clip_norm)
        optimizer.step()
    return jax.tree.unflatten(structure, [tensor.detach().numpy() for tensor in tensors])


def names_of(params: dict[str, Any]) -> list[str]:
    paths = jax.tree_util.tree_flatten_with_path(params)[0]
    return ["/".join(key.key for key in path) for path, _ in paths]


def assert_same(found: dict[str, Any], expected: dict[str, Any], atol: float = 1e-6) -> None:
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=atol), found, expected)


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("l2", [0.0, 0.05])
def test_sgd_is_pytorchs(nesterov: bool, l2: float) -> None:
    params = make_params()
    gradients = make_gradients(params, 6)
    expected = train_pytorch(
        lambda torch, named: torch.optim.SGD(
            named.values(), lr=0.1, momentum=0.9, weight_decay=l2, nesterov=nesterov
        ),
        params,
        gradients,
    )
    options = dataclasses.replace(OPTIONS, algorithm="sgd", l2=l2, nesterov=nesterov)
    assert_same(train(options, params, gradients), expected)


def test_plain_sgd_has_no_momentum() -> None:
    params = make_params()
    gradients = make_gradients(params, 3)
    found = train(dataclasses.replace(OPTIONS, algorithm="sgd", momentum=0.0), params, gradients)
    expected = jax.tree.map(lambda p, *g: p - 0.1 * sum(g), params, *gradients)
    assert_same(found, expected)


@pytest.mark.parametrize("clip_norm", [0.0, 2.0])
def test_adam_is_pytorchs(clip_norm: float) -> None:
    params = make_params()
    gradients = make_gradients(params, 6)
    expected = train_pytorch(
        lambda torch, named: torch.optim.Adam(named.values(), lr=0.1, weight_decay=0.05),
        params,
        gradients,
        clip_norm=clip_norm,
    )
    options = dataclasses.replace(OPTIONS, l2=0.05, clip_norm=clip_norm)
    assert_same(train(options, params, gradients), expected, atol=1e-5)


def test_adamw_is_pytorchs_with_decay_of_kernels_only() -> None:
    params = make_params()
    gradients = make_gradients(params, 6)

    def make(torch: Any, named: dict[str, Any]) -> Any:
        kernels = [value for name, value in named.items() if name.endswith("kernel")]
        others = [value for name, value in named.items() if not name.endswith("kernel")]
        groups = [{"params": kernels}, {"params": others, "weight_decay": 0.0}]
        return torch.optim.AdamW(groups, lr=0.1, weight_decay=0.3)

    options = dataclasses.replace(OPTIONS, algorithm="adamw", decoupled_decay=0.3)
    found = train(options, params, gradients, params=params)
    assert_same(found, train_pytorch(make, params, gradients), atol=1e-5)


def test_l2_of_chosen_layers_is_a_pytorch_group_of_its_own() -> None:
    params = make_params()
    gradients = make_gradients(params, 4)

    def make(torch: Any, named: dict[str, Any]) -> Any:
        groups = [
            {"params": [value], "weight_decay": 0.2 if name == "head/hidden_0/kernel" else 0.0}
            for name, value in named.items()
        ]
        return torch.optim.SGD(groups, lr=0.1, momentum=0.9)

    options = dataclasses.replace(
        OPTIONS, algorithm="sgd", l2=0.2, l2_layers=("head/hidden_*/kernel",)
    )
    found = train(options, params, gradients, params=params)
    assert_same(found, train_pytorch(make, params, gradients))


@pytest.mark.parametrize("algorithm", ["sgd", "adam"])
def test_body_and_head_have_rates_of_their_own(algorithm: str) -> None:
    params = make_params()
    gradients = make_gradients(params, 4)

    def make(torch: Any, named: dict[str, Any]) -> Any:
        groups = [
            {"params": [value], "lr": 0.01 if name.startswith("body/") else 0.1}
            for name, value in named.items()
        ]
        if algorithm == "adam":
            return torch.optim.Adam(groups, weight_decay=0.05)
        return torch.optim.SGD(groups, momentum=0.9, weight_decay=0.05)

    options = dataclasses.replace(OPTIONS, algorithm=algorithm, l2=0.05, body_rate=0.1)
    shapes = jax.eval_shape(lambda: params)
    found = train(options, params, gradients, params=shapes)
    assert_same(found, train_pytorch(make, params, gradients), atol=1e-5)


@pytest.mark.parametrize(
    "decay", [{"l2": 0.5}, {"algorithm": "adamw", "decoupled_decay": 0.5}, {"algorithm": "sgd"}]
)
def test_a_frozen_body_stays_bitwise_and_out_of_the_clipping(decay: dict[str, Any]) -> None:
    params = make_params()
    gradients = make_gradients(params, 3)
    options = dataclasses.replace(OPTIONS, body_rate=0.0, clip_norm=0.1, **decay)
    found = train(options, params, gradients, params=params)
    jax.tree.map(np.testing.assert_array_equal, found["body"], params["body"])
    assert not np.array_equal(found["head"]["logits"]["kernel"], params["head"]["logits"]["kernel"])
    larger = [{**g, "body": jax.tree.map(lambda v: 1e4 * v, g["body"])} for g in gradients]
    assert_same(train(options, params, larger, params=params), found)


def test_names_that_fit_nothing_are_told() -> None:
    params = make_params()
    options = dataclasses.replace(OPTIONS, l2=0.1, l2_layers=("head/dense/kernel",))
    with pytest.raises(InputError, match=r"l2_layers: 'head/dense/kernel'.*head/hidden_0/kernel"):
        make_optimizer(options, steps=1, steps_per_epoch=1, params=params)
    frozen = dataclasses.replace(OPTIONS, body_rate=0.0)
    with pytest.raises(InputError, match="body_rate"):
        make_optimizer(frozen, steps=1, steps_per_epoch=1, params=params["head"])
    with pytest.raises(ValueError, match="needs the network's parameters"):
        make_optimizer(frozen, steps=1, steps_per_epoch=1)


def test_options_of_old_checkpoints_have_the_same_optimizer_state() -> None:
    state = make_optimizer(OPTIONS, steps=1, steps_per_epoch=1).init(jnp.zeros(3))
    assert len(jax.tree.leaves(state)) == 4  # two moments and two counts


@pytest.mark.parametrize(("scaling", "rate"), [("none", 0.1), ("linear", 0.4), ("sqrt", 0.2)])
def test_the_rate_follows_the_batch_as_asked(scaling, rate) -> None:
    options = OptimizerOptions(
        algorithm="adam", learning_rate=0.1, schedule="constant", power=1.0, warmup_steps=0,
        l2=0.0, clip_norm=0.0, average_decay=0.0, rate_scaling=scaling, reference_batch=8,
    )  # fmt: skip
    assert scale_rate(options, 32).learning_rate == pytest.approx(rate)


def test_scaling_the_rate_needs_a_reference() -> None:
    with pytest.raises(ValueError, match="reference_batch 0"):
        OptimizerOptions(
            algorithm="adam", learning_rate=0.1, schedule="constant", power=1.0, warmup_steps=0,
            l2=0.0, clip_norm=0.0, average_decay=0.0, rate_scaling="sqrt",
        )  # fmt: skip
