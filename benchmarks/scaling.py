"""What the CGA U-Net costs as volumes, batches, classes, micro-batches and devices grow.

    python -m benchmarks.scaling [--what size|batch|classes|checkpoint|devices|model ...]
        [--json FILE] [--sizes 32 48 64 96] [--batches 1 2 4] [--classes 2 4 ... 128]
        [--devices 1 2] [--side 48] [--base-width 16] [--rounds 3]
    python -m benchmarks.scaling --what model --links tpu-v5e [--measured SECONDS GIB]
        [--accelerators 8 32 128 512 1024] [--global-batch 64] [--split 2]

Prediction and training step are those of ``configs/cga.py:released``, random weights, f32
on CPUs and bfloat16 elsewhere. Temporary bytes are the compiler's, see
``brainjax.complexity``; MACs are counted in the traced program. ``--what`` picks parts.
``model`` predicts what many accelerators do; a step of one is measured here, or given.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks._scaling_devices import measure as measure_devices
from benchmarks._scaling_devices import measure_in_child
from benchmarks._scaling_model import LINKS, assumptions, measure_one, tables
from benchmarks._scaling_network import Setting, measure, median_seconds
from brainjax import parallel
from brainjax.complexity import costs_of, count_macs
from brainjax.files import write_json
from brainjax.layers import (
    SupervisedAttention,
    inter_class_distance,
    intra_class_update,
    masked_average_pool,
)

WIDTH = 128
"""Channels of the features that the supervised attention updates."""
RATE = 8
"""How many times smaller they are than the volume."""
COARSEST = 8
"""Voxels that the network's coarsest features have for one plane: a part holds at least that."""

Row = dict[str, Any]

NETWORK_COLUMNS = (
    ("prediction, s", "inference_s", 1.0, ".3f"),
    ("temporary, MiB", "inference_bytes", 2**-20, ".1f"),
    ("GMAC", "inference_macs", 1e-9, ".2f"),
    ("training step, s", "step_s", 1.0, ".3f"),
    ("temporary, MiB", "step_bytes", 2**-20, ".1f"),
    ("GMAC", "step_macs", 1e-9, ".2f"),
)
CLASS_COLUMNS = (
    ("module, ms", "module_s", 1e3, ".2f"),
    ("MiB", "module_bytes", 2**-20, ".2f"),
    ("GMAC", "module_macs", 1e-9, ".3f"),
    ("with gradients, ms", "module_gradient_s", 1e3, ".2f"),
    ("MiB", "module_gradient_bytes", 2**-20, ".2f"),
    ("update alone, ms", "update_s", 1e3, ".2f"),
    ("MiB", "update_bytes", 2**-20, ".2f"),
    ("with gradients, ms", "update_gradient_s", 1e3, ".2f"),
    ("MiB", "update_gradient_bytes", 2**-20, ".2f"),
)
DEVICE_COLUMNS = (
    ("volumes a step", "batch", 1.0, ".0f"),
    ("training step, s", "step_s", 1.0, ".3f"),
    ("volumes per s", "volumes_per_s", 1.0, ".2f"),
    ("efficiency, %", "efficiency", 100.0, ".0f"),
    ("waiting for data, %", "waiting_share", 100.0, ".1f"),
    ("all-reduced, MiB", "all_reduce_bytes", 2**-20, ".2f"),
    ("its gradient, MiB", "gradient_bytes", 2**-20, ".2f"),
    ("other collectives", "other_collectives", 1.0, ".0f"),
)
MODEL_COLUMNS = (
    ("volumes a step", "volumes", 1.0, ".0f"),
    ("devices a volume", "parts", 1.0, ".0f"),
    ("computation, ms", "compute_s", 1e3, ".2f"),
    ("communication, ms", "communication_s", 1e3, ".2f"),
    ("step without overlap, ms", "step_s", 1e3, ".2f"),
    ("with, ms", "overlapped_step_s", 1e3, ".2f"),
    ("efficiency without overlap, %", "efficiency", 100.0, ".1f"),
    ("with, %", "overlapped_efficiency", 100.0, ".1f"),
    ("exchanged by a device, MiB", "exchanged_bytes", 2**-20, ".1f"),
    ("memory of a device, GiB", "memory_bytes", 2**-30, ".2f"),
)
REMARKS = {
    "model": f"What is assumed:\n\n{assumptions()}",
    "classes": (
        "Bytes are temporary and results together, of one volume. The module is the supervised "
        "attention; the update alone pools K prototypes, writes them back and takes their "
        "distance, from a map that is there."
    ),
    "checkpoint": (
        "Checkpointing works out again what is inside residual blocks, whose products count "
        "twice. Temporary memory includes what the optimiser needs after the gradient, a few "
        "vectors of all parameters: with small volumes that is the larger part."
    ),
    "devices": (
        "Each device has as many volumes. Efficiency is volumes per second over those of one "
        "device, divided by the devices; a CPU's are made up and share its cores, so there it "
        "is not divided, and only says what splitting costs. All-reduced bytes are read from "
        "the compiled program: the gradient, the metrics and, with batch norm, the moments."
    ),
}


def sizes(options: argparse.Namespace) -> Iterable[Row]:
    """One volume of growing size."""
    for side in options.sizes:
        setting = Setting(side=side, base_width=options.base_width)
        yield {"case": f"{side}^3"} | measure(setting, rounds=options.rounds)


def batches(options: argparse.Namespace) -> Iterable[Row]:
    """Volumes of one size, more at a time."""
    for batch in options.batches:
        setting = Setting(side=options.side, batch=batch, base_width=options.base_width)
        yield {"case": f"{batch} x {options.side}^3"} | measure(setting, rounds=options.rounds)


def checkpoints(options: argparse.Namespace) -> Iterable[Row]:
    """A training step of the largest batch with less and less memory."""
    batch = max(options.batches)
    for accumulate in (number for number in (1, 2, 4) if batch % number == 0):
        for checkpoint in (False, True):
            setting = Setting(
                side=options.side,
                batch=batch,
                base_width=options.base_width,
                checkpoint=checkpoint,
                accumulate=accumulate,
            )
            name = f"{batch} in {accumulate} micro-batches"
            name += ", checkpointed" if checkpoint else ""
            yield {"case": name} | measure(setting, rounds=options.rounds, inference=False)


def classes(options: argparse.Namespace) -> Iterable[Row]:
    """The supervised attention module, alone, with more and more classes."""
    side = options.attention_side
    image = jax.random.normal(jax.random.key(0), (1, *(side,) * 3, 4))
    features = jax.random.normal(jax.random.key(1), (1, *(side // RATE,) * 3, WIDTH))
    for number in options.classes:
        module = SupervisedAttention(num_classes=number, rate=RATE, mask="soft")
        variables = jax.jit(module.init)(jax.random.key(2), image, features)
        mask = jax.nn.softmax(
            jax.random.normal(jax.random.key(3), (*features.shape[:-1], number)), axis=-1
        )
        row: Row = {"case": f"K = {number}"}
        for name, function, arguments in (
            ("module", _with_distance(module), (variables, image, features)),
            ("update", _update, (features, mask)),
        ):
            row |= _costs(name, function, arguments, options.rounds)
            gradient = jax.grad(
                lambda *values, of=function: sum(jnp.sum(leaf**2) for leaf in of(*values)),
                argnums=tuple(range(len(arguments))),
            )
            row |= _costs(f"{name}_gradient", gradient, arguments, options.rounds)
        yield row


def _with_distance(module: SupervisedAttention) -> Callable[..., tuple[jax.Array, jax.Array]]:
    def run(variables: Any, image: jax.Array, features: jax.Array) -> tuple[jax.Array, jax.Array]:
        updated, _, prototypes = module.apply(variables, image, features)
        return updated, inter_class_distance(prototypes)

    return run


def _update(features: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
    prototypes = masked_average_pool(features, mask)
    return features + intra_class_update(prototypes, mask), inter_class_distance(prototypes)


def _costs(name: str, function: Callable[..., Any], arguments: Any, rounds: int) -> Row:
    compiled = jax.jit(function).lower(*arguments).compile()
    memory, temporary = compiled.memory_analysis(), costs_of(compiled).temporary_bytes
    known = temporary is not None and memory is not None
    return {
        f"{name}_s": median_seconds(lambda: compiled(*arguments), rounds),
        f"{name}_bytes": temporary + memory.output_size_in_bytes if known else None,
        f"{name}_macs": count_macs(function, *arguments),
    }


def devices(options: argparse.Namespace) -> Iterable[Row]:
    """As many volumes for each device, more and more devices."""
    on_cpu = jax.default_backend() == "cpu"
    single = None
    for number in options.devices:
        if not on_cpu and number > jax.device_count():
            print(f"there are only {jax.device_count()} devices here", file=sys.stderr)
            continue
        setting = Setting(side=options.side, batch=number, base_width=options.base_width)
        found = (measure_in_child if on_cpu else measure_devices)(
            setting, number, rounds=options.rounds
        )
        single = found["volumes_per_s"] if number == 1 else single
        ideal = None if single is None else single * (1 if on_cpu else number)
        found["efficiency"] = None if ideal is None else found["volumes_per_s"] / ideal
        yield {"case": f"{number} device" + ("s" if number > 1 else "")} | found


def model(options: argparse.Namespace) -> Iterable[Row]:
    """Predictions for many accelerators; tells first what they start from."""
    known, dtype = None, ""
    if options.measured:
        known, dtype = (options.measured[0], options.measured[1] * 2**30), "bfloat16"
    setting = Setting(side=options.side, base_width=options.base_width, dtype=dtype)
    one = measure_one(setting, rounds=options.rounds, known=known)
    links = LINKS[options.links]
    mib = {name: size / 2**20 for name, size in one.sizes.items()}
    print(
        f"\nOne device: a step of {one.batch} x {options.side}^3 takes {one.step_s:.3f} s "
        f"({'given' if known else 'measured here'}). MiB: {mib['gradient']:.1f} of gradient, "
        f"{mib['state']:.1f} of state, {mib['activations']:.1f} temporary, {mib['halo']:.1f} of "
        f"halo in {one.halo.convolutions} convolutions.\n"
        f"{options.links}: groups of {links.group}, within {links.inner_bytes_per_s / 1e9:g} GB/s "
        f"and {links.inner_latency_s * 1e6:g} us, between them {links.outer_bytes_per_s / 1e9:g} "
        f"GB/s a device and {links.outer_latency_s * 1e6:g} us."
    )
    return tables(
        one,
        links,
        options.accelerators,
        global_batch=options.global_batch,
        split=options.split,
        most_parts=options.side // COARSEST,
    )


PARTS = {
    "size": (sizes, NETWORK_COLUMNS),
    "batch": (batches, NETWORK_COLUMNS),
    "classes": (classes, CLASS_COLUMNS),
    "checkpoint": (checkpoints, NETWORK_COLUMNS[3:]),
    "devices": (devices, DEVICE_COLUMNS),
    "model": (model, MODEL_COLUMNS),
}


def print_table(
    what: str, rows: Iterable[Row], columns: Sequence[tuple[str, str, float, str]]
) -> list[Row]:
    """Prints rows as a table in Markdown, each as soon as it is there, and returns them."""
    print(f"\n| {what} | " + " | ".join(title for title, *_ in columns) + " |")
    print("|---|" + "---:|" * len(columns), flush=True)
    found = []
    for row in rows:
        cells = (
            "-" if row[name] is None else format(row[name] * scale, form)
            for _, name, scale, form in columns
        )
        print(f"| {row['case']} | " + " | ".join(cells) + " |", flush=True)
        found.append(row)
    if what in REMARKS:
        print(f"\n{REMARKS[what]}", flush=True)
    return found


def main() -> None:
    """Prints a table for each part and, with ``--json``, writes the same numbers."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--what", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 48, 64, 96])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--classes", type=int, nargs="+", default=[2, 4, 8, 16, 32, 64, 128])
    parser.add_argument("--devices", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--side", type=int, default=48, help="of the volumes but for size")
    parser.add_argument("--attention-side", type=int, default=128, help="of that for classes")
    parser.add_argument("--base-width", type=int, default=16, help="channels at full resolution")
    parser.add_argument("--rounds", type=int, default=3, help="repetitions, the median counts")
    parser.add_argument("--links", choices=LINKS, default="h100-infiniband")
    parser.add_argument("--accelerators", type=int, nargs="+", default=[8, 32, 128, 512, 1024])
    parser.add_argument("--global-batch", type=int, default=64, help="for strong scaling")
    parser.add_argument("--split", type=int, default=2, help="devices a volume, spatial split")
    parser.add_argument(
        "--measured", type=float, nargs=2, metavar=("SECONDS", "GIB"),
        help="a step of one volume on the accelerator, in bfloat16, and its temporary memory",
    )  # fmt: skip
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    options = parser.parse_args()
    parallel.start()
    device = f"{jax.device_count()} x {jax.devices()[0].device_kind}"
    print(f"CGA U-Net of {options.base_width} channels on {device}")
    tables = {
        what: print_table(what, PARTS[what][0](options), PARTS[what][1]) for what in options.what
    }
    if options.json:
        write_json(options.json, {"device": device, **tables})


if __name__ == "__main__":
    main()
