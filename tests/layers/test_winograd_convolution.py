from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brainjax.layers import cpu_convolution, lowered_convolution, onednn, plain_convolution
from brainjax.layers import winograd_convolution as winograd
from brainjax.layers.window import Window

pytestmark = pytest.mark.usefixtures("programs_not_written")
calls_onednn = pytest.mark.usefixtures("needs_onednn")
TOLERANCE = 6e-6  # of the largest value; oneDNN's plain sum keeps 3e-6


@pytest.fixture
def needs_onednn() -> None:
    if onednn.unsupported():
        pytest.skip(onednn.unsupported())


def window_of(size: tuple[int, ...], kernel: tuple[int, ...] | None = None) -> Window:
    kernel = kernel or (3,) * len(size)
    padding = tuple((k // 2, k // 2) for k in kernel)
    return Window(size=size, kernel=kernel, strides=(1,) * len(size), padding=padding)


def operands(window: Window, batch: int, cin: int, cout: int) -> tuple[jax.Array, ...]:
    draw = np.random.default_rng(7).standard_normal
    shapes = (batch, *window.size, cin), (*window.kernel, cin, cout), (batch, *window.output, cout)
    return tuple(jnp.asarray(draw(shape), jnp.float32) for shape in shapes)


def assert_close(found: Any, expected: Any) -> None:
    assert found.shape == expected.shape
    largest = max(1.0, float(jnp.abs(expected).max()))
    assert float(jnp.abs(found - expected).max()) <= TOLERANCE * largest


def test_tiles_are_the_filter_in_exact_arithmetic(rng: np.random.Generator) -> None:
    outputs, taps, inputs = winograd.transforms()
    d, g = rng.standard_normal(6), rng.standard_normal(3)
    expected = [d[i : i + 3] @ g for i in range(4)]
    np.testing.assert_allclose(outputs @ ((taps @ g) * (inputs @ d)), expected, atol=1e-14)
    assert np.abs(inputs).max(axis=1).tolist() == [1.0] * 6


@calls_onednn
@settings(max_examples=5, deadline=None, derandomize=True)
@given(
    size=st.tuples(*[st.integers(1, 9)] * 3),
    rank=st.sampled_from((2, 3)),
    others=st.tuples(*[st.sampled_from((1, 3))] * 2),
    batch=st.integers(1, 3),
    channels=st.tuples(st.integers(1, 20), st.integers(1, 20)),
)
def test_any_shape_equals_plain(
    size: tuple[int, ...],
    rank: int,
    others: tuple[int, ...],
    batch: int,
    channels: tuple[int, int],
) -> None:
    window = window_of(size[:rank], (3, *others)[:rank])
    assert winograd.supports(window, jnp.dtype("float32"))
    x, kernel, g = operands(window, batch, *channels)
    assert_close(
        jax.jit(lambda *a: winograd.transformed_forward(window, *a))(x, kernel),
        plain_convolution.forward(window, x, kernel),
    )
    assert_close(
        jax.jit(lambda *a: winograd.transformed_weight_gradient(window, *a))(x, g),
        plain_convolution.weight_gradient(window, x, g),
    )


@calls_onednn
def test_rounding_is_that_of_a_plain_sum(rng: np.random.Generator) -> None:
    window = window_of((8, 8, 8))
    x, kernel, _ = (np.asarray(a, np.float64) for a in operands(window, 1, 64, 64))
    padded = np.pad(x[0], ((1, 1),) * 3 + ((0, 0),))
    views = np.lib.stride_tricks.sliding_window_view(padded, (3, 3, 3), (0, 1, 2))
    exact = np.einsum("dhwcijk,ijkco->dhwo", views, kernel, optimize=True)

    def error(y: jax.Array) -> float:
        return float(np.sqrt(np.mean((np.asarray(y[0], np.float64) - exact) ** 2)))

    single = jnp.asarray(x, jnp.float32), jnp.asarray(kernel, jnp.float32)
    ours = error(winograd.transformed_forward(window, *single))
    plain = error(onednn.forward(window, *single))
    assert 0 < ours < 2 * plain
    assert ours < 1.2e-6 * np.sqrt(np.mean(exact**2))


@calls_onednn
@pytest.mark.parametrize(
    "size",
    [(8, 16, 16), pytest.param((64, 50), marks=pytest.mark.slow)],
    ids=["volume", "images"],
)
def test_where_it_pays_all_passes_and_second_derivatives_equal_plain(size: tuple[int, ...]) -> None:
    window, channels = window_of(size), 64 if len(size) == 3 else 128
    x, kernel, g = operands(window, 2, channels, channels)
    kernel /= float(np.sqrt(np.prod(kernel.shape[:-1])))

    def every(lowering: str) -> Any:
        def forward(x: jax.Array, kernel: jax.Array) -> jax.Array:
            return lowered_convolution.convolve(window, lowering, x, kernel)

        def slope(x: jax.Array, kernel: jax.Array) -> jax.Array:
            return jax.vjp(forward, x, kernel)[1](g)[1]

        y, pullback = jax.vjp(forward, x, kernel)
        return y, *pullback(g), *jax.vjp(slope, x, kernel)[1](kernel)

    text = str(jax.make_jaxpr(lambda: every("winograd"))())
    assert text.count(onednn.TARGET) >= 4 * 6
    for found, expected in zip(every("winograd"), every("onednn"), strict=True):
        assert_close(found, expected)


@calls_onednn
def test_few_channels_small_or_uneven_images_take_the_plain_sum() -> None:
    def calls(size: tuple[int, ...], channels: int) -> int:
        window = window_of(size)
        x, kernel, _ = operands(window, 1, channels, channels)
        program = jax.make_jaxpr(lambda *a: winograd.forward(window, *a))(x, kernel)
        return str(program).count(onednn.TARGET)

    assert calls((16, 16, 16), 64) == 6
    assert calls((16, 16, 16), 16) == 1
    assert calls((4, 8, 8), 64) == 1
    assert calls((9, 24, 24), 64) == 1  # 12 rows worked out for 9


@calls_onednn
def test_under_vmap_equals_a_loop() -> None:
    window = window_of((5, 4, 3))
    x, kernel, _ = operands(window, 3, 4, 5)
    run = jax.vmap(lambda x: winograd.transformed_forward(window, x[None], kernel)[0])
    assert_close(run(x), plain_convolution.forward(window, x, kernel))


@calls_onednn
def test_the_switch_turns_it_off(monkeypatch: pytest.MonkeyPatch) -> None:
    window, single = window_of((8, 8, 8)), jnp.dtype("float32")
    for value, expected in (("auto", "winograd"), ("onednn", "onednn"), ("sum2d", "sum2d")):
        monkeypatch.setenv(cpu_convolution.SWITCH, value)
        assert cpu_convolution.choose_lowering(window, single) == expected
    monkeypatch.setenv(cpu_convolution.SWITCH, "auto")
    half = cpu_convolution.choose_lowering(window, jnp.dtype("bfloat16"))
    assert half == ("onednn" if onednn.has_bfloat16() else "sum2d")
