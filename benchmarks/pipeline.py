"""Times the way from raw scans to training batches on phantoms of BraTS' size.

``python -m benchmarks.pipeline [--json FILE] [--cases N] [--shape D H W] [--patch d h w]
[--prepare WORKERS ...]``

Crops are read warm (the files are in the page cache), one at a time, by one
thread. "ArrayRecord" is what a crop would cost without the voxel store: the
whole case is decompressed and then sliced. The phantoms lie in a temporary
folder, about 150 MB a case. ``--prepare 1 2`` only times the preparation of all cases, by
one process and by two, starting them included.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

from brainjax.batches import PipelineOptions, training_batches, uniform_start
from brainjax.files import write_json
from brainjax.records import SCHEMA_VERSION, PartOptions, Records, prepare_records
from brainjax.scans import Cohort, find_cohort, write_phantom_cohort

Shape = tuple[int, int, int]


def median_milliseconds(job: Callable[[], object], repeats: int) -> float:
    """Median time of a job after one run to warm up."""
    job()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        job()
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)


def folder_megabytes(folder: Path) -> float:
    """Size of all files below a folder, in MB."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def batches_per_second(records: Records, options: PipelineOptions, batches: int) -> float:
    """Rate of the pipeline when the consumer takes no time."""
    with training_batches(records, range(len(records)), options) as pipeline:
        next(pipeline)
        start = time.perf_counter()
        for _ in islice(pipeline, batches):
            pass
        return batches / (time.perf_counter() - start)


def write_phantoms(folder: Path, *, cases: int, shape: Shape) -> Cohort:
    """Makes the raw scans in a process of its own, whose memory goes with it."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as elsewhere:
        elsewhere.submit(write_phantom_cohort, folder, cases=cases, shape=shape, seed=0).result()
    return find_cohort(folder)


def measure_preparation(
    folder: Path, *, cases: int, shape: Shape, workers: Sequence[int]
) -> dict[str, float]:
    """Times the preparation of all cases by so many processes, from files in the page cache."""
    cohort = write_phantoms(folder / "raw", cases=cases, shape=shape)
    numbers = {}
    for count in workers:
        start = time.perf_counter()
        prepare_records(cohort, folder / "records", parts=PartOptions(workers=count))
        numbers[f"prepare with {count} workers, s per case"] = (time.perf_counter() - start) / cases
        shutil.rmtree(folder / "records")
    return numbers


def measure(
    folder: Path, *, cases: int, shape: Shape, patch: Shape, repeats: int
) -> dict[str, float]:
    """Makes the phantoms and measures each stage; units are in the names."""
    cohort = write_phantoms(folder / "raw", cases=cases, shape=shape)
    start = time.perf_counter()
    records = prepare_records(cohort, folder / "records")
    prepared = time.perf_counter() - start
    start = time.perf_counter()
    prepare_records(cohort, folder / "records")
    reused = time.perf_counter() - start

    rng = np.random.default_rng(0)

    def read_crop() -> None:
        index = int(rng.integers(cases))
        records.read_crop(index, uniform_start(rng, shape, patch), patch)

    def read_inside() -> None:
        index = int(rng.integers(cases))
        records.read_crop(index, records.cases[index].box_offset, patch)

    files = records.folder / "brain_volumes" / SCHEMA_VERSION
    source = tfds.builder_from_directory(str(files)).as_data_source("all")

    def decode_crop() -> None:
        example = source[int(rng.integers(cases))]
        start = uniform_start(rng, example["labels"].shape, patch)
        side = tuple(slice(max(a, 0), a + n) for a, n in zip(start, patch, strict=True))
        np.array(example["image"][side])
        np.array(example["labels"][side])

    for index in range(cases):
        records.read_case(index)
    options = PipelineOptions(patch_shape=patch, batch_size=2, threads=os.cpu_count() or 1)
    box = np.mean([np.prod(case.box_shape) for case in records.cases]) / np.prod(shape)
    return {
        "prepare, s per case": prepared / cases,
        "prepare, peak memory of the process, MB": resource.getrusage(
            resource.RUSAGE_SELF
        ).ru_maxrss
        / 1000,
        "open again unchanged, s": reused,
        "share of the volume that is stored": float(box),
        "ArrayRecord, MB per case": folder_megabytes(records.folder / "brain_volumes") / cases,
        "voxel store, MB per case": folder_megabytes(records.folder / "voxels") / cases,
        "random crop from the voxel store, ms": median_milliseconds(read_crop, repeats),
        "crop from the corner of the box, ms": median_milliseconds(read_inside, repeats),
        "random crop from the ArrayRecord, ms": median_milliseconds(decode_crop, 5),
        "whole case from the voxel store, ms": median_milliseconds(lambda: records.read_case(0), 5),
        "batches of 2, per second": batches_per_second(records, options, repeats),
    }


def main() -> None:
    """Prints the table and, with ``--json``, writes the same numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", metavar="FILE", help="also write the numbers here")
    parser.add_argument("--cases", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=50)
    parser.add_argument("--shape", type=int, nargs=3, default=(240, 240, 155))
    parser.add_argument("--patch", type=int, nargs=3, default=(128, 128, 128))
    parser.add_argument("--prepare", type=int, nargs="+", metavar="WORKERS", default=[])
    options = parser.parse_args()
    shape: Shape = (options.shape[0], options.shape[1], options.shape[2])
    patch: Shape = (options.patch[0], options.patch[1], options.patch[2])
    with tempfile.TemporaryDirectory() as folder:
        made = {"folder": Path(folder), "cases": options.cases, "shape": shape}
        if options.prepare:
            numbers = measure_preparation(**made, workers=options.prepare)
        else:
            numbers = measure(**made, patch=patch, repeats=options.repeats)
    print(f"{options.cases} phantoms of {shape} x 4, crops of {patch} x 4\n")
    for name, value in numbers.items():
        print(f"{name:<48} {value:10.2f}")
    if options.json:
        write_json(
            options.json,
            {"cases": options.cases, "shape": shape, "patch": patch, "measured": numbers},
        )


if __name__ == "__main__":
    main()
