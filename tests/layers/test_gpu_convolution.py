"""The Triton kernels in Pallas's interpreter, on a GPU where there is one, and who gets them."""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from brainjax.errors import InputError
from brainjax.layers import (
    convolution,
    gpu_convolution,
    lowered_convolution,
    plain_convolution,
    triton_convolution,
)
from brainjax.layers.convolution import Conv
from brainjax.layers.triton_convolution import Tiling
from brainjax.layers.window import Window

PASSES = ("forward", "input_gradient", "weight_gradient")
TOGETHER = Tiling(pairs=16, planes=3, warps=4, stages=1)
APART = Tiling(pairs=16, planes=2, warps=4, stages=1, together=False)


def window_of(size: tuple[int, ...], *, strides: int = 1) -> Window:
    rank = len(size)
    return Window(
        size=size, kernel=(3,) * rank, strides=(strides,) * rank, padding=((1, 1),) * rank
    )


def operands(
    rng: np.random.Generator, size: tuple[int, ...], *, batch: int, cin: int, cout: int
) -> dict[str, jax.Array]:
    shapes = {"x": (batch, *size, cin), "kernel": (3, 3, 3, cin, cout), "g": (batch, *size, cout)}
    return {
        name: jnp.asarray(rng.standard_normal(shape, np.float32)) for name, shape in shapes.items()
    }


def arguments(which: str, arrays: dict[str, jax.Array]) -> tuple[jax.Array, jax.Array]:
    names = {
        "forward": ("x", "kernel"), "input_gradient": ("g", "kernel"), "weight_gradient": ("x", "g")
    }  # fmt: skip
    a, b = names[which]
    return arrays[a], arrays[b]


@pytest.mark.parametrize("which", PASSES)
@pytest.mark.parametrize("tiling", [TOGETHER, APART], ids=["together", "apart"])
@pytest.mark.parametrize(
    ("size", "batch", "cin", "cout"),
    [((5, 6, 8), 2, 4, 16), ((7, 3, 10), 1, 16, 16), ((1, 1, 2), 3, 8, 8), ((4, 5, 6), 1, 16, 32)],
)
def test_kernels_equal_xla(rng, which, tiling, size, batch, cin, cout) -> None:
    window = window_of(size)
    pair = arguments(which, operands(rng, size, batch=batch, cin=cin, cout=cout))
    expected = getattr(plain_convolution, which)(window, *pair)
    ours = functools.partial(getattr(triton_convolution, which), tiling=tiling, interpret=True)
    found = ours(window, *pair)
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, atol=2e-5 * float(jnp.abs(expected).max()))


@pytest.mark.parametrize("channels", [(4, 16), (16, 16), (32, 16), (32, 32)])
def test_tilings_for_gpus_equal_xla_in_bfloat16(rng, channels) -> None:
    size = (4, 6, 22)  # 66 pairs of voxels in a plane: a whole tile and a part of one
    window = window_of(size)
    arrays = operands(rng, size, batch=1, cin=channels[0], cout=channels[1])
    rounded = {name: array.astype(jnp.bfloat16) for name, array in arrays.items()}
    exact = {name: array.astype(jnp.float32) for name, array in rounded.items()}
    for which in PASSES:
        expected = getattr(plain_convolution, which)(window, *arguments(which, exact))
        ours = functools.partial(getattr(triton_convolution, which), interpret=True)
        found = ours(window, *arguments(which, rounded))
        assert found.dtype == jnp.bfloat16
        error = jnp.linalg.norm(found.astype(jnp.float32) - expected)
        assert error < 4e-3 * jnp.linalg.norm(expected), which


@pytest.fixture
def interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Convolutions go to the kernels as on a GPU, and the kernels to Pallas's interpreter."""
    kernels: tuple[Callable[..., jax.Array], ...] = tuple(
        functools.partial(getattr(triton_convolution, which), interpret=True) for which in PASSES
    )
    monkeypatch.setitem(lowered_convolution.IMPLEMENTATIONS, "triton", kernels)
    monkeypatch.setitem(lowered_convolution.PLATFORM, "triton", "cpu")
    monkeypatch.setattr(gpu_convolution, "unavailable", lambda: "")
    monkeypatch.setattr(convolution.jax, "default_backend", lambda: "gpu")


@pytest.mark.usefixtures("interpreted")
def test_layer_has_gradients_of_gradients(rng) -> None:
    arrays = operands(rng, (3, 4, 6), batch=1, cin=8, cout=8)
    x, kernel = (arrays[name].astype(jnp.bfloat16) for name in ("x", "kernel"))

    def penalty(convolve: Callable[..., jax.Array], x: jax.Array, kernel: jax.Array) -> jax.Array:
        slope = jax.grad(lambda x: jnp.sum(convolve(x, kernel).astype(jnp.float32) ** 2))(x)
        return jnp.sum(slope.astype(jnp.float32) ** 2)

    plain = functools.partial(plain_convolution.forward, window_of((3, 4, 6)))
    text = str(jax.make_jaxpr(convolution.convolve)(x, kernel))
    assert "pallas_call" in text
    found = jax.grad(functools.partial(penalty, convolution.convolve), argnums=(0, 1))(x, kernel)
    expected = jax.grad(functools.partial(penalty, plain), argnums=(0, 1))(x, kernel)
    for ours, theirs in zip(found, expected, strict=True):
        ours, theirs = ours.astype(jnp.float32), theirs.astype(jnp.float32)
        assert jnp.linalg.norm(ours - theirs) < 2e-2 * jnp.linalg.norm(theirs)


@pytest.mark.usefixtures("interpreted")
def test_vmap_gives_what_a_loop_gives(rng) -> None:
    arrays = operands(rng, (2, 3, 4), batch=1, cin=4, cout=8)
    x = jnp.stack([arrays["x"], 2 * arrays["x"]]).astype(jnp.bfloat16)
    kernel = arrays["kernel"].astype(jnp.bfloat16)

    def slopes(x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, jax.Array]:
        def total(x: jax.Array, kernel: jax.Array) -> jax.Array:
            return jnp.sum(convolution.convolve(x, kernel).astype(jnp.float32) ** 2)

        return jax.grad(total, argnums=(0, 1))(x, kernel)

    found = jax.vmap(slopes, in_axes=(0, None))(x, kernel)
    for number in range(2):
        for ours, alone in zip(found, slopes(x[number], kernel), strict=True):
            np.testing.assert_array_equal(ours[number], alone)


def chosen(
    size: tuple[int, ...], cin: int, cout: int, *, dtype: str = "bfloat16", strides: int = 1
) -> str:
    x = jnp.zeros((1, *size, cin), dtype)
    kernel = jnp.zeros((*(3,) * len(size), cin, cout), dtype)
    return gpu_convolution.choose_lowering(window_of(size, strides=strides), x, kernel)


def test_choice_and_switch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(gpu_convolution.SWITCH, raising=False)
    monkeypatch.setattr(gpu_convolution, "unavailable", lambda: "")
    assert chosen((4, 4, 4), 4, 16) == "triton"
    assert chosen((4, 4, 4), 16, 16, dtype="float32") == "plain"
    assert chosen((4, 4, 5), 16, 16) == "plain", "rows of an odd number of voxels"
    assert chosen((4, 4, 4), 16, 24) == "plain"
    assert chosen((4, 4, 4), 16, 16, strides=2) == "plain"
    assert chosen((4, 4), 16, 16) == "plain"
    monkeypatch.setenv(gpu_convolution.SWITCH, "plain")
    assert chosen((4, 4, 4), 16, 16) == "plain"
    monkeypatch.setenv(gpu_convolution.SWITCH, "cudnn")
    with pytest.raises(InputError, match="auto, plain, triton, found 'cudnn'"):
        chosen((4, 4, 4), 16, 16)


@pytest.mark.parametrize(
    ("capability", "kind", "reason"),
    [
        ("9.0", "NVIDIA H100", ""),
        ("7.5", "Tesla T4", "need compute capability 8.0, not 7.5"),
        ("gfx942", "MI300X", "are for NVIDIA GPUs, not MI300X"),
    ],
)
def test_only_gpus_that_have_what_the_kernels_need(monkeypatch, capability, kind, reason) -> None:
    class Device:
        compute_capability = capability
        device_kind = kind

    monkeypatch.setattr(gpu_convolution.jax, "devices", lambda platform: [Device()])
    found = gpu_convolution._unsupported.__wrapped__()
    assert reason in found if reason else not found


def test_several_gpus_under_jit_keep_xla(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_convolution, "_unsupported", lambda: "")
    monkeypatch.setattr(gpu_convolution.jax, "device_count", lambda platform: 4)
    assert chosen((4, 4, 4), 16, 16) == "plain"
    monkeypatch.setenv(gpu_convolution.SWITCH, "triton")
    with pytest.raises(InputError, match="cannot be split over 4 GPUs"):
        chosen((4, 4, 4), 16, 16)
    monkeypatch.setattr(gpu_convolution, "batch_parts", lambda: 4)  # as inside shard_map
    assert chosen((4, 4, 4), 16, 16) == "triton"


def test_asking_for_kernels_without_a_gpu_is_one_clear_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(gpu_convolution.SWITCH, "triton")
    with pytest.raises(InputError, match="no GPU for JAX; use auto"):
        chosen((4, 4, 4), 16, 16)


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("platform", ["cpu", "gpu"])
def test_several_inputs_are_their_channels_together(rng, monkeypatch, size, platform) -> None:
    monkeypatch.setattr(convolution.jax, "default_backend", lambda: platform)
    a, b = (jnp.asarray(rng.standard_normal((1, 4, 4, 4, c), np.float32)) for c in (3, 5))
    layer = Conv(6, size)
    variables = layer.init(jax.random.key(0), a, b)
    assert variables["params"]["kernel"].shape == (size, size, size, 8, 6)
    together = layer.apply(variables, jnp.concatenate([a, b], axis=-1))
    np.testing.assert_allclose(layer.apply(variables, a, b), together, atol=1e-5)


@pytest.mark.device
@pytest.mark.skipif(jax.default_backend() != "gpu", reason="needs a GPU")
@pytest.mark.parametrize("channels", [(4, 16), (8, 8), (16, 16), (32, 16), (32, 32)])
def test_compiled_kernels_equal_xla(rng, channels) -> None:
    size = (20, 24, 40)
    window = window_of(size)
    arrays = operands(rng, size, batch=2, cin=channels[0], cout=channels[1])
    for which in PASSES:
        pair = [a.astype(jnp.bfloat16) for a in arguments(which, arrays)]
        expected = getattr(plain_convolution, which)(window, *pair).astype(jnp.float32)
        found = getattr(triton_convolution, which)(window, *pair).astype(jnp.float32)
        assert jnp.linalg.norm(found - expected) < 1e-2 * jnp.linalg.norm(expected), which
