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
import functools
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
    reference_masks = region_masks(reference)
    seconds: dict[str, float | None] = {}
    for name, predicted in (("good", good), ("far false positive", far)):
        masks = region_masks(predicted)
        score = functools.partial(score_labels, predicted, reference)
        each = functools.partial(for_each_region, masks, reference_masks)
        jobs: dict[str, Callable[[], object]] = {"Dice": functools.partial(each, count_overlap)}
        for method in HD95_METHODS:
            jobs[f"HD95 {method}"] = functools.partial(each, functools.partial(hd95, method))
        jobs["HD95 SciPy, whole volume"] = functools.partial(each, whole_volume_hd95)
        jobs["score_case, overlap only"] = functools.partial(score, with_surface=False)
        jobs["score_case, everything"] = score
        jobs["score_case, lesion-wise too"] = functools.partial(score, lesion_wise=True)
        for job, run in jobs.items():
            seconds[f"{job} ({name})"] = median_seconds(run, repeats)
        seconds[f"HD95 MONAI ({name})"] = monai_seconds(masks, reference_masks, repeats)
    return seconds


def region_masks(labels: np.ndarray) -> list[np.ndarray]:
    """The boolean mask of each region."""
    return [np.isin(labels, classes) for classes in REGIONS.values()]


def for_each_region(
    predicted: list[np.ndarray],
    reference: list[np.ndarray],
    job: Callable[[np.ndarray, np.ndarray], object],
) -> None:
    """Runs a job on the two masks of each region."""
    for pair in zip(predicted, reference, strict=True):
        job(*pair)


def hd95(method: str, predicted: np.ndarray, reference: np.ndarray) -> float:
    """HD95 of two masks by one of our definitions."""
    distances = compute_surface_distances(
        predicted, reference, spacing_mm=SPACING_MM, elements=HD95_METHODS[method]
    )
    return hausdorff_distance(distances, method=method)


def score_labels(
    predicted: np.ndarray,
    reference: np.ndarray,
    *,
    with_surface: bool = True,
    lesion_wise: bool = False,
) -> object:
    """All scores of the case by the convention of BraTS 2019."""
    return score_case(
        predicted,
        reference,
        case_id="benchmark",
        regions=REGIONS,
        spacing_mm=SPACING_MM,
        convention="brats2019",
        with_surface=with_surface,
        lesion_wise=lesion_wise,
    )


def monai_seconds(
    predicted: list[np.ndarray], reference: list[np.ndarray], repeats: int
) -> float | None:
    """Median time of MONAI's HD95 for the three regions; None where it is not installed."""
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
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
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
