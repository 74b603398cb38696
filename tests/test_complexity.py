"""Counted costs against numbers worked out by hand and those that papers print."""

from __future__ import annotations

import functools
import itertools
import os
import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from benchmarks import complexity as benchmark
from benchmarks._complexity_rows import cases, module_case
from brainjax.complexity import compiled_costs, count_macs, count_parameters
from brainjax.files import read_json
from brainjax.layers import Conv, onednn
from brainjax.layers.cpu_convolution import SWITCH
from brainjax.models import CGAUNet, ResNet

CASES = {case.name: case for case in cases()}
SQUARE = jax.ShapeDtypeStruct((4, 4), jnp.float32)
PRODUCT = 4 * 4 * 4


def shape(*sizes: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(sizes, jnp.float32)


@functools.cache
def counted(name: str) -> benchmark.Row:
    return benchmark.count(CASES[name])


def square(x: jax.Array) -> jax.Array:
    return x @ x


def convolution(**options: Any) -> Callable[..., jax.Array]:
    defaults = {
        "window_strides": (1, 1),
        "padding": "SAME",
        "dimension_numbers": ("NHWC", "HWIO", "NHWC"),
    }
    return functools.partial(lax.conv_general_dilated, **(defaults | options))


@pytest.mark.parametrize(
    ("equation", "a", "b", "macs"),
    [
        ("ij,jk->ik", (2, 3), (3, 5), 30),
        ("bij,bjk->bik", (7, 2, 3), (7, 3, 5), 210),
        ("bij,bij->b", (7, 2, 3), (7, 2, 3), 42),
        ("i,j->ij", (2,), (5,), 10),
    ],
)
def test_matrix_products(equation, a, b, macs) -> None:
    assert count_macs(functools.partial(jnp.einsum, equation), shape(*a), shape(*b)) == macs


@pytest.mark.parametrize(
    ("options", "x", "kernel", "macs"),
    [
        ({}, (2, 8, 6, 3), (3, 3, 3, 5), 2 * 8 * 6 * 9 * 3 * 5),  # padded taps count
        ({"padding": "VALID"}, (1, 8, 6, 3), (3, 3, 3, 5), 6 * 4 * 9 * 3 * 5),
        ({"window_strides": (2, 2)}, (1, 8, 6, 3), (3, 3, 3, 5), 4 * 3 * 9 * 3 * 5),
        ({"rhs_dilation": (2, 2)}, (1, 8, 6, 3), (3, 3, 3, 5), 8 * 6 * 9 * 3 * 5),
        ({"feature_group_count": 4}, (1, 8, 6, 4), (3, 3, 1, 8), 8 * 6 * 9 * 1 * 8),
        ({"batch_group_count": 2}, (2, 8, 6, 3), (3, 3, 3, 4), 8 * 6 * 9 * 3 * 4),
    ],
)
def test_convolutions(options, x, kernel, macs) -> None:
    assert count_macs(convolution(**options), shape(*x), shape(*kernel)) == macs


@pytest.mark.parametrize(
    ("size", "strides", "padding"),
    [(3, 1, "SAME"), (3, 2, [(1, 1), (1, 1)]), (1, 2, "VALID"), (2, 2, "VALID")],
)
def test_each_gradient_of_a_convolution_costs_as_much_as_the_convolution(
    size, strides, padding
) -> None:
    run = convolution(window_strides=(strides,) * 2, padding=padding)
    x, kernel = shape(2, 8, 8, 3), shape(size, size, 3, 5)
    forward = count_macs(run, x, kernel)
    for argument in (0, 1):
        gradient = jax.grad(lambda *pair: jnp.sum(run(*pair)), argnums=argument)
        assert count_macs(gradient, x, kernel) == forward  # its own forward is dead


@pytest.mark.parametrize(("size", "strides"), [(2, 2), (3, 2), (4, 2)])
def test_transposed_convolution_counts_no_inserted_zeros(size, strides) -> None:
    run = functools.partial(lax.conv_transpose, strides=(strides,) * 2, padding="SAME")
    x, kernel = shape(1, 8, 8, 3), shape(size, size, 3, 5)
    macs = 8 * 8 * size * size * 3 * 5
    assert count_macs(run, x, kernel) == macs
    both = jax.grad(lambda *pair: jnp.sum(run(*pair) ** 2), argnums=(0, 1))
    assert count_macs(both, x, kernel) == 3 * macs


def test_loops() -> None:
    def scan(x: jax.Array) -> jax.Array:
        return lax.scan(lambda carry, _: (square(carry), None), x, length=5)[0]

    def nested(x: jax.Array) -> jax.Array:
        return lax.map(scan, jnp.stack([x, x]))

    def unknown(x: jax.Array) -> jax.Array:
        return lax.while_loop(lambda x: jnp.sum(x) < 9, square, x)

    assert count_macs(scan, SQUARE) == 5 * PRODUCT
    assert count_macs(nested, SQUARE) == 10 * PRODUCT
    assert count_macs(lambda x: lax.fori_loop(0, 3, lambda _, y: y @ y, x), SQUARE) == 3 * PRODUCT
    assert count_macs(jax.grad(lambda x: jnp.sum(scan(x))), SQUARE) == (5 + 10) * PRODUCT
    assert count_macs(unknown, SQUARE, while_trips=4) == 4 * PRODUCT
    with pytest.raises(ValueError, match="while_trips"):
        count_macs(unknown, SQUARE)
    assert count_macs(lambda x: lax.while_loop(lambda x: x[0, 0] < 9, jnp.sin, x), SQUARE) == 0


def test_branches() -> None:
    branches = (jnp.sin, lambda x: square(square(x)), square)
    assert count_macs(lambda x: lax.switch(x[0, 0].astype(int), branches, x), SQUARE) == 2 * PRODUCT

    def by_platform(x: jax.Array) -> jax.Array:
        return lax.platform_dependent(x, cpu=branches[1], default=square)

    assert count_macs(by_platform, SQUARE) == PRODUCT
    assert count_macs(jax.grad(lambda x: jnp.sum(by_platform(x))), SQUARE) == 2 * PRODUCT
    neither = functools.partial(lax.platform_dependent, tpu=square, cuda=branches[1])
    assert count_macs(lambda x: neither(x), SQUARE) == 2 * PRODUCT


def test_calls() -> None:
    own = jax.custom_vjp(square)
    own.defvjp(lambda x: (x @ x, x), lambda x, g: (g @ x,))
    other = jax.custom_jvp(square)
    other.defjvp(lambda primals, tangents: (square(*primals), tangents[0] @ primals[0]))
    batched = jax.custom_batching.custom_vmap(square)
    batched.def_vmap(lambda _, batch, x: (jax.vmap(square)(x), *batch))
    for call in (own, other, batched, jax.jit(square), jax.checkpoint(square)):
        assert count_macs(lambda x, call=call: call(x), SQUARE) == PRODUCT
    assert count_macs(jax.grad(lambda x: jnp.sum(own(x) ** 2)), SQUARE) == 2 * PRODUCT
    assert count_macs(jax.vmap(own), shape(6, 4, 4)) == 6 * PRODUCT

    def twice(x: jax.Array) -> jax.Array:
        return square(square(x))

    kept = count_macs(jax.grad(lambda x: jnp.sum(twice(x))), SQUARE)
    again = count_macs(jax.grad(lambda x: jnp.sum(jax.checkpoint(twice)(x))), SQUARE)
    assert (kept, again) == (5 * PRODUCT, 5 * PRODUCT)  # in the gradient only x @ x is needed
    value_too = jax.value_and_grad(lambda x: jnp.sum(jax.checkpoint(twice)(x)))
    assert count_macs(value_too, SQUARE) == 7 * PRODUCT


def test_shard_map_counts_every_device() -> None:
    mesh = jax.sharding.AbstractMesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = jax.sharding.PartitionSpec("data")
    run = jax.shard_map(jax.vmap(square), mesh=mesh, in_specs=spec, out_specs=spec)
    assert count_macs(run, shape(6, 4, 4)) == 6 * PRODUCT


def test_what_nothing_depends_on_is_left_out() -> None:
    def wasteful(x: jax.Array) -> jax.Array:
        unused, used = jax.jit(lambda x: (square(x), x + 1))(x)
        return used * unused.shape[0]

    assert count_macs(wasteful, SQUARE) == 0


def test_what_cannot_be_seen_is_an_error() -> None:
    call = functools.partial(jax.pure_callback, lambda x: x, SQUARE)
    with pytest.raises(ValueError, match="pure_callback"):
        count_macs(lambda x: call(x), SQUARE)


def test_parameters() -> None:
    tree = {"kernel": shape(3, 3, 2), "bias": jnp.zeros(2), "scalar": jnp.zeros(())}
    assert count_parameters(tree) == 18 + 2 + 1


def test_compiled_costs() -> None:
    costs = compiled_costs(jax.jit(lambda x: square(jnp.sin(square(x)))), shape(32, 32))
    assert costs.flops is not None
    assert 4 * 32**3 <= costs.flops <= 5 * 32**3
    assert costs.bytes_accessed is not None
    assert costs.bytes_accessed > 4 * 32**2
    assert costs.temporary_bytes is not None
    assert costs.temporary_bytes >= 0


@pytest.mark.parametrize("choice", ["auto", "sum2d", "onednn"])
def test_the_fast_convolutions_do_not_change_the_count(choice, monkeypatch) -> None:
    if choice == "onednn" and onednn.unavailable():
        pytest.skip(onednn.unavailable())
    networks = {
        CGAUNet(base_width=8, checkpoint_blocks=True): shape(1, 16, 16, 16, 4),
        ResNet(stage_sizes=(1, 1), width=8, block="bottleneck"): shape(2, 32, 32, 3),
    }

    def counts() -> list[int]:
        found = []
        for network, image in networks.items():
            variables = jax.eval_shape(network.init, jax.random.key(0), image)

            def loss(variables: Any, image: jax.Array, network=network) -> jax.Array:
                output: Any = network.apply(variables, image)
                return jnp.sum(output.logits**2)

            found.append(count_macs(loss, variables, image))
            found.append(count_macs(jax.value_and_grad(loss), variables, image))
        return found

    monkeypatch.setenv(SWITCH, "plain")
    plain = counts()
    monkeypatch.setenv(SWITCH, choice)
    assert counts() == plain
    assert os.environ[SWITCH] == choice


def test_training_a_network_costs_three_times_its_forward_pass() -> None:
    conv = Conv(5, 3, use_bias=False)
    x = shape(1, 8, 8, 8, 4)
    variables = jax.eval_shape(conv.init, jax.random.key(0), x)

    def loss(variables: Any, x: jax.Array) -> jax.Array:
        output: Any = conv.apply(variables, x)
        return jnp.sum(output**2)

    forward = 8**3 * 27 * 4 * 5
    assert count_macs(jax.value_and_grad(loss, argnums=(0, 1)), variables, x) == 3 * forward
    assert count_macs(jax.value_and_grad(loss), variables, x) == 2 * forward


@pytest.mark.parametrize(
    ("name", "parameters", "macs", "tolerance"),
    [
        ("sam_rate8", 10_404, 0.6866e9, 0.02),
        ("sam_rate4", 34_560 + 68, 1.925e9, 0.06),
        ("sam_rate2", 10_368 + 36, 2.718e9, 0.06),
        ("self_attention_rate8", 49_152, 4.496e9, 0.02),
        ("context_prior_rate8", 32_768, 2.282e9, 0.02),
    ],
)
def test_table_3(name, parameters, macs, tolerance) -> None:
    row = counted(name)
    assert row.parameters == parameters
    assert row.published_macs is not None
    assert row.macs == pytest.approx(macs, rel=3e-4)
    assert row.macs == pytest.approx(row.published_macs, rel=tolerance)
    assert row.ratio == row.macs / row.published_macs
    assert row.macs_whole >= row.macs


def test_supervised_attention_is_cheaper_than_self_attention() -> None:
    ours, theirs = counted("sam_rate8"), counted("self_attention_rate8")
    assert theirs.macs >= 6.5 * ours.macs
    assert theirs.macs >= 6.5 * ours.macs_whole
    assert theirs.parameters >= 4.7 * ours.parameters


@pytest.mark.parametrize(
    ("kind", "power"), [("self_attention", 2), ("context_prior", 2), ("sam", 1)]
)
def test_growth_with_the_voxels_attended(kind, power) -> None:
    small, large = (
        count_macs(case.module.apply, case.variables, *case.inputs)
        for case in (module_case(kind, 8, size=256), module_case(kind, 8, size=512))
    )
    assert large / small == pytest.approx(8**power, rel=0.03)


def test_cga_unet() -> None:
    row = counted("cga_unet")
    assert row.parameters == 4_768_616
    assert row.macs == pytest.approx(151.547e9, rel=1e-5)
    assert row.macs_whole - row.macs == 2 * 16**3 * 4 * 128  # averaging and writing back
    assert row.macs == pytest.approx(row.published_macs, rel=0.003)
    assert counted("unet").parameters == 4_768_616 - 10_404


def by_hand(levels: list[tuple[int, int]]) -> float:
    """GMACs of ``(multiplications for a voxel of a grid, times the grid is halved)``."""
    return sum(work * (128 // 2**halvings) ** 3 for work, halvings in levels) / 1e9


def unet_levels(widths: tuple[int, ...], first: int) -> list[tuple[int, int]]:
    """Two 3x3x3 convolutions a level down and up, 2x2x2 transposed ones between, and a head."""
    down = [(27 * (a * b + b * b), i) for i, (a, b) in enumerate(zip((first, *widths), widths))]  # noqa: B905
    up = [
        (below * width + 27 * (2 * width * width + width * width), i)
        for i, (width, below) in enumerate(itertools.pairwise(widths))
    ]
    return [*down, *up, (widths[0] * 4, 0)]


COMPARATORS = {  # parameters, and MACs at 4x128^3
    "unet3d": (
        19_075_556,
        by_hand(
            [
                *((27 * (a * w + w * 2 * w), i) for i, (a, w) in enumerate(
                    ((4, 32), (64, 64), (128, 128), (256, 256)))),
                *((4 * w * 4 * w + 27 * (6 * w * 2 * w + 4 * w * w), i) for i, w in enumerate(
                    (32, 64, 128))),
                (64 * 4, 0),
            ]
        ),
    ),
    "vnet": (
        61_996_700,
        by_hand(
            [
                (125 * 4 * 16, 0),
                *((8 * w // 2 * w + 125 * n * w * w, i) for i, (w, n) in enumerate(
                    ((32, 1), (64, 2), (128, 3), (256, 3)), 1)),
                *((b * w // 2 + 125 * n * w * w, i) for i, (b, w, n) in enumerate(
                    ((64, 32, 1), (128, 64, 1), (256, 128, 2), (256, 256, 3)))),
                (125 * 32 * 4 + 16, 0),
            ]
        ),
    ),
    "attention_unet": (6_215_447, 149.094),
    "kiunet3d": (2_794, 413.281),
    "nnunet_3d_fullres": (31_199_796, by_hand(unet_levels((32, 64, 128, 256, 320, 320), 4))),
    "resenc_unet": (102_353_972, 722.973),
}  # fmt: skip


@pytest.mark.parametrize("name", COMPARATORS)
def test_comparators(name) -> None:
    parameters, gmacs = COMPARATORS[name]
    case = CASES[name]
    assert count_parameters(case.variables["params"]) == parameters
    macs = count_macs(case.counted, case.variables, *case.inputs)
    assert macs / 1e9 == pytest.approx(gmacs, rel=1e-5)
    if case.published_parameters is not None:
        assert parameters == pytest.approx(case.published_parameters, rel=4e-4)
    if case.published_macs is not None:
        assert macs == pytest.approx(case.published_macs, rel=0.016)


@pytest.mark.parametrize(
    ("name", "parameters", "gmacs"),
    [
        ("resnet18", 11_689_512, 1.814),
        ("resnet34", 21_797_672, 3.664),
        ("resnet50", 25_557_032, 4.089),
        ("resnet50_stride_on_1x1", 25_557_032, 3.858),
        ("resnet101", 44_549_160, 7.801),
        ("resnet152", 60_192_808, 11.514),
        ("vgg16", 138_357_544, 15.470),
        ("densenet121", 7_978_856, 2.603),
        ("kaggle4_baseline", 46_596, 1.589888e-3),
    ],
)
def test_classifiers(name, parameters, gmacs) -> None:
    case = CASES[name]
    assert count_parameters(case.variables["params"]) == parameters
    macs = count_macs(case.module.apply, case.variables, *case.inputs)
    assert macs / 1e9 == pytest.approx(gmacs, rel=2e-4)


def test_the_benchmark_writes_its_rows(tmp_path, monkeypatch, capsys) -> None:
    rows, figure = tmp_path / "rows.json", tmp_path / "growth.png"
    monkeypatch.setattr(benchmark, "COUNTED_SIZES", (4, 8))
    arguments = ["--case=rate8", "--no-measure", "--markdown", f"--json={rows}", f"--plot={figure}"]
    monkeypatch.setattr(sys, "argv", ["complexity", *arguments])
    benchmark.main()
    printed = capsys.readouterr().out
    assert printed.count("\n| ") == 4  # rule and rows
    assert "ten times" in printed
    found = {row["name"]: row for row in read_json(rows)}
    assert set(found) == {"sam_rate8", "self_attention_rate8", "context_prior_rate8"}
    assert found["sam_rate8"]["published_parameters"] == 95_000
    assert found["sam_rate8"]["published_macs"] == 0.675e9
    assert found["sam_rate8"]["forward_s"] is None
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_the_benchmark_measures(monkeypatch) -> None:
    case = module_case("sam", 8, size=16)
    row = benchmark.measure(case, benchmark.count(case), rounds=1)
    found = (
        row.forward_s,
        row.forward_backward_s,
        row.forward_temporary_bytes,
        row.forward_backward_temporary_bytes,
    )
    assert all(number is not None and number > 0 for number in found)
