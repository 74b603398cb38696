"""Times single 3x3x3 convolutions: forward and both gradients, by lowering.

    python -m benchmarks.convolution [--json=FILE] [--peer=torch] [--rounds=N] [--case=SUBSTRING]

All variants of a row are run in turns in one process. A cell is the median time in
milliseconds; on a CPU the processor time of all threads follows, which other load on the
machine disturbs less. On a GPU, where a cell is the mean of ten calls in a row, the layers
are larger and bfloat16.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import argparse
import functools
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from brainjax.errors import require
from brainjax.files import write_json
from brainjax.layers import cpu_convolution, gpu_convolution, lowered_convolution, onednn
from brainjax.layers.window import Window
from brainjax.parallel import prediction_options, start

PASSES = ("forward", "input_gradient", "weight_gradient")
GPU_CALLS = 10  # in a row, so that starting them is hidden
WARM_ROUNDS = 4  # not counted: the first calls pay for pages that are used again


@dataclass(frozen=True, kw_only=True)
class Case:
    """One layer: batch, size of the cube or square, channels, stride, axes and type."""

    batch: int
    size: int
    cin: int
    cout: int
    stride: int = 1
    rank: int = 3
    dtype: str = "float32"

    @property
    def name(self) -> str:
        """Such as ``3d/16-16/64/b1/s1/float32``."""
        channels = f"{self.cin}-{self.cout}"
        return f"{self.rank}d/{channels}/{self.size}/b{self.batch}/s{self.stride}/{self.dtype}"

    @property
    def window(self) -> Window:
        """The geometry of the layer, kernel 3 and padding 1."""
        return Window(
            size=(self.size,) * self.rank,
            kernel=(3,) * self.rank,
            strides=(self.stride,) * self.rank,
            padding=((1, 1),) * self.rank,
        )

    @property
    def gflop(self) -> float:
        """Two operations for each product, in units of 10^9."""
        outputs = self.batch * int(np.prod(self.window.output))
        return 2e-9 * 3**self.rank * self.cin * self.cout * outputs


def _gpu_cases() -> list[Case]:
    layers = [
        (128, 4, 16),
        (128, 16, 16),
        (128, 32, 16),
        (64, 32, 32),
        (32, 64, 64),
        (16, 128, 128),
    ]
    cases = [Case(batch=4, size=n, cin=i, cout=o, dtype="bfloat16") for n, i, o in layers]
    return [*cases, Case(batch=4, size=128, cin=16, cout=32, stride=2, dtype="bfloat16")]


def _cpu_cases() -> list[Case]:
    layers = [(64, 16, 16), (32, 32, 32), (16, 64, 64), (8, 128, 128), (64, 4, 16)]
    cases = [Case(batch=1, size=n, cin=i, cout=o) for n, i, o in layers]
    cases += [Case(batch=1, size=n, cin=c, cout=c) for n, c in ((64, 32), (32, 64), (16, 128))]
    cases += [Case(batch=2, size=n, cin=i, cout=o) for n, i, o in layers[1:4]]
    cases += [Case(batch=1, size=n, cin=c, cout=2 * c, stride=2) for n, c, _ in layers[:3]]
    cases += [Case(batch=1, size=n, cin=i, cout=o, dtype="bfloat16") for n, i, o in layers[:4]]
    cases += [Case(batch=4, size=n, cin=c, cout=c, rank=2) for n, c in ((56, 64), (14, 256))]
    return [*cases, Case(batch=16, size=28, cin=128, cout=128, rank=2)]


def _ours(case: Case) -> dict[str, dict[str, Callable[[], Any]]]:
    """Callables by pass and variant."""
    keys = jax.random.split(jax.random.key(0), 3)
    shape = (case.batch, *case.window.size, case.cin)
    x = jax.random.normal(keys[0], shape, case.dtype)
    kernel = jax.random.normal(keys[1], (*case.window.kernel, case.cin, case.cout), case.dtype)
    g = jax.random.normal(keys[2], (case.batch, *case.window.output, case.cout), case.dtype)
    arguments = ((x, kernel), (g, kernel), (x, g))
    on_gpu = jax.default_backend() == "gpu"
    variants = {"plain": "plain"}
    if jax.default_backend() == "cpu":
        variants |= {"sum2d": "sum2d"} if case.rank == 3 else {}
        variants |= {} if onednn.unavailable() else {"onednn": "onednn"}
        if cpu_convolution.choose_lowering(case.window, x.dtype) == "winograd":
            variants["winograd"] = "winograd"  # where it pays; elsewhere the same as onednn
    if on_gpu:
        variants["channels_last"] = "plain"
        if gpu_convolution.choose_lowering(case.window, x, kernel) == "triton":
            variants["triton"] = "triton"
    calls: dict[str, dict[str, Callable[[], Any]]] = {}
    for index, name in enumerate(PASSES):
        for variant, lowering in variants.items():
            function = lowered_convolution.IMPLEMENTATIONS[lowering][index]
            options = None if variant == "plain" else prediction_options()
            compiled = jax.jit(functools.partial(function, case.window), compiler_options=options)
            run = functools.partial(
                _blocked, compiled, arguments[index], GPU_CALLS if on_gpu else 1
            )
            calls.setdefault(name, {})[variant] = run
    return calls


def _blocked(
    function: Callable[..., jax.Array], arguments: Sequence[jax.Array], repeat: int
) -> None:
    results = [function(*arguments) for _ in range(repeat)]
    jax.block_until_ready(results[-1])


def _torch(case: Case) -> dict[str, dict[str, Callable[[], Any]]]:
    """The same with PyTorch, in both memory formats."""
    torch = require("torch", extra="bench", purpose="--peer=torch")
    on_gpu = jax.default_backend() == "gpu"
    torch.backends.cudnn.benchmark = True
    device = "cuda" if on_gpu else "cpu"

    def call(function: Callable[..., Any], *arguments: Any) -> None:
        for _ in range(GPU_CALLS if on_gpu else 1):
            function(*arguments)
        if on_gpu:
            torch.cuda.synchronize()

    dtype = getattr(torch, case.dtype)
    last = torch.channels_last_3d if case.rank == 3 else torch.channels_last
    calls: dict[str, dict[str, Callable[[], Any]]] = {name: {} for name in PASSES}
    for variant, layout in (("torch", torch.contiguous_format), ("torch_last", last)):
        x, g, kernel = (
            torch.randn(shape, device=device).to(dtype).to(memory_format=layout)
            for shape in (
                (case.batch, case.cin, *case.window.size),
                (case.batch, case.cout, *case.window.output),
                (case.cout, case.cin, *case.window.kernel),
            )
        )
        ones = [1] * case.rank
        geometry = ([case.stride] * case.rank, ones, ones, False, [0] * case.rank, 1)
        calls["forward"][variant] = functools.partial(
            call, torch.ops.aten.convolution, x, kernel, None, *geometry
        )
        for name, mask in ((PASSES[1], [True, False, False]), (PASSES[2], [False, True, False])):
            calls[name][variant] = functools.partial(
                call, torch.ops.aten.convolution_backward, g, x, kernel, None, *geometry, mask
            )
    return calls


def measure(calls: dict[str, Callable[[], Any]], *, rounds: int) -> dict[str, tuple[float, float]]:
    """Median wall and mean processor time in seconds of each call, run in turns."""
    wall: dict[str, list[float]] = {name: [] for name in calls}
    processor = dict.fromkeys(calls, 0.0)
    for repetition in range(-WARM_ROUNDS, rounds):
        for name, call in calls.items():
            start, used = time.perf_counter(), time.process_time()
            call()
            if repetition >= 0:
                wall[name].append(time.perf_counter() - start)
                processor[name] += (time.process_time() - used) / rounds
    return {name: (statistics.median(wall[name]), processor[name]) for name in calls}


def main() -> None:
    """Prints the table and writes the measurements."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path, help="file for the measurements")
    parser.add_argument("--peer", choices=["torch"], help="measure PyTorch as well")
    parser.add_argument("--rounds", type=int, default=7, help="repetitions of each cell")
    parser.add_argument("--case", default="", help="only layers whose name contains this")
    options = parser.parse_args()
    start()
    on_gpu = jax.default_backend() == "gpu"
    calls_each = GPU_CALLS if on_gpu else 1
    rows = []
    for case in _gpu_cases() if on_gpu else _cpu_cases():
        if options.case not in case.name:
            continue
        ours = _ours(case)
        peer = _torch(case) if options.peer else {name: {} for name in PASSES}
        for name in PASSES:
            times = {
                variant: (wall / calls_each, used / calls_each)
                for variant, (wall, used) in measure(
                    ours[name] | peer[name], rounds=options.rounds
                ).items()
            }
            cells = (f"{v} {w * 1e3:.2f} ({p * 1e3:.1f})" for v, (w, p) in times.items())
            print(
                f"{case.name:28} {name:16} {case.gflop:5.2f} GFLOP  " + "  ".join(cells), flush=True
            )
            rows.append(
                {
                    "case": case.name,
                    "pass": name,
                    "gflop": case.gflop,
                    "wall_s": {variant: wall for variant, (wall, _) in times.items()},
                    "processor_s": {variant: used for variant, (_, used) in times.items()},
                }
            )
    if options.json:
        write_json(options.json, rows)


if __name__ == "__main__":
    main()
