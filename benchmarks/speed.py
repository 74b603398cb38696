"""Times training steps and inference of whole networks, against the same ones in PyTorch.

    python -m benchmarks.speed [--peer=torch] [--case=PART_OF_NAME ...] [--variant=PART_OF_NAME]
        [--rounds N] [--json FILE]

Each side runs in a process of its own, and sleeps while the other is timed. Of PyTorch's
variants (eager or compiled, memory formats) each is timed briefly, and the fastest is then
measured in turns with ours. Both sides do the same work on the same numbers, without
augmentation or dropout: forward pass, objective, backward pass and Adam's update; or
forward pass and probabilities. A step is the mean of those in half a second, if so many
fit in, after some that are not counted because memory is still new to the process; a
result is the median over the rounds, the ratio our time over PyTorch's. Peak memory is
that of the whole process, compiling included; the time to compile depends on JAX's
compilation cache, where one is on.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks._speed_cases import Case, choose_cases, peer_variants
from benchmarks._speed_child import Child, ChildError
from brainjax.errors import InputError, require
from brainjax.files import write_json

OURS, PEER = "benchmarks._speed_ours", "benchmarks._speed_torch"
TURN_SECONDS, MOST_CALLS = 0.5, 200
WARM_CALLS = 8  # beside those that settle the number of calls


def measure(case: Case, *, peer: bool, rounds: int, variant: str = "") -> dict[str, Any]:
    """One row: both sides in turns, or ours alone.

    Args:
      case: what to run.
      peer: whether to run PyTorch as well.
      rounds: turns of each side.
      variant: only PyTorch's variants whose name contains this.

    Raises:
      ChildError: our side failed, or PyTorch's after it was chosen.
    """
    with ExitStack() as stack:
        ours = stack.enter_context(Child(OURS))
        device = ours.ask("device")
        gpu = device["gpu"]
        chosen = None
        if peer:  # before ours takes memory
            names = [name for name in peer_variants(case, gpu=gpu) if variant in name]
            chosen = stack.enter_context(fastest_variant(case, names, gpu=gpu))
        compiled = ours.ask("load", case=case.name, gpu=gpu, variant="")
        sides = {"ours": (ours, _settle(ours)[1])}
        if chosen:
            sides["peer"] = chosen[1:]
        for child, _ in sides.values():
            for _ in range(WARM_CALLS):
                child.seconds(1)
        seconds = _take_turns(sides, rounds)
        row = {
            "case": case.name,
            "batch": case.batch(gpu=gpu),
            "device": device["device"],
            "threads": device["threads"],
            "rounds": rounds,
            "ours_s": statistics.median(seconds["ours"]),
            "ours_compile_s": compiled["compile_s"],
        }
        row |= dict.fromkeys(("peer_s", "peer_variant", "ratio", "peer_peak_mb"))
        if chosen:
            ratios = [a / b for a, b in zip(seconds["ours"], seconds["peer"], strict=True)]
            row |= {
                "peer_s": statistics.median(seconds["peer"]),
                "peer_variant": chosen[0],
                "peer_threads": chosen[1].ask("device")["threads"],
                "ratio": statistics.median(ratios),
                "ratio_range": [min(ratios), max(ratios)],
            }
        for side, (child, _) in sides.items():
            row |= {f"{side}_{what}": value for what, value in child.ask("memory").items()}
        if gpu:
            row |= achieved(row, ours.ask("roofline"))
        return row


def _take_turns(sides: dict[str, tuple[Child, int]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each side's turns; which side begins changes from round to round."""
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    for turn in range(rounds):
        order = list(sides) if turn % 2 == 0 else list(reversed(sides))
        for side in order:
            child, calls = sides[side]
            seconds[side].append(child.seconds(calls))
    return seconds


@contextmanager
def fastest_variant(
    case: Case, names: Sequence[str], *, gpu: bool
) -> Iterator[tuple[str, Child, int] | None]:
    """Times each of PyTorch's variants briefly, in a process each, and keeps the fastest's.

    A variant that fails is told and passed over. Gives name, process and calls for a turn;
    None where all failed.
    """
    best: tuple[str, Child, int] | None = None
    least = math.inf
    try:
        for name in names:
            child = Child(PEER)
            try:
                child.ask("load", case=case.name, gpu=gpu, variant=name)
                seconds, calls = _settle(child)
            except ChildError as error:
                print(f"{case.name}: PyTorch {name} left out: {error}", file=sys.stderr)
                child.close()
                continue
            except BaseException:
                child.close()
                raise
            print(f"{case.name}: PyTorch {name} {seconds:.4g} s", file=sys.stderr)
            if seconds >= least:
                child.close()
                continue
            if best:
                best[1].close()
            best, least = (name, child, calls), seconds
        if not best:
            print(f"{case.name}: no variant of PyTorch to measure", file=sys.stderr)
        yield best
    finally:
        if best:
            best[1].close()


def _settle(child: Child) -> tuple[float, int]:
    """Seconds of a call, after one that may compile, and how many calls make a turn."""
    child.seconds(1)
    once = child.seconds(1)
    calls = min(MOST_CALLS, max(1, round(TURN_SECONDS / once)))
    return min(once, child.seconds(calls)), calls


def achieved(row: dict[str, Any], roofline: dict[str, Any]) -> dict[str, Any]:
    """Operations per second of both sides, and our share of what the device allows.

    At best a call takes as long as its arithmetic or as its memory traffic, whichever is
    the longer (the roofline).

    Args:
      row: with ``ours_s`` and ``peer_s``.
      roofline: ``flop`` and ``bytes_moved`` of a call, the latter None where the compiler
        does not tell, and the device's ``flop_per_s`` and ``bytes_per_s``.
    """
    found: dict[str, Any] = {
        f"{side}_flop_per_s": roofline["flop"] / row[f"{side}_s"]
        for side in ("ours", "peer")
        if row[f"{side}_s"]
    }
    arithmetic = roofline["flop"] / roofline["flop_per_s"]
    traffic = (roofline["bytes_moved"] or 0.0) / roofline["bytes_per_s"]
    shortest = max(arithmetic, traffic)
    return {
        **found,
        "roofline": roofline,
        "roofline_s": shortest,
        "ours_roofline_share": shortest / row["ours_s"],
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows in Markdown; a GPU's have more columns."""
    columns = {
        "case": lambda row: row["case"],
        "batch": lambda row: str(row["batch"]),
        "ours, ms": lambda row: _number(row["ours_s"], ",.2f", 1e3),
        "PyTorch, ms": lambda row: _number(row["peer_s"], ",.2f", 1e3),
        "its variant": lambda row: row["peer_variant"] or "-",
        "ours / PyTorch": _ratio,
        "ours, peak MB": lambda row: _number(_memory(row, "ours"), ".0f"),
        "PyTorch, peak MB": lambda row: _number(_memory(row, "peer"), ".0f"),
        "ours compiles, s": lambda row: _number(row["ours_compile_s"], ".1f"),
    }
    if any("roofline" in row for row in rows):
        columns |= {
            "ours, TFLOP/s": lambda row: _number(row.get("ours_flop_per_s"), ".1f", 1e-12),
            "PyTorch, TFLOP/s": lambda row: _number(row.get("peer_flop_per_s"), ".1f", 1e-12),
            "ours, of the roofline": lambda row: _number(row.get("ours_roofline_share"), ".0%"),
        }
    rule = ["---" if name in ("case", "its variant") else "---:" for name in columns]
    lines = [list(columns), rule]
    lines += [[cell(row) for cell in columns.values()] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _number(value: float | None, form: str, scale: float = 1.0) -> str:
    return "-" if value is None else format(value * scale, form)


def _ratio(row: dict[str, Any]) -> str:
    if row["ratio"] is None:
        return "-"
    low, high = row["ratio_range"]
    return f"{row['ratio']:.2f} ({low:.2f} to {high:.2f})"


def _memory(row: dict[str, Any], side: str) -> float | None:
    """Of the GPU where it is measured, of the process otherwise."""
    on_device = row.get(f"{side}_device_peak_mb")
    return row.get(f"{side}_peak_mb") if on_device is None else on_device


def main() -> None:
    """Prints the table and writes the measurements."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peer", choices=["torch"], help="measure PyTorch as well")
    parser.add_argument(
        "--case", nargs="+", action="extend", default=[],
        help="only cases whose name contains this; without it all, but bf16 on a CPU",
    )  # fmt: skip
    parser.add_argument("--variant", default="", help="only PyTorch's variants that contain this")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each side")
    parser.add_argument("--json", type=Path, help="file for the measurements")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error(f"--rounds={options.rounds}: expected 1 or more")
    try:
        choose_cases(options.case, gpu=True)
        if options.peer:
            require("torch", extra="bench", purpose="--peer=torch")
    except InputError as error:
        sys.exit(str(error))
    with Child(OURS) as child:
        device = child.ask("device")
    rows, failed = [], False
    for case in choose_cases(options.case, gpu=device["gpu"]):
        try:
            row = measure(case, peer=bool(options.peer), rounds=options.rounds,
                          variant=options.variant)  # fmt: skip
        except ChildError as error:
            print(f"{case.name}: failed: {error}", file=sys.stderr)
            failed = True
            continue
        rows.append(row)
        if options.json:
            write_json(options.json, rows)
    print(f"{device['device']}, {device['threads']} threads\n\n{table(rows)}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
