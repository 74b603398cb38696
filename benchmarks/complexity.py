"""Parameters, MACs, time and memory of the modules and networks, beside the published figures.

    python -m benchmarks.complexity [--json FILE] [--markdown] [--case=SUBSTRING]
        [--no-measure] [--plot FILE.png] [--rounds N]

MACs are counted in the traced program (``brainjax.complexity``) and the compiler's FLOPs
are asked of it; both say the same on every machine. Time and temporary memory are this
device's: of the modules forward and forward plus backward, of whole networks forward, one
image or volume at a time, f32, random weights. ``--case`` picks rows by name.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import argparse
import contextlib
import ctypes
import dataclasses
import functools
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks._complexity_rows import Case, cases, module_case
from brainjax.complexity import costs_of, count_macs, count_parameters
from brainjax.files import atomic_path, write_json
from brainjax.layers.cpu_convolution import SWITCH

COUNTED_SIZES = (4, 8, 16, 32, 64)  # features in the figure are n^3
TIMED_SIZES = (4, 8, 12, 16, 20)
NETWORK_ROUNDS = 2

REMARKS = """\
MACs are one multiplication with its addition, of convolutions and matrix products; papers
print them and call them FLOPs. Printed: Table 3 of the CGA paper for the modules, what
the networks' papers print below. The compiler counts two FLOPs for a MAC, adds sums and
activations, and leaves out taps on padding. DenseNet's transitions pool before their 1x1
convolution, which gives the same for a quarter of its cost.

Table 3's parameters at rate 8 are about ten times the weights that the structures in the
text have (self-attention: three 1x1x1 convolutions of 128 to 128 channels hold 49,152
weights, printed 0.492 M), for all three modules; at rates 4 and 2 they agree as printed.
The paper does not give the supervised attention's structure at rates 4 and 2; these are
chosen to come near its costs.

Printed for the comparators: the 3D U-Net's parameters, of three channels and three labels and
without batch norm's, and nnU-Net's as cited beside the CGA U-Net. KiU-Net 3D is the authors'
network of width 1, of which most is work on a grid eight times as fine as the image.

The supervised attention's and the CGA U-Net's MACs are counted as the paper does, up to
the attention map, and nnU-Net's networks without their coarser heads. Averaging the prototypes
and writing them back, or these heads, adds{extra}."""
PROCESS = """\
Memory is the larger of XLA's temporary memory, which leaves out what oneDNN and YNNPACK
take, and of the process's growth in one run, which leaves out what it already had."""
COMPILER = "Memory is XLA's temporary memory; what libraries such as cuDNN take is not in it."


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row's figures; None where not published, not measured or not told.

    Attributes:
      name: of the row.
      parameters: without running statistics.
      macs: of what the published figure counts.
      macs_whole: of everything.
      published_parameters: as printed.
      published_macs: as printed.
      ratio: of ``macs`` to the printed ones.
      flops: the compiler's, forward, of XLA's own convolutions.
      shapes: of the inputs.
      device: that times and memory are of.
      forward_s: median.
      forward_temporary_bytes: the most that XLA holds at a time.
      forward_peak_bytes: by how much one run enlarges the process; on Linux and CPUs.
      forward_backward_s: median; with gradients of a module's parameters and features.
      forward_backward_temporary_bytes: as forward.
      forward_backward_peak_bytes: as forward.
    """

    name: str
    parameters: int
    macs: int
    macs_whole: int
    published_parameters: float | None
    published_macs: float | None
    ratio: float | None
    flops: float | None
    shapes: tuple[tuple[int, ...], ...]
    device: str
    forward_s: float | None = None
    forward_temporary_bytes: int | None = None
    forward_peak_bytes: int | None = None
    forward_backward_s: float | None = None
    forward_backward_temporary_bytes: int | None = None
    forward_backward_peak_bytes: int | None = None


def count(case: Case) -> Row:
    """What can be said without running anything."""
    whole = count_macs(case.module.apply, case.variables, *case.inputs)
    macs = whole
    if case.counted is not None:
        macs = count_macs(case.counted, case.variables, *case.inputs)
    with _plain_convolutions():
        lowered = jax.jit(functools.partial(case.module.apply)).lower(case.variables, *case.inputs)
    device = jax.devices()[0]
    return Row(
        name=case.name,
        parameters=count_parameters(case.variables["params"]),
        macs=macs,
        macs_whole=whole,
        published_parameters=case.published_parameters,
        published_macs=case.published_macs,
        ratio=None if case.published_macs is None else macs / case.published_macs,
        flops=(lowered.cost_analysis() or {}).get("flops"),
        shapes=case.shapes,
        device=f"{device.platform}: {device.device_kind}",
    )


@contextlib.contextmanager
def _plain_convolutions() -> Iterator[None]:
    """Traces with XLA's own convolutions, whose operations its compiler can count."""
    before = os.environ.get(SWITCH)
    os.environ[SWITCH] = "plain"
    try:
        yield
    finally:
        os.environ.pop(SWITCH)
        if before is not None:
            os.environ[SWITCH] = before


def measure(case: Case, row: Row, *, rounds: int) -> Row:
    """Adds times and temporary memory on this device."""
    forward = functools.partial(case.module.apply)  # not the trace with plain convolutions
    arguments = [_random(tree) for tree in (case.variables, *case.inputs)]
    rounds = NETWORK_ROUNDS if case.network else rounds
    found = {f"forward_{name}": value for name, value in _run(forward, arguments, rounds).items()}
    if not case.network:

        def loss(*values: Any) -> jax.Array:
            outputs = jax.tree.leaves(forward(*values))
            return sum((jnp.sum(output**2) for output in outputs), jnp.zeros(()))

        gradient = jax.value_and_grad(loss, argnums=(0, len(case.shapes)))  # the last: features
        both = _run(gradient, arguments, rounds)
        found |= {f"forward_backward_{name}": value for name, value in both.items()}
    return dataclasses.replace(row, **found)


def _run(function: Callable[..., Any], arguments: Sequence[Any], rounds: int) -> dict[str, Any]:
    """Median seconds after one run to warm up, and the peaks of memory in bytes."""
    compiled = jax.jit(function).lower(*arguments).compile()

    def call() -> float:
        start = time.perf_counter()
        jax.block_until_ready(compiled(*arguments))
        return time.perf_counter() - start

    seconds, growths = zip(*(_with_growth(call) for _ in range(rounds + 1)), strict=True)
    return {
        "s": statistics.median(seconds[1:]),
        "temporary_bytes": costs_of(compiled).temporary_bytes,
        "peak_bytes": None if None in growths else max(growths),
    }


def _with_growth(call: Callable[[], float]) -> tuple[float, int | None]:
    """A call's seconds, and by how many bytes it enlarged the process at its peak.

    None where Linux does not tell, or where arrays are not in the process's memory.
    """
    status = Path("/proc/self/status")
    if jax.default_backend() != "cpu" or not status.exists():
        return call(), None
    try:
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # resets the peak
    except (OSError, AttributeError):
        return call(), None
    before = _kilobytes(status.read_text(encoding="ascii"), "VmRSS")
    seconds = call()
    peak = _kilobytes(status.read_text(encoding="ascii"), "VmHWM")
    return seconds, 1024 * max(0, peak - before)


def _kilobytes(status: str, name: str) -> int:
    lines = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    return int(lines[name].split()[0])


def _random(tree: Any) -> Any:
    """Arrays for shapes: kernels that keep the size of what they multiply, ones, or noise."""
    rng = np.random.default_rng(0)

    def make(leaf: jax.ShapeDtypeStruct) -> jax.Array:
        if len(leaf.shape) < 2:
            return jnp.ones(leaf.shape, leaf.dtype)
        fan_in = int(np.prod(leaf.shape[:-1]))
        values = rng.standard_normal(leaf.shape, np.float32)
        return jnp.asarray(values / np.sqrt(fan_in, dtype=np.float32), leaf.dtype)

    return jax.tree.map(make, tree)


def table(rows: Sequence[Row], *, markdown: bool) -> str:
    """The rows as an aligned table, of Markdown or of plain text."""
    head = [
        "", "parameters", "printed", "MACs, G", "printed", "ratio", "compiler, GFLOP",
        "forward, ms", "memory, MiB", "with backward, ms", "memory, MiB",
    ]  # fmt: skip
    cells = [
        [
            row.name,
            f"{row.parameters:,}",
            _cell(row.published_parameters, 1, ",.0f"),
            f"{row.macs / 1e9:.4g}" if row.macs < 1e9 else f"{row.macs / 1e9:.3f}",
            _cell(row.published_macs, 1e-9, ".6g"),
            _cell(row.ratio, 1, ".3f"),
            _cell(row.flops, 1e-9, ".4g"),
            _cell(row.forward_s, 1e3, ".1f"),
            _cell(_memory(row, "forward"), 2**-20, ".0f"),
            _cell(row.forward_backward_s, 1e3, ".1f"),
            _cell(_memory(row, "forward_backward"), 2**-20, ".0f"),
        ]
        for row in rows
    ]
    used = [i for i in range(len(head)) if i < 7 or any(row[i] != "-" for row in cells)]
    lines = [[line[i] for i in used] for line in (head, *cells)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = [[line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])] for line in lines]
    if not markdown:
        return "\n".join("  ".join(line) for line in padded)
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join("| " + " | ".join(line) + " |" for line in (padded[0], rule, *padded[1:]))


def _memory(row: Row, what: str) -> int | None:
    """The larger of what XLA says and by how much the process grew."""
    known = [getattr(row, f"{what}_{name}_bytes") for name in ("temporary", "peak")]
    return max((number for number in known if number is not None), default=None)


def _cell(value: float | None, scale: float, form: str) -> str:
    return "-" if value is None else format(value * scale, form)


def remarks(rows: Sequence[Row]) -> str:
    """What has to be known to read the table."""
    extra = [
        f"{(row.macs_whole - row.macs) / 1e9:.4f} G ({row.name})"
        for row in rows
        if row.macs_whole != row.macs
    ]
    text = REMARKS.format(extra="\n" + ", ".join(extra) if extra else " next to nothing")
    if all(row.forward_s is None for row in rows):
        return text
    known = any(row.forward_peak_bytes is not None for row in rows)
    return f"{text}\n\n{PROCESS if known else COMPILER}"


def growth(*, timed: bool, rounds: int) -> dict[str, dict[str, list[tuple[int, float]]]]:
    """By module at rate 8: pairs of voxels attended and MACs or, ``timed``, seconds."""
    found: dict[str, dict[str, list[tuple[int, float]]]] = {}
    for kind in ("self_attention", "context_prior", "sam"):
        found[kind] = {"MACs": [], "s": []}
        for n in sorted({*COUNTED_SIZES, *(TIMED_SIZES if timed else ())}):
            case = module_case(kind, 8, size=8 * n)
            forward, arguments = case.module.apply, (case.variables, *case.inputs)
            if n in COUNTED_SIZES:
                found[kind]["MACs"].append((n**3, count_macs(forward, *arguments)))
            if timed and n in TIMED_SIZES:
                run = _run(forward, [_random(shapes) for shapes in arguments], rounds)
                found[kind]["s"].append((n**3, run["s"]))
    return found


def draw_growth(lines: dict[str, dict[str, list[tuple[int, float]]]], path: Path) -> None:
    """Draws cost against the number of voxels attended, both axes logarithmic."""
    from matplotlib.figure import Figure

    units = [unit for unit in ("MACs", "s") if lines["sam"][unit]]
    figure = Figure(figsize=(5.6 * len(units), 4.6), layout="constrained")
    labels = {
        "self_attention": ("self-attention", "#D55E00", "s", "--"),
        "context_prior": ("context prior", "#009E73", "^", "-."),
        "sam": ("supervised attention", "#0072B2", "o", "-"),
    }
    for axes, unit in zip(np.ravel(figure.subplots(1, len(units), squeeze=False)), units,
                          strict=True):  # fmt: skip
        for kind, (label, colour, marker, dash) in labels.items():
            voxels, costs = zip(*lines[kind][unit], strict=True)
            slope = np.log(costs[-1] / costs[-2]) / np.log(voxels[-1] / voxels[-2])
            label += f" (N$^{{{slope:.2f}}}$ at the end)" if unit == "MACs" else ""
            axes.loglog(voxels, costs, dash, color=colour, marker=marker, label=label)
        axes.axvline(16**3, color="0.6", linewidth=1, zorder=0)
        axes.annotate(
            "128$^3$ image", (16**3, 0.02), xycoords=("data", "axes fraction"),
            xytext=(-4, 0), textcoords="offset points", ha="right", fontsize=9, color="0.35",
        )  # fmt: skip
        axes.set_xlabel("voxels attended, N (features at an eighth of the image, 128 channels)")
        axes.set_ylabel({"MACs": "MACs", "s": "forward on this device, s"}[unit])
        axes.grid(which="major", color="0.9")
        axes.legend(edgecolor="none", framealpha=1, fontsize=9, handlelength=3.5)
    with atomic_path(path) as partial:
        figure.savefig(partial, dpi=150, format="png")


def main() -> None:
    """Prints the table and writes the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path, help="file for the rows")
    parser.add_argument("--markdown", action="store_true", help="print a table of Markdown")
    parser.add_argument("--case", default="", help="only rows whose name contains this")
    parser.add_argument("--no-measure", action="store_true", help="count only, run nothing")
    parser.add_argument("--rounds", type=int, default=5, help="repetitions of each module")
    parser.add_argument("--plot", type=Path, help="PNG file for cost against voxels attended")
    options = parser.parse_args()
    rows = []
    for case in cases():
        if options.case not in case.name:
            continue
        print(f"{case.name} ...", file=sys.stderr, flush=True)
        row = count(case)
        if not options.no_measure:
            row = measure(case, row, rounds=options.rounds)
        rows.append(row)
    if not rows:
        parser.error(f"--case={options.case} picks no row")
    print(table(rows, markdown=options.markdown), remarks(rows), sep="\n\n")
    if options.json:
        write_json(options.json, [dataclasses.asdict(row) for row in rows])
    if options.plot:
        lines = growth(timed=not options.no_measure, rounds=options.rounds)
        draw_growth(lines, options.plot)


if __name__ == "__main__":
    main()
