"""Times Dice and HD95 on one made-up case of BraTS' size.

``python -m benchmarks.metrics [--json FILE] [--repeats N] [--shape D H W]``

The case has a large tumour (300 ml) with ragged borders, and a prediction that is
about as good as a trained network's; a second prediction
adds a false positive far away, which widens the box. The rows "SciPy, whole
volume" do what medpy does: border by erosion and two distance transforms of the
whole volume.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import time
from collections.abc import Callable

import numpy as np
from scipy import ndimage

from brainjax.evaluation import (
    HD95_METHODS,
    compute_surface_distances,
    count_overlap,
    hausdorff_distance,
    score_case,
)
from brainjax.files import write_json

REGIONS = {"ET": (3,), "WT": (1, 2, 3), "TC": (1, 3)}
SPACING_MM = (1.0, 1.0, 1.0)


def make_case(shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Makes a reference, a good prediction and one with a far false positive, ``[D, H, W]``."""
    rng = np.random.default_rng(0)
    axes = np.meshgrid(*(np.arange(size) / size for size in shape), indexing="ij", sparse=True)
    centre = (0.6, 0.4, 0.5)
    distance = np.sqrt(sum((axis - at) ** 2 for axis, at in zip(axes, centre, strict=True)))

    def ragged(smoothness: float) -> np.ndarray:
        noise = ndimage.gaussian_filter(rng.standard_normal(shape, dtype=np.float32), smoothness)
        return noise / noise.std()

    border = distance + 0.03 * ragged(8)
    reference = np.digitize(border, (0.10, 0.13, 0.20))
    predicted = np.digitize(border + 0.008 * ragged(3), (0.10, 0.13, 0.20))
    classes = np.array([1, 3, 2, 0], dtype=np.uint8)  # necrosis, enhancing rim, oedema, background
    far = classes[predicted]
    far[tuple(slice(size // 12, size // 12 + 8) for size in shape)] = 3
    return classes[reference], classes[predicted], far


def whole_volume_hd95(predicted: np.ndarray, reference: np.ndarray) -> float:
    """HD95 by medpy's definition on whole volumes, in plain SciPy."""
    cross = ndimage.generate_binary_structure(3, 1)
    borders = [mask ^ ndimage.binary_erosion(mask, cross) for mask in (predicted, reference)]
    distances = [
        ndimage.distance_transform_edt(~borders[1 - n], sampling=SPACING_MM)[borders[n]]
        for n in (0, 1)
    ]
    return float(np.percentile(np.concatenate(distances), 95))


def median_seconds(job: Callable[[], object], repeats: int) -> float:
    """Median time of a job after one run to warm up."""
    job()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        job()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def measure(shape: tuple[int, int, int], repeats: int) -> dict[str, float | None]:
    """Seconds for the three regions together, by what was computed; None where not installed."""
    reference, good, far = make_case(shape)

    def masks(labels: np.ndarray) -> list[np.ndarray]:
        return [np.isin(labels, classes) for classes in REGIONS.values()]

    def each(job: Callable[[np.ndarray, np.ndarray], object], predicted: np.ndarray) -> None:
        for pair in zip(masks(predicted), masks(reference), strict=True):
            job(*pair)

    def hd95(method: str) -> Callable[[np.ndarray, np.ndarray], float]:
        def job(one: np.ndarray, other: np.ndarray) -> float:
            measured = compute_surface_distances(
                one, other, spacing_mm=SPACING_MM, elements=HD95_METHODS[method]
            )
            return hausdorff_distance(measured, method=method)

        return job

    def case(predicted: np.ndarray, **options: bool) -> object:
        return score_case(
            predicted,
            reference,
            case_id="benchmark",
            regions=REGIONS,
            spacing_mm=SPACING_MM,
            convention="brats2019",
            **options,
        )

    seconds: dict[str, float | None] = {}
    for name, predicted in (("good", good), ("far false positive", far)):
        jobs: dict[str, Callable[[], object]] = {
            "Dice": lambda p=predicted: each(count_overlap, p),
            **{
                f"HD95 {method}": lambda p=predicted, m=method: each(hd95(m), p)
                for method in HD95_METHODS
            },
            "HD95 SciPy, whole volume": lambda p=predicted: each(whole_volume_hd95, p),
            "score_case, overlap only": lambda p=predicted: case(p, with_surface=False),
            "score_case, everything": lambda p=predicted: case(p),
            "score_case, lesion-wise too": lambda p=predicted: case(p, lesion_wise=True),
        }
        for job, run in jobs.items():
            seconds[f"{job} ({name})"] = median_seconds(run, repeats)
        monai = _monai_seconds(masks(predicted), masks(reference), repeats)
        seconds[f"HD95 MONAI ({name})"] = monai
    return seconds


def _monai_seconds(
    predicted: list[np.ndarray], reference: list[np.ndarray], repeats: int
) -> float | None:
    if importlib.util.find_spec("monai") is None or importlib.util.find_spec("torch") is None:
        return None
    import torch
    from monai.metrics import compute_hausdorff_distance

    one, other = (torch.from_numpy(np.stack(masks)[None]) for masks in (predicted, reference))
    return median_seconds(
        lambda: compute_hausdorff_distance(one, other, include_background=True, percentile=95),
        repeats,
    )


def main() -> None:
    """Prints the table and, with ``--json``, writes the same numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", metavar="FILE", help="also write the numbers here")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--shape", type=int, nargs=3, default=(240, 240, 155))
    options = parser.parse_args()
    shape = (options.shape[0], options.shape[1], options.shape[2])
    seconds = measure(shape, options.repeats)
    print(f"Three regions of one case of {shape}, median of {options.repeats} runs\n")
    for name, value in seconds.items():
        print(f"{name:<48} {'not installed' if value is None else f'{value * 1000:9.1f} ms'}")
    if options.json:
        write_json(options.json, {"shape": shape, "repeats": options.repeats, "seconds": seconds})


if __name__ == "__main__":
    main()
