"""Time and memory of every stage on one whole case, from four files to a written segmentation.

    python -m benchmarks.case [--case FOLDER] [--shape 240 240 155] [--mirror] [--json FILE]

Without ``--case`` a phantom of that shape is written first. Each stage runs in this
order in one process; memory is the process's peak after the stage.
"""

from __future__ import annotations

import argparse
import functools
import resource
import runpy
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from brainjax import experiment, parallel, training
from brainjax.batches import PipelineOptions, training_batches
from brainjax.evaluation import score_case
from brainjax.files import write_json
from brainjax.inference import (
    SlidingWindowOptions,
    labels_from_probabilities,
    predict_volume,
    write_segmentation,
)
from brainjax.records import prepare_records
from brainjax.scans import (
    CONVENTIONS,
    Cohort,
    find_cases_to_predict,
    find_cohort,
    read_volume,
    write_phantom_cohort,
    zscore,
)

CONFIGS = Path(__file__).parent.parent / "configs"


def peak_megabytes() -> float:
    """Peak resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Runs all stages and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", type=Path)
    parser.add_argument("--shape", type=int, nargs=3, default=(240, 240, 155))
    parser.add_argument("--patch", type=int, nargs=3, default=(128, 128, 128))
    parser.add_argument("--overlap", type=float, default=0.5)
    parser.add_argument("--mirror", action="store_true")
    parser.add_argument("--train-patch", type=int, nargs=3, default=(64, 64, 64))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    parallel.start()
    rows: list[dict[str, Any]] = []

    def add(name: str, seconds: float) -> None:
        rows.append({"stage": name, "seconds": seconds, "peak_mb": peak_megabytes()})
        print(f"| {name} | {seconds:.2f} | {rows[-1]['peak_mb']:.0f} |", flush=True)

    def stage(name: str, work: Callable[[], Any]) -> Any:
        begun = time.perf_counter()
        result = jax.block_until_ready(work())
        add(name, time.perf_counter() - begun)
        return result

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        cohort: Cohort | None = None
        if options.case is None:
            write_phantom_cohort(root / "scans", cases=1, shape=tuple(options.shape), seed=0)
            cohort = find_cohort(root / "scans")
            [case] = cohort.cases
        else:
            [case] = find_cases_to_predict([options.case])
        print(f"{case.case_id} on {jax.devices()[0].device_kind}, {jax.device_count()} device(s)\n")
        print("| stage | seconds | peak memory, MB |\n|---|---:|---:|")

        volume = stage("read four files", lambda: read_volume(case))
        image = stage("normalise", lambda: zscore(volume.image))
        built = experiment.build(runpy.run_path(str(CONFIGS / "cga.py"))["get_config"]("released"))
        window = SlidingWindowOptions(
            patch_shape=tuple(options.patch), overlap=options.overlap, mirror=options.mirror
        )
        model = built.make_model(4).clone(
            dtype=np.float32 if jax.default_backend() == "cpu" else jax.numpy.bfloat16
        )
        variables = jax.jit(lambda key: model.init(key, np.zeros((1, 16, 16, 16, 4)), train=False))(
            jax.random.key(0)
        )
        predict = jax.jit(
            functools.partial(training.predict_step, model=model),
            compiler_options=parallel.prediction_options(),
        )
        stage(
            "compile the network",
            lambda: predict(variables, np.zeros((1, *options.patch, 4), np.float32)),
        )
        probabilities = stage(
            "segment (sliding window)",
            lambda: predict_volume(predict, [variables], image, window),
        )
        labels = labels_from_probabilities(probabilities)
        stage("write the segmentation", lambda: write_segmentation(root / "out", volume, labels))
        if cohort is not None and volume.labels is not None:
            regions = {
                name: CONVENTIONS[cohort.label_convention].region_classes(name)
                for name in ("ET", "WT", "TC")
            }
            shifted = np.roll(volume.labels, 2, axis=0)
            stage(
                "score (Dice, HD95, HD100, NSD)",
                lambda: score_case(
                    shifted, volume.labels, case_id=case.case_id, regions=regions,
                    spacing_mm=volume.spacing_mm, convention="brats2019",
                ),
            )  # fmt: skip
            del probabilities, image
            records = stage("prepare records", lambda: prepare_records(cohort, root / "records"))
            _time_training(built, records, tuple(options.train_patch), stage, add)
    if options.json:
        write_json(options.json, {"device": jax.devices()[0].device_kind, "stages": rows})


def _time_training(
    built: Any, records: Any, patch: tuple[int, ...], stage: Callable, add: Callable
) -> None:
    """First (compiling) and later training steps of one patch, batch 1."""
    model = built.make_model(4).clone(
        dtype=np.float32 if jax.default_backend() == "cpu" else jax.numpy.bfloat16
    )
    optimizer = built.make_optimizer(1)
    state = training.create_state(
        jax.random.key(0), jax.ShapeDtypeStruct((1, 16, 16, 16, 4), np.float32),
        model=model, optimizer=optimizer, keep_average=False,
    )  # fmt: skip
    step = jax.jit(
        functools.partial(
            training.train_step, model=model, objective=built.make_objective(1),
            optimizer=optimizer, learning_rate=built.make_learning_rate(1),
            augment=built.make_augment(), average_decay=0.0,
        ),
        donate_argnums=0, compiler_options=parallel.training_options(),
    )  # fmt: skip
    pipeline = PipelineOptions(patch_shape=patch, batch_size=1, foreground_fraction=0.5)
    mesh = parallel.make_mesh(1)
    batches = training_batches(records, [0], pipeline)
    shape = " x ".join(map(str, patch))
    state, _ = stage(
        f"first training step, {shape} (compiles)",
        lambda: step(state, parallel.place_batch(next(batches), mesh)),
    )
    seconds = []
    for _ in range(5):
        begun = time.perf_counter()
        state, metrics = step(state, parallel.place_batch(next(batches), mesh))
        jax.block_until_ready(metrics)
        seconds.append(time.perf_counter() - begun)
    batches.close()
    add(f"training step, {shape} (median of 5)", float(np.median(seconds)))


if __name__ == "__main__":
    main()
