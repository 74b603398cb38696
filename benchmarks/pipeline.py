"""Times the way from raw scans to training batches on phantoms of BraTS' size.

``python -m benchmarks.pipeline [--json FILE] [--cases N] [--shape D H W] [--patch d h w]
[--prepare WORKERS ...]``

Crops are read warm (the files are in the page cache), one at a time, by one
thread. "ArrayRecord" is what a crop would cost without the voxel store: the
whole case is decompressed and then sliced. The phantoms lie in a temporary
folder, about 150 MB a case. Augmented samples are counted where a training step
would get them: ours are cropped on the host and augmented by the compiled
program, MONAI's (where it is installed) come from its cached loader; the two
take turns, and the memory that each holds the cases in is told. ``--prepare 1 2`` only times
the preparation of all cases, by one process and by two, starting them included.
"""

from __future__ import annotations

import argparse
import functools
import multiprocessing
import os
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from pathlib import Path

import jax
import numpy as np
import tensorflow_datasets as tfds

from benchmarks import _pipeline_monai as monai
from brainjax import parallel
from brainjax.augment import AugmentOptions, augment_volumes
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


def our_samples(records: Records, options: PipelineOptions) -> Generator[None, None, None]:
    """Augmented batches, each ready on the device when the next is asked for."""
    augment = jax.jit(functools.partial(augment_volumes, options=AugmentOptions()))
    mesh = parallel.make_mesh(options.batch_size)
    with training_batches(records, range(len(records)), options) as pipeline:
        for number, batch in enumerate(pipeline):
            jax.block_until_ready(
                augment(jax.random.key(number), parallel.place_batch(batch, mesh))
            )
            yield


def samples_in_turns(
    loaders: Mapping[str, Iterator[object]], *, batch_size: int, batches: int, rounds: int = 5
) -> dict[str, float]:
    """Median samples per second of each loader, which take turns of some batches."""
    for loader in loaders.values():
        next(loader)
    rates: dict[str, list[float]] = {name: [] for name in loaders}
    for _ in range(rounds):
        for name, loader in loaders.items():
            start = time.perf_counter()
            for _ in islice(loader, batches):
                pass
            rates[name].append(batches * batch_size / (time.perf_counter() - start))
    return {name: statistics.median(found) for name, found in rates.items()}


def compare_loaders(
    cohort: Cohort, records: Records, options: PipelineOptions, *, batches: int
) -> dict[str, float | None]:
    """Augmented samples per second, ours and MONAI's, and the memory the cases take."""
    with_monai = monai.available()
    loaders: dict[str, Generator[object, None, None]] = {"ours": our_samples(records, options)}
    cached = None
    if with_monai:
        before = resident_megabytes()
        dataset = monai.cached_dataset(cohort.cases, options.patch_shape)
        loaders["MONAI"] = monai.batches(
            dataset, batch_size=options.batch_size, threads=options.threads
        )
        cached = (resident_megabytes() - before) / len(cohort.cases)
    rates = samples_in_turns(loaders, batch_size=options.batch_size, batches=batches)
    for loader in loaders.values():
        loader.close()
    peer = rates.get("MONAI")
    return {
        "augmented samples, ours, per second": rates["ours"],
        "augmented samples, MONAI's cached loader, per second": peer,
        "ours / MONAI's": None if peer is None else rates["ours"] / peer,
        "MONAI's cache in memory, MB per case": cached,
    }


def resident_megabytes() -> float:
    """Memory that this process holds now, in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


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
) -> dict[str, float | None]:
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
        **compare_loaders(cohort, records, options, batches=max(1, repeats // 10)),
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
        told = "not installed" if value is None else f"{value:10.2f}"
        print(f"{name:<54} {told:>10}")
    if options.json:
        write_json(
            options.json,
            {"cases": options.cases, "shape": shape, "patch": patch, "measured": numbers},
        )


if __name__ == "__main__":
    main()
