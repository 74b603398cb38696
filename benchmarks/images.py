"""Times the way from image files to training batches, and what the network makes of them.

``python -m benchmarks.images [--json FILE] [--root FOLDER] [--config configs/x.py] [--steps N]``

Without ``--root`` a made-up set in the configuration's layout is used. "Cold" reads and
decodes the user's files; "prepared" draws batches from the records; the training step is
that of the configuration, with its augmentation.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import runpy
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from brainjax import experiment, parallel, training
from brainjax.batches import slice_batches
from brainjax.errors import InputError
from brainjax.experiment import ClassificationExperiment
from brainjax.files import write_json
from brainjax.records import SliceRecords, fit_image, prepare_slices
from brainjax.scans import SliceSet, find_slices, read_slice, write_phantom_slices


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--root", help="folder of a data set; made up without it")
    parser.add_argument("--config", default="configs/kaggle4_best.py")
    parser.add_argument("--steps", type=int, default=20, help="timed training steps")
    parser.add_argument("--files", type=int, default=500, help="files read cold")
    parser.add_argument("--json", help="also write the numbers here")
    options = parser.parse_args()
    parallel.start()
    built = _build(options.config, options.root)
    with tempfile.TemporaryDirectory() as folder:
        found = _find(built, Path(folder))
        rows = _measure(built, found, Path(folder), options.files, options.steps)
    print(f"{len(found.slices)} images, {options.config}, {jax.devices()[0].device_kind}\n")
    print("| what | images per second |\n|---|---:|")
    for name, rate in rows.items():
        print(f"| {name} | {rate:,.0f} |")
    if options.json:
        write_json(options.json, {"device": jax.devices()[0].device_kind, **rows})


def _build(path: str, root: str | None) -> ClassificationExperiment:
    config = runpy.run_path(path)["get_config"]()
    config.data.root = root or ""
    built = experiment.build(config)
    if not isinstance(built, ClassificationExperiment):
        raise InputError(f"--config={path}: expected the configuration of a classifier")
    return built


def _find(built: ClassificationExperiment, folder: Path) -> SliceSet:
    if built.data.root:
        return find_slices(built.data.root, built.data.source, options=built.series)
    made_up = built.made_up
    root = write_phantom_slices(
        folder / "made_up", layout=made_up.layout, seed=made_up.seed,
        slices_per_class=made_up.slices_per_class, patients=made_up.patients,
        slices_per_series=made_up.slices_per_series,
    )  # fmt: skip
    return find_slices(root, made_up.layout, options=built.series)


def _measure(
    built: ClassificationExperiment, found: SliceSet, folder: Path, files: int, steps: int
) -> dict[str, float]:
    chosen = found.slices[:: max(1, len(found.slices) // files)]
    rows = {"read, decode and fit (cold, one thread)": len(chosen) / _seconds(
        lambda: [fit_image(read_slice(file).image, built.images) for file in chosen]
    )}  # fmt: skip
    begun = time.perf_counter()
    records = prepare_slices(found, folder / "records", options=built.images)
    rows["prepare the records, once"] = len(found.slices) / (time.perf_counter() - begun)
    batch_size = built.batches.batch_size
    rows["batches from records"] = 200 * batch_size / _seconds(lambda: _draw(built, records, 200))
    compute, waiting = _train(built, records, steps)
    rows["training step"] = batch_size / compute
    rows["share of time waiting for data, %"] = 100 * waiting
    return rows


def _seconds(job: Callable[[], object]) -> float:
    begun = time.perf_counter()
    job()
    return time.perf_counter() - begun


def _draw(built: ClassificationExperiment, records: SliceRecords, number: int) -> None:
    batches = _open(built, records)
    for _ in itertools.islice(batches, number):
        pass
    batches.close()


def _open(built: ClassificationExperiment, records: SliceRecords) -> Any:
    labelled = np.flatnonzero(records.labels >= 0)
    return slice_batches(records.images, records.labels, labelled.tolist(), built.batches)


def _train(
    built: ClassificationExperiment, records: SliceRecords, steps: int
) -> tuple[float, float]:
    """Median seconds of a training step, and the share of the whole spent waiting."""
    classes = len(records.class_names)
    model = built.make_model(classes)
    create = functools.partial(built.create_state, model=model, steps_per_epoch=steps)
    state = jax.jit(create)(jax.random.key(0))
    step = jax.jit(
        functools.partial(
            training.train_step, model=model, objective=built.make_objective(),
            optimizer=built.make_optimizer(steps, model=model),
            learning_rate=built.make_learning_rate(steps),
            augment=built.make_augment(classes), average_decay=built.optimizer.average_decay,
        ),
        donate_argnums=0, compiler_options=parallel.training_options(),
    )  # fmt: skip
    mesh = parallel.make_mesh(built.batches.batch_size)
    batches = _open(built, records)
    state, metrics = step(state, parallel.place_batch(next(batches), mesh))
    jax.block_until_ready(metrics)
    seconds, waited, begun = [], batches.waited_seconds, time.perf_counter()
    for _ in range(steps):
        started = time.perf_counter()
        state, metrics = step(state, parallel.place_batch(next(batches), mesh))
        jax.block_until_ready(metrics)
        seconds.append(time.perf_counter() - started)
    share = (batches.waited_seconds - waited) / (time.perf_counter() - begun)
    batches.close()
    return statistics.median(seconds), share


if __name__ == "__main__":
    main()
