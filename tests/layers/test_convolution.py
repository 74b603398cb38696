from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from brainjax.errors import InputError
from brainjax.layers import (
    cpu_convolution,
    lowered_convolution,
    onednn,
    plain_convolution,
    plane_convolution,
)
from brainjax.layers.convolution import Conv, convolve
from brainjax.layers.window import Window, depth_to_space, gradient_as_convolution

FAST = ("sum2d", "onednn")
PASSES = (0, 1, 2)
pytestmark = pytest.mark.usefixtures("programs_not_written")


def needs(lowering: str) -> None:
    if lowering == "onednn" and onednn.unavailable():
        pytest.skip(onednn.unavailable())


def window_of(
    size: tuple[int, ...],
    kernel: int | tuple[int, ...] = 3,
    strides: int | tuple[int, ...] = 1,
    padding: tuple[tuple[int, int], ...] | None = None,
) -> Window:
    rank = len(size)
    kernel = (kernel,) * rank if isinstance(kernel, int) else kernel
    return Window(
        size=size,
        kernel=kernel,
        strides=(strides,) * rank if isinstance(strides, int) else strides,
        padding=padding or tuple((k // 2, k // 2) for k in kernel),
    )


def operands(window: Window, batch: int, cin: int, cout: int, dtype: Any) -> dict[str, jax.Array]:
    draw = np.random.default_rng(7).standard_normal
    shapes = {
        "x": (batch, *window.size, cin),
        "kernel": (*window.kernel, cin, cout),
        "g": (batch, *window.output, cout),
    }
    return {name: jnp.asarray(draw(shape), dtype) for name, shape in shapes.items()}


def results(lowering: str, window: Window, arrays: dict[str, jax.Array]) -> list[np.ndarray]:
    """The convolution and both its gradients by one lowering."""
    functions = lowered_convolution.IMPLEMENTATIONS[lowering]

    def every(x: jax.Array, kernel: jax.Array, g: jax.Array) -> tuple[jax.Array, ...]:
        pairs = ((x, kernel), (g, kernel), (x, g))
        return tuple(f(window, *pair) for f, pair in zip(functions, pairs, strict=True))

    return [np.asarray(a, np.float32) for a in jax.jit(every)(**arrays)]


def assert_equal_within_rounding(
    lowering: str, window: Window, *, batch: int, cin: int, cout: int, dtype: Any
) -> None:
    arrays = operands(window, batch, cin, cout, dtype)
    expected = results("plain", window, {k: a.astype(jnp.float32) for k, a in arrays.items()})
    found = results(lowering, window, arrays)
    tolerance = 3e-6 if dtype == jnp.float32 else 8e-3
    for one, other in zip(expected, found, strict=True):
        assert one.shape == other.shape
        assert np.abs(one - other).max() <= tolerance * max(1.0, np.abs(one).max())


@pytest.mark.parametrize("lowering", FAST)
@settings(
    max_examples=6,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    size=st.tuples(*[st.integers(1, 9)] * 3),
    kernel=st.tuples(*[st.sampled_from((1, 3))] * 3),
    strides=st.tuples(*[st.sampled_from((1, 2))] * 3),
    batch=st.integers(1, 3),
    cin=st.integers(1, 20),
    cout=st.integers(1, 20),
    dtype=st.sampled_from((jnp.float32, jnp.bfloat16)),
)
def test_any_shape_equals_plain(
    lowering: str,
    size: tuple[int, int, int],
    kernel: tuple[int, int, int],
    strides: tuple[int, int, int],
    batch: int,
    cin: int,
    cout: int,
    dtype: Any,
) -> None:
    needs(lowering)
    window = window_of(size, kernel, strides)
    if lowering == "onednn" and not onednn.supports(window, dtype):
        dtype = jnp.float32
    assert_equal_within_rounding(lowering, window, batch=batch, cin=cin, cout=cout, dtype=dtype)


@pytest.mark.parametrize(
    ("window", "batch"),
    [
        (window_of((7, 8, 9)), 2),
        (window_of((8, 7, 6), strides=2), 2),
        (window_of((7, 6, 9), padding=((0, 2), (1, 0), (2, 2))), 1),
        (window_of((7, 9, 8), (2, 3, 2), (3, 2, 1), ((0, 1), (0, 0), (1, 0))), 1),
    ],
    ids=["stride1", "stride2", "uneven padding", "mixed"],
)
@pytest.mark.parametrize("lowering", FAST)
def test_chosen_shapes_equal_plain(lowering: str, window: Window, batch: int) -> None:
    needs(lowering)
    assert_equal_within_rounding(lowering, window, batch=batch, cin=3, cout=5, dtype=jnp.float32)


@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize("lowering", FAST)
def test_many_slabs_equal_one(lowering: str, strides: int, monkeypatch: pytest.MonkeyPatch) -> None:
    needs(lowering)
    monkeypatch.setattr(onednn, "SLAB_BYTES", {2: 1, 3: 1})
    monkeypatch.setattr(plane_convolution, "SLAB_ELEMENTS", 200)
    window = window_of((7, 5, 6), strides=strides)
    assert_equal_within_rounding(lowering, window, batch=2, cin=2, cout=3, dtype=jnp.float32)


@pytest.mark.parametrize("parts", [1, 2], ids=["one input", "two inputs"])
def test_products_in_bfloat16_equal_those_in_float32(
    parts: int, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs("onednn")
    if not onednn.has_bfloat16():
        pytest.skip("no bfloat16 kernels on this processor")
    monkeypatch.setenv(cpu_convolution.SWITCH, "onednn")
    inputs = [jnp.array(rng.normal(size=(2, 5, 4, 3, 6)), jnp.bfloat16) for _ in range(parts)]
    layer = Conv(8, 1)
    variables = layer.init(jax.random.key(0), *inputs)

    def run(dtype: Any) -> Any:
        def total(variables: Any) -> tuple[jax.Array, jax.Array]:
            y = Conv(8, 1, dtype=dtype).apply(variables, *inputs)
            return jnp.sum(jnp.asarray(y, jnp.float32) ** 2), y

        (_, y), gradients = jax.value_and_grad(total, has_aux=True)(variables)
        program = str(jax.make_jaxpr(total)(variables))
        return program, [y, *jax.tree.leaves(gradients)]

    (rough, found), (exact, expected) = run(jnp.bfloat16), run(jnp.float32)
    assert onednn.TARGET in rough
    assert onednn.TARGET not in exact
    for one, other in zip(expected, found, strict=True):
        error = np.abs(np.asarray(one, np.float32) - np.asarray(other, np.float32))
        assert error.max() <= 0.02 * np.abs(one).max()


@pytest.mark.parametrize("batch", [4, 5], ids=["whole slabs of two", "last slab filled up"])
def test_many_slabs_of_images_equal_one(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    needs("onednn")
    monkeypatch.setattr(onednn, "SLAB_BYTES", {2: 2 * 8 * 8 * 5 * 4, 3: 1})
    window = window_of((8, 8), 3, 1)
    assert_equal_within_rounding("onednn", window, batch=batch, cin=3, cout=5, dtype=jnp.float32)


@pytest.mark.parametrize(("kernel", "strides"), [(1, 1), (1, 2), (3, 1), (3, 2), (7, 2)])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_two_axes_equal_plain(kernel: int, strides: int, dtype: Any) -> None:
    needs("onednn")
    window = window_of((11, 8), kernel, strides)
    if not onednn.supports(window, dtype):
        pytest.skip("no bfloat16 kernels on this processor")
    assert_equal_within_rounding("onednn", window, batch=2, cin=3, cout=4, dtype=dtype)
    arrays = operands(window, 2, 3, 4, dtype)
    found = onednn.weight_gradient(window, arrays["x"], arrays["g"])
    expected = results("plain", window, arrays)[2]
    np.testing.assert_allclose(np.asarray(found, np.float32), expected, rtol=2e-2, atol=0.3)


@settings(
    max_examples=10,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    size=st.tuples(*[st.integers(3, 9)] * 2),
    kernel=st.tuples(*[st.sampled_from((1, 3))] * 2),
    strides=st.tuples(*[st.sampled_from((1, 2, 3))] * 2),
    channels=st.sampled_from(((3, 5), (64, 65))),
    dtype=st.sampled_from((jnp.float32, jnp.bfloat16)),
)
def test_any_image_equals_plain(
    size: tuple[int, int],
    kernel: tuple[int, int],
    strides: tuple[int, int],
    channels: tuple[int, int],
    dtype: Any,
) -> None:
    needs("onednn")
    window = window_of(size, kernel, strides)
    if not onednn.supports(window, dtype):
        dtype = jnp.float32
    arrays = operands(window, 2, *channels, dtype)
    assert_equal_within_rounding(
        "onednn", window, batch=2, cin=channels[0], cout=channels[1], dtype=dtype
    )
    found = jax.jit(functools.partial(onednn.input_gradient, window))(arrays["g"], arrays["kernel"])
    wide = {name: a.astype(jnp.float32) for name, a in arrays.items()}
    expected = results("plain", window, wide)[1]
    tolerance = 3e-6 if dtype == jnp.float32 else 8e-3
    difference = np.abs(np.asarray(found, np.float32) - expected).max()
    assert difference <= tolerance * max(1.0, np.abs(expected).max())


@pytest.mark.parametrize(
    ("window", "count"),
    [
        (window_of((8, 7), strides=2), 2),
        (window_of((9, 6), strides=(3, 1)), 3),
        (window_of((8, 8), (7, 7), 2), 2),
        (window_of((8, 8)), 0),
        (window_of((8, 8), (1, 3), 2), 0),
        (window_of((1, 8), strides=2), 2),
        (window_of((1, 8), (2, 3), 2, ((1, 0), (1, 1))), 0),
    ],
    ids=["2", "3", "7x7", "stride 1", "remainder without taps", "one row", "only padding"],
)
def test_rows_of_the_input_gradient(window: Window, count: int) -> None:
    shifted = gradient_as_convolution(window, jnp.zeros((*window.kernel, 2, 3)))[1]
    assert len(onednn._row_parts(window, shifted)) == count
    needs("onednn")
    arrays = operands(window, 2, 2, 3, jnp.float32)
    found = onednn.input_gradient(window, arrays["g"], arrays["kernel"])
    expected = plain_convolution.input_gradient(window, arrays["g"], arrays["kernel"])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_choice_follows_the_switch(monkeypatch: pytest.MonkeyPatch) -> None:
    volume, image = window_of((4, 4, 4)), window_of((4, 4))
    monkeypatch.delenv(cpu_convolution.SWITCH, raising=False)
    best = "sum2d" if onednn.unavailable() else "winograd"
    assert cpu_convolution.choose_lowering(volume, jnp.dtype("float32")) == best
    assert cpu_convolution.choose_lowering(volume, jnp.dtype("float16")) == "plain"
    monkeypatch.setenv(cpu_convolution.SWITCH, "sum2d")
    assert cpu_convolution.choose_lowering(volume, jnp.dtype("float32")) == "sum2d"
    assert cpu_convolution.choose_lowering(image, jnp.dtype("float32")) == "plain"
    monkeypatch.setenv(cpu_convolution.SWITCH, "plain")
    assert cpu_convolution.choose_lowering(volume, jnp.dtype("float32")) == "plain"
    monkeypatch.setenv(cpu_convolution.SWITCH, "mkldnn")
    with pytest.raises(InputError, match="expected one of auto, sum2d, plain, onednn"):
        cpu_convolution.choose_lowering(volume, jnp.dtype("float32"))


def test_untested_jaxlib_falls_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onednn.jaxlib.version, "__version__", "99.0")
    onednn.unsupported.cache_clear()
    try:
        assert "99.0" in onednn.unavailable()
        monkeypatch.delenv(cpu_convolution.SWITCH, raising=False)
        window = window_of((4, 4, 4))
        assert cpu_convolution.choose_lowering(window, jnp.dtype("float32")) == "sum2d"
        monkeypatch.setenv(cpu_convolution.SWITCH, "onednn")
        with pytest.raises(InputError, match="use auto"):
            cpu_convolution.choose_lowering(window, jnp.dtype("float32"))
    finally:
        onednn.unsupported.cache_clear()


def test_no_onednn_while_programs_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    before = jax.config.jax_compilation_cache_dir
    name = "jax_persistent_cache_min_compile_time_secs"
    threshold = jax.config.jax_persistent_cache_min_compile_time_secs
    try:
        jax.config.update("jax_compilation_cache_dir", before or "anywhere")
        jax.config.update(name, 0.0)
        assert onednn.unavailable()
    finally:
        jax.config.update(name, threshold)
        jax.config.update("jax_compilation_cache_dir", before)


def test_wrong_descriptions_are_refused() -> None:
    x, kernel = jnp.ones((1, 4, 4, 4, 2)), jnp.ones((3, 3, 3, 2, 2))
    call = functools.partial(onednn._call, strides=(1, 1, 1), padding=((1, 1),) * 3)
    for bad in (
        (x, kernel[..., :1, :]),
        (x.astype(jnp.float16), kernel.astype(jnp.float16)),
        (x, kernel.astype(jnp.bfloat16)),
        (x[:0], kernel),
    ):
        with pytest.raises(ValueError, match="not a convolution"):
            call(*bad)
    with pytest.raises(ValueError, match="no output"):
        onednn._call(x, kernel, strides=(1, 1, 1), padding=((0, -2), (1, 1), (1, 1)))


def test_accelerators_get_the_native_convolution() -> None:
    x, kernel = jnp.ones((1, 4, 4, 4, 2)), jnp.ones((3, 3, 3, 2, 3))
    step = jax.jit(jax.grad(lambda x, k: jnp.sum(convolve(x, k) ** 2), (0, 1)))
    text = step.trace(x, kernel).lower(lowering_platforms=("cuda",)).as_text()
    assert text.count("stablehlo.convolution") == 3
    assert onednn.TARGET not in text


def loss(function: Callable[..., jax.Array], x: jax.Array, kernel: jax.Array) -> jax.Array:
    return jnp.sum(jnp.sin(function(x, kernel)))


def reference(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return plain_convolution.forward(window_of(x.shape[1:-1]), x, kernel)


def assert_trees_close(found: Any, expected: Any) -> None:
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=2e-4, atol=2e-4), found, expected
    )


@pytest.mark.parametrize("lowering", FAST)
def test_transformations(lowering: str, monkeypatch: pytest.MonkeyPatch) -> None:
    needs(lowering)
    monkeypatch.setenv(cpu_convolution.SWITCH, lowering)
    jax.clear_caches()
    arrays = operands(window_of((5, 4, 3)), 3, 2, 3, jnp.float32)
    x, kernel = arrays["x"], arrays["kernel"]
    ours = functools.partial(loss, convolve)
    theirs = functools.partial(loss, reference)
    expected = jax.value_and_grad(theirs, (0, 1))(x, kernel)
    assert jax.eval_shape(convolve, x, kernel).shape == (3, 5, 4, 3, 3)
    assert_trees_close(jax.value_and_grad(ours, (0, 1))(x, kernel), expected)
    assert_trees_close(jax.jit(jax.value_and_grad(ours, (0, 1)))(x, kernel), expected)
    assert_trees_close(jax.jit(jax.grad(jax.checkpoint(ours), (0, 1)))(x, kernel), expected[1])

    def mapped(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return jax.vmap(lambda one: convolve(one[None], kernel)[0])(x)

    def scanned(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return jax.lax.map(lambda one: convolve(one[None], kernel)[0], x)

    for function in (mapped, scanned):
        gradient = jax.jit(jax.grad(functools.partial(loss, function), (0, 1)))
        assert_trees_close(gradient(x, kernel), expected[1])
    kernels = jnp.stack([kernel, 2 * kernel, -kernel])
    each = jax.jit(jax.vmap(jax.grad(lambda x, k: ours(x[None], k), (0, 1))))(x, kernels)
    for i in range(3):
        one = jax.grad(theirs, (0, 1))(x[i : i + 1], kernels[i])
        assert_trees_close((each[0][i : i + 1], each[1][i]), one)


def test_second_derivatives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cpu_convolution.SWITCH, "sum2d")
    arrays = operands(window_of((4, 3, 3)), 1, 2, 2, jnp.float32)

    def penalty(function: Callable[..., jax.Array], x: jax.Array, kernel: jax.Array) -> jax.Array:
        gradients = jax.grad(functools.partial(loss, function), (0, 1))(x, kernel)
        return sum(jnp.sum(g**2) for g in gradients) / 100

    found, expected = (
        jax.jit(jax.grad(functools.partial(penalty, function), (0, 1)))(
            arrays["x"], arrays["kernel"]
        )
        for function in (convolve, reference)
    )
    assert_trees_close(found, expected)


SHARDED = """
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import NamedSharding, PartitionSpec as P
from brainjax.layers import onednn
from brainjax.layers.convolution import convolve
assert jax.device_count() == 4 and onednn.unavailable()
x = jax.random.normal(jax.random.key(0), (4, 5, 4, 3, 2))
k = jax.random.normal(jax.random.key(1), (3, 3, 3, 2, 3))
step = jax.value_and_grad(lambda k, x: jnp.sum(jnp.sin(convolve(x, k))))
plain = lambda k, x: jnp.sum(jnp.sin(jax.lax.conv_general_dilated(
    x, k, (1, 1, 1), ((1, 1),) * 3, dimension_numbers=("NDHWC", "DHWIO", "NDHWC"))))
wanted = jax.value_and_grad(plain)(k, x)
mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
x = jax.device_put(x, NamedSharding(mesh, P("data")))
k = jax.device_put(k, NamedSharding(mesh, P()))
local = jax.shard_map(
    lambda k, x: (lambda l, g: (jax.lax.psum(l, "data"), g))(*step(k, x)),
    mesh=mesh, in_specs=(P(), P("data")), out_specs=P())
for f in (step, local):
    got = jax.jit(f)(k, x)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-4), got, wanted)
print("equal")
"""


def test_sharded_batch_on_four_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=4")
    monkeypatch.delenv(cpu_convolution.SWITCH, raising=False)
    done = subprocess.run(
        [sys.executable, "-c", SHARDED], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.stdout == "equal\n", done.stderr


@pytest.mark.parametrize(
    ("rank", "kernel", "strides"), [(3, 3, 1), (3, 3, 2), (2, 3, 2), (3, 1, 2)]
)
def test_layer_equals_torch(rank: int, kernel: int, strides: int, rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    x = rng.standard_normal((2, *(6, 7, 8)[:rank], 3)).astype(np.float32)
    layer = Conv(4, kernel, strides)
    variables = layer.init(jax.random.key(0), x)
    assert set(variables["params"]) == {"kernel", "bias"}
    params = {"kernel": variables["params"]["kernel"], "bias": jnp.arange(4.0)}
    found = layer.apply({"params": params}, x)
    peer = getattr(torch.nn, f"Conv{rank}d")(3, 4, kernel, strides, padding=kernel // 2)
    with torch.no_grad():
        weights = jnp.moveaxis(params["kernel"], (-1, -2), (0, 1))
        peer.weight.copy_(torch.from_numpy(np.array(weights)))
        peer.bias.copy_(torch.arange(4.0))
        expected = peer(torch.from_numpy(np.moveaxis(x, -1, 1).copy())).numpy()
    np.testing.assert_allclose(found, np.moveaxis(expected, 1, -1), rtol=1e-5, atol=1e-5)


def test_layer_computes_in_the_asked_type() -> None:
    x = jnp.ones((1, 4, 4, 4, 2))
    layer = Conv(3, 3, dtype=jnp.bfloat16)
    variables = layer.init(jax.random.key(0), x)
    assert variables["params"]["kernel"].dtype == jnp.float32
    assert layer.apply(variables, x).dtype == jnp.bfloat16


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        convolve(jnp.ones((1, 4, 4, 4, 2)), jnp.ones((3, 3, 3, 3, 2)))
    with pytest.raises(ValueError, match="bfloat16"):
        convolve(jnp.ones((1, 4, 4, 2)), jnp.ones((3, 3, 2, 2), jnp.bfloat16))
    with pytest.raises(ValueError, match="one number or 2"):
        convolve(jnp.ones((1, 4, 4, 2)), jnp.ones((3, 3, 2, 2)), strides=(1, 1, 1))


def test_input_gradient_kernel_holds_each_tap_once() -> None:
    kernel = jnp.arange(1.0, 28.0).reshape(3, 3, 3, 1, 1)
    rearranged, shifted = gradient_as_convolution(window_of((8, 8, 8), strides=2), kernel)
    assert rearranged.shape == (2, 2, 2, 1, 8)
    assert sorted(rearranged[rearranged > 0].tolist()) == list(range(1, 28))
    assert shifted.padding == ((0, 1),) * 3


def test_depth_to_space_interleaves() -> None:
    y = jnp.arange(2 * 8.0).reshape(1, 1, 1, 2, 8)
    found = depth_to_space(y, (2, 2, 2))
    assert found.shape == (1, 2, 2, 4, 1)
    assert found[0, 1, 0, :, 0].tolist() == [4.0, 5.0, 12.0, 13.0]
