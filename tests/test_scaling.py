"""What ``benchmarks.scaling`` reads from compiled programs, and what its model predicts."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from benchmarks import scaling
from benchmarks._scaling_devices import (
    all_reduce_bytes,
    count_moves,
    permuted_bytes,
)
from benchmarks._scaling_model import (
    LINKS,
    STRATEGIES,
    Halo,
    Links,
    Measured,
    all_reduce_seconds,
    halo_of,
    predict,
    tables,
)

PROGRAM = """
  %all-reduce.1 = f32[4,3]{1,0} all-reduce(%a), channel_id=1, to_apply=%add
  %all-reduce.2 = (f32[], bf16[8]{0}, /*index=2*/pred[2]{0}) all-reduce(%b, %c, %d), to_apply=%add
  %start = f8e4m3fn[10]{0} all-reduce-start(%e), to_apply=%add
  %done = f8e4m3fn[10]{0} all-reduce-done(%start)
  %gte = f32[] get-tuple-element(%all-reduce.2), index=0
  %gathered = f32[6]{0} all-gather(%f), dimensions={0}
  %passed = f32[6]{0} collective-permute-start(%f)
"""


def test_bytes_of_all_reduces_and_other_collectives_are_counted() -> None:
    assert all_reduce_bytes(PROGRAM) == 4 * 12 + (4 + 2 * 8 + 2) + 10
    assert count_moves(PROGRAM) == 2
    assert all_reduce_bytes("") == count_moves("") == 0
    assert permuted_bytes("%a = f32[6]{0} collective-permute(%b)\n" + PROGRAM) == 24


ROUND = Links(
    group=4,
    inner_bytes_per_s=1000.0,
    inner_latency_s=0.001,
    outer_bytes_per_s=100.0,
    outer_latency_s=0.01,
)
ONE = Measured(
    step_s=3.0,
    batch=2,
    gradient_bytes=800,
    state_bytes=2400,
    activation_bytes=5000,
    halo=Halo(bytes=300, forward_bytes=100, convolutions=2),
)


def test_all_reduces_take_what_the_formulas_say() -> None:
    assert all_reduce_seconds(800, 1, ROUND) == 0.0
    ring = 2 * 3 / 4 * 0.8 + 2 * 3 * 0.001
    tree = 2 * 0.8 + 2 * 2 * 0.001
    assert all_reduce_seconds(800, 4, ROUND) == pytest.approx(min(ring, tree))
    between = 2 * 1 / 2 * 200 / 100 + 2 * 0.01  # a quarter of the bytes, two groups
    assert all_reduce_seconds(800, 8, ROUND) == pytest.approx(ring + between)
    within = 2 * 3 / 4 * 0.004 + 2 * 3 * 0.001
    tree = 2 * 1 / 100 + 2 * 10 * 0.01  # one byte, 1024 groups: latency decides
    assert all_reduce_seconds(4, 4 * 1024, ROUND) == pytest.approx(within + tree)


def test_a_step_on_several_devices_by_hand() -> None:
    row = predict(ONE, ROUND, devices=4, volumes=8, strategy="data parallel")
    assert row is not None
    reduce_s = all_reduce_seconds(800, 4, ROUND)
    assert row["compute_s"] == 3.0
    assert row["step_s"] == pytest.approx(3.0 + reduce_s)
    assert row["overlapped_step_s"] == 3.0  # it fits beside the backward pass
    assert row["efficiency"] == pytest.approx(3.0 / (3.0 + reduce_s))
    assert row["exchanged_bytes"] == 2 * 3 / 4 * 800
    assert row["memory_bytes"] == 2400 + 5000
    sharded = predict(ONE, ROUND, devices=4, volumes=8, strategy="fully sharded")
    assert sharded is not None
    assert sharded["communication_s"] == pytest.approx(1.5 * reduce_s)
    assert sharded["memory_bytes"] == 600 + 5000
    split = predict(ONE, ROUND, devices=4, volumes=2, strategy="spatial split", split=2)
    assert split is not None
    assert split["compute_s"] == 3.0 / 2 * 2 / 4
    halos = 0.3 + 2 * (3 + 4 * 1) * 0.001  # one volume a pair of devices
    assert split["communication_s"] == pytest.approx(reduce_s + halos)
    assert split["overlapped_step_s"] == pytest.approx(0.75 + reduce_s + halos - min(reduce_s, 0.5))
    assert predict(ONE, ROUND, devices=4, volumes=2, strategy="data parallel") is None


def test_scaling_of_all_presets_goes_down_with_devices() -> None:
    accelerators = (8, 64, 512, 1024)
    assert {"h100-infiniband", "tpu-v5e", "tpu-v5p", "ethernet"} <= set(LINKS)
    one = dataclasses.replace(ONE, gradient_bytes=20_000_000, step_s=0.3)
    for links in LINKS.values():
        rows = list(tables(one, links, accelerators, global_batch=64, split=2, most_parts=16))
        assert len(rows) == 2 * len(STRATEGIES) * len(accelerators)
        for first in range(0, len(rows), len(accelerators)):
            shares = [row["efficiency"] for row in rows[first : first + len(accelerators)]]
            there = [share for share in shares if share is not None]
            assert there == sorted(there, reverse=True)
            assert all(0 < share < 1 for share in there)
        by_name = {row["case"]: row for row in rows}
        assert by_name["strong, data parallel, 512"]["step_s"] is None
        assert by_name["strong, spatial split, 1024"]["parts"] == 16
        assert by_name["weak, data parallel, 1024"]["volumes"] == 2048
        for row in rows:
            if row["step_s"] is not None:
                assert row["overlapped_step_s"] <= row["step_s"]


def test_the_halo_of_convolutions_by_hand() -> None:
    def network(x: jax.Array, kernel: jax.Array) -> jax.Array:
        dimensions = ("NDHWC", "DHWIO", "NDHWC")
        y = lax.conv_general_dilated(x, kernel, (1, 1, 1), "SAME", dimension_numbers=dimensions)
        return lax.conv_general_dilated(y, kernel, (2, 2, 2), "SAME", dimension_numbers=dimensions)

    x = jax.ShapeDtypeStruct((1, 8, 6, 4, 5), jnp.bfloat16)
    kernel = jax.ShapeDtypeStruct((3, 3, 3, 5, 5), jnp.bfloat16)
    plane, halved = 6 * 4 * 5 * 2, 3 * 2 * 5 * 2  # bytes
    assert halo_of(network, x, kernel) == Halo(
        bytes=(2 * 2 + 2) * plane + 2 * plane + halved,
        forward_bytes=2 * plane + plane,
        convolutions=2,
    )


STEP = """
import jax, jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec
from benchmarks._scaling_devices import all_reduce_bytes, compile_step, count_moves, data_mesh
from benchmarks._scaling_model import bytes_of
from benchmarks._scaling_network import CLASSES, Setting, make_state
from brainjax import parallel

parallel.start()  # for the compilation cache
mesh = data_mesh(jax.device_count())
setting = Setting(side=16, batch=jax.device_count(), base_width=8)
built = setting.build()
state = jax.eval_shape(lambda: make_state(built, built.make_model(CLASSES)))
volumes = setting.image.shape[:-1]
batch = {
    "image": jax.ShapeDtypeStruct((*volumes, 4), jnp.float16),
    "labels": jax.ShapeDtypeStruct(volumes, jnp.uint8),
}
state, batch = (
    jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=NamedSharding(mesh, spec)), tree
    )
    for tree, spec in ((state, PartitionSpec()), (batch, PartitionSpec("data")))
)
program = compile_step(setting, mesh, state, batch).as_text()
print(all_reduce_bytes(program), bytes_of(state.params), count_moves(program))
"""
FORWARD = """
import jax, jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from benchmarks._scaling_devices import permuted_bytes
from benchmarks._scaling_model import halo_of
from benchmarks._scaling_network import CLASSES, Setting, make_state
from brainjax import parallel

parallel.start()  # for the compilation cache
mesh = jax.make_mesh((jax.device_count(),), ("space",), axis_types=(AxisType.Auto,))
setting = Setting(side=32, base_width=8)
built = setting.build()
model = built.make_model(CLASSES)
variables = jax.eval_shape(lambda: make_state(built, model)).variables()
shardings = NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec(None, "space"))
run = jax.jit(lambda *values: model.apply(*values).logits, in_shardings=shardings)
program = run.lower(variables, setting.image).compile().as_text()
print(permuted_bytes(program), halo_of(model.apply, variables, setting.image).forward_bytes)
"""


def compile_elsewhere(code: str, devices: int) -> list[int]:
    """What a program prints in a process whose CPU stands for so many devices."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={
            **os.environ,
            "BRAINJAX_CPU_CONV": "plain",
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": flags,
        },
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent.parent,
    )
    assert done.returncode == 0, done.stderr
    return [int(word) for word in done.stdout.split()]


@pytest.mark.parametrize(
    "devices",
    [pytest.param(2, marks=pytest.mark.slow), 4, pytest.param(8, marks=pytest.mark.slow)],
)
def test_the_compiled_step_all_reduces_what_is_predicted(devices: int) -> None:
    compiled, predicted, others = compile_elsewhere(STEP, devices)
    assert others == 0
    # What is multiplied before its use is reduced as one: a merge's kernel of the up-sampled
    # features with the up-sampling's, and their biases, at the decoder's three widths.
    joined = 4 * sum(width * (width + 1) for width in (8, 16, 32))
    assert compiled == pytest.approx(predicted - joined, rel=0.001)
    assert compiled > predicted - joined  # a few scalars and biases


def test_the_compiled_network_exchanges_the_halo_that_is_predicted() -> None:
    compiled, predicted = compile_elsewhere(FORWARD, 4)
    assert compiled == predicted > 0


def test_the_model_is_printed_with_its_assumptions_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "model.json"
    arguments = ["--what", "model", "--side=32", "--measured", "0.3", "2", f"--json={file}"]
    monkeypatch.setattr(sys, "argv", ["scaling", *arguments, "--accelerators", "8", "1024"])
    monkeypatch.setattr(scaling.parallel, "start", lambda: None)
    scaling.main()
    printed = capsys.readouterr().out
    assert "takes 0.300 s (given)" in printed
    assert "A ring all-reduce of S bytes" in printed
    assert "NDR InfiniBand, 400 Gb/s" in printed
    rows = json.loads(file.read_text())["model"]
    assert [row["devices"] for row in rows[:2]] == [8, 1024]
    assert rows[0]["compute_s"] == 0.3
