"""Training over several devices for ``benchmarks.scaling``; each CPU count in its own process.

    python -m benchmarks._scaling_devices --devices N [--side 32] [--batch 2]
        [--base-width 16] [--rounds 5]

Prints one JSON object. JAX has to be told how many devices a CPU stands for before it
starts, so ``measure_in_child`` sets that and starts this.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
from jax.sharding import AxisType, Mesh

from benchmarks._scaling_model import bytes_of
from benchmarks._scaling_network import CLASSES, Setting, make_state, make_step
from brainjax import parallel
from brainjax.batches import training_batches
from brainjax.layers.cpu_convolution import SWITCH
from brainjax.records import prepare_records
from brainjax.scans import find_cohort, write_phantom_cohort

ROOT = Path(__file__).parent.parent
BITS = re.compile(r"\b(pred|[a-z]+(\d+)[a-z0-9]*)\[([\d,]*)\]")
ALL_REDUCE = re.compile(r"= (.*?) all-reduce(?:-start)?\(")
PERMUTE = re.compile(r"= (.*?) collective-permute\(")
MOVES = re.compile(r" (?:all-gather|all-to-all|collective-permute)(?:-start)?\(")


def all_reduce_bytes(program: str) -> int:
    """Bytes of all results of the all-reduces of a compiled program; a loop's body once.

    Args:
      program: text of the optimised HLO.

    >>> all_reduce_bytes("%sum = (f32[2,3]{1,0}, bf16[4]{0}) all-reduce(%a, %b), to_apply=%add")
    32
    """
    return _bytes_of_results(ALL_REDUCE.findall(program))


def permuted_bytes(program: str) -> int:
    """Bytes that the collective permutes of a compiled program bring to a device.

    >>> permuted_bytes("%halo = f32[1,8]{1,0} collective-permute(%a), channel_id=1")
    32
    """
    return _bytes_of_results(PERMUTE.findall(program))


def _bytes_of_results(found: list[str]) -> int:
    total = 0
    for results in found:
        for name, bits, sizes in BITS.findall(results):
            elements = 1
            for size in filter(None, sizes.split(",")):
                elements *= int(size)
            total += elements * (1 if name == "pred" else int(bits) // 8)
    return total


def count_moves(program: str) -> int:
    """How many other collectives a compiled program has: none, if only gradients are shared."""
    return len(MOVES.findall(program))


def data_mesh(devices: int) -> Mesh:
    """The first devices along an axis that the batch is split over."""
    return jax.make_mesh(
        (devices,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:devices]
    )


def compile_step(setting: Setting, mesh: Mesh, state: Any, batch: Any) -> jax.stages.Compiled:
    """The training step over the mesh, for arrays placed there or their shapes."""
    built = setting.build()
    step = jax.jit(
        make_step(built, built.make_model(CLASSES)),
        donate_argnums=0,
        out_shardings=parallel.replicated(mesh),
    )
    return step.lower(state, batch).compile(parallel.training_options())


def measure(setting: Setting, devices: int, *, rounds: int) -> dict[str, Any]:
    """Trains on made-up heads from their records, the batch split over the first devices.

    Args:
      setting: with the batch over all devices.
      devices: how many; the rest is idle.
      rounds: timed steps.
    """
    mesh = data_mesh(devices)
    built = setting.build()
    state = jax.device_put(make_state(built, built.make_model(CLASSES)), parallel.replicated(mesh))
    with tempfile.TemporaryDirectory() as folder:
        side = setting.side + 16
        write_phantom_cohort(Path(folder) / "scans", cases=2, shape=(side,) * 3, seed=0)
        records = prepare_records(find_cohort(Path(folder) / "scans"), Path(folder) / "records")
        with training_batches(records, [0, 1], built.batches) as batches:
            placed = parallel.place_batch(next(batches), mesh)
            compiled = compile_step(setting, mesh, state, placed)
            state, metrics = compiled(state, placed)
            jax.block_until_ready(metrics)
            waited, begun = batches.waited_seconds, time.perf_counter()
            for _ in range(rounds):
                state, metrics = compiled(state, parallel.place_batch(next(batches), mesh))
                jax.block_until_ready(metrics)
            seconds = time.perf_counter() - begun
            waited = batches.waited_seconds - waited
    program = compiled.as_text()
    return {
        "devices": devices,
        "batch": setting.batch,
        "step_s": seconds / rounds,
        "volumes_per_s": setting.batch * rounds / seconds,
        "waiting_share": waited / seconds,
        "gradient_bytes": bytes_of(state.params),
        "all_reduce_bytes": all_reduce_bytes(program),
        "other_collectives": count_moves(program),
    }


def measure_in_child(setting: Setting, devices: int, *, rounds: int) -> dict[str, Any]:
    """``measure`` in a process whose CPU stands for so many devices.

    One and several devices get the same convolutions, those that work on several.

    Raises:
      RuntimeError: the process failed; holds what it said.
    """
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
    command = [
        sys.executable, "-m", "benchmarks._scaling_devices", f"--devices={devices}",
        f"--side={setting.side}", f"--batch={setting.batch}", f"--base-width={setting.base_width}",
        f"--rounds={rounds}",
    ]  # fmt: skip
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={SWITCH: "sum2d", **os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags.strip()},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Measures and prints, as the child of ``measure_in_child``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--devices", type=int, required=True)
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--base-width", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    parallel.start()
    setting = Setting(side=options.side, batch=options.batch, base_width=options.base_width)
    print(json.dumps(measure(setting, options.devices, rounds=options.rounds)))


if __name__ == "__main__":
    main()
