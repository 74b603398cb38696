"""Maps of a segmentation network, in a window around the tumour of each scan."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from brainjax.evaluation import MapScore
from brainjax.explain import region_target
from brainjax.jobs.attention_pictures import draw_attention_pictures
from brainjax.jobs.explain import (
    check_sanity,
    choose_cases,
    choose_pictures,
    finish_explanation,
    home_of,
)
from brainjax.jobs.explainer import Explainer
from brainjax.jobs.predict import check_writable
from brainjax.jobs.predictor import Predictor, load_predictor
from brainjax.jobs.prepare import find_data
from brainjax.report import MapPicture, draw_maps, save_figure
from brainjax.scans import (
    CONVENTIONS,
    PAINTED,
    CaseFiles,
    Volume,
    find_cases_to_predict,
    read_volume,
    write_array,
    zscore,
)
from brainjax.training import ProgressPrinter

LAYER = "encoder4_block4"
"""The U-Nets' deepest features, for Grad-CAM."""

WINDOW_NOTE = (
    "Each scan is explained in one window of the training patch's size, centred on the predicted "
    "tumour; maps are 0 outside it, and scores are of the window."
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class VolumeCase:
    """One scan's window, ready for the network.

    Attributes:
      number: in the order of the explained cases.
      volume: the scan.
      image: float32 [1, d, h, w, C], z-scored, the window; zero beyond the scan.
      aims: float32 [1, d, h, w], the voxels whose logits are explained.
      start: first voxel of the window in the scan; negative where it reaches beyond.
      region: bool [d, h, w], the reference, or None where there is none in the window.
    """

    number: int
    volume: Volume
    image: np.ndarray
    aims: jax.Array
    start: tuple[int, ...]
    region: np.ndarray | None


def explain_volumes(
    run: Path,
    *,
    inputs: Sequence[Path],
    output: Path,
    overrides: Mapping[str, Any],
) -> int:
    """Explains the scans of a run's validation fold, or other ones.

    The target is the sum of the logits of ``explain.region`` over the voxels that the
    network calls so (everywhere in the window where it finds none).

    Args:
      run: the trained network.
      inputs: case folders to explain instead.
      output: gets ``cases/`` with pictures and NIfTI maps on each scan's grid,
        ``scores.csv``, ``summary.json`` and ``explanation.html``.
      overrides: dotted names of the configuration to new values.

    Returns:
      0.

    Raises:
      InputError: no checkpoint, or scans that cannot be used.
    """
    predictor = load_predictor([run], overrides=overrides)
    options = predictor.experiment.explain
    files, convention, notes = _find(predictor, run, inputs)
    files = [files[n] for n in choose_cases([file.case_id for file in files], options)]
    check_writable(output)
    network = _Network(predictor)
    explainer = Explainer(
        options, target_of=network.target, probability=network.probability,
        variables=predictor.variables[0], layer=LAYER,
    )  # fmt: skip
    scores: list[MapScore] = []
    without, sane = 0, []
    progress = ProgressPrinter("explained", unit="scans")
    for number, file in enumerate(files):
        case = network.read(file, number, convention)
        without += case.region is None
        maps = {
            name: values[0]
            for name, values in explainer.maps(case.image, case.aims, number=number).items()
        }
        for name, values in maps.items():
            _write_map(output / "cases" / f"{file.case_id}_{name}.nii.gz", case, values)
        scores += explainer.score(
            file.case_id, file.patient_id, case.image[0], case.aims[0], case.region, maps,
            spacing=case.volume.spacing_mm,
        )  # fmt: skip
        if number < options.sanity_cases:
            sane.append((number, case.image, case.aims))
        progress(number + 1, len(files))
    if without:
        notes.append(f"{without} of {len(files)} scans have no reference in the window.")
    sanity = check_sanity(explainer, network.logits, network.start, sane, None)
    pictures, more = [], []
    names = [file.case_id for file in files]
    for name in choose_pictures(names, scores, options):
        number = names.index(name)
        case = network.read(files[number], number, convention)
        path = output / "cases" / f"{name}.png"
        save_figure(path, draw_maps(_picture(case, explainer, options.region, scores)))
        pictures.append((name, path))
        drawn = draw_attention_pictures(predictor, files[number], output / "cases")
        more += [(f"{name}: {png.stem}", png) for png in drawn]
    finish_explanation(
        output, scores, sanity,
        title=f"What {predictor.experiment.config['model']['name']} looks at for {options.region}",
        config=predictor.experiment.config, options=options, pictures=pictures,
        more_pictures=more, notes=[*notes, WINDOW_NOTE],
    )  # fmt: skip
    return 0


class _Network:
    """The segmentation network as the explainer wants it."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor
        conventions = CONVENTIONS[predictor.label_convention]
        region = predictor.experiment.explain.region
        self.classes = conventions.region_classes(region)
        self.regions = predictor.experiment.trains_regions
        self.channels = (list(PAINTED).index(region),) if self.regions else self.classes
        model = predictor.experiment.make_model(len(conventions.classes))
        # Grad-CAM looks into blocks, which must not be worked out anew behind its back.
        self.model: Any = model.clone(checkpoint_blocks=False)

    def start(self) -> Any:
        """Variables as they are before training."""
        experiment = self.predictor.experiment
        key = jax.random.key(experiment.explain.seed + 1)
        return jax.jit(self.model.init)(key, jnp.zeros(experiment.patch.shape))

    def logits(self, variables: Any, images: jax.Array) -> jax.Array:
        """Logits [N, d, h, w, K]."""
        output: Any = self.model.apply(variables, images, train=False)
        return output.logits

    def target(self, variables: Any) -> Callable[[jax.Array, Any], jax.Array]:
        """The sum of the region's logits over the voxels in the aims."""
        return region_target(lambda x: self.logits(variables, x), self.channels)

    def probability(self, variables: Any, images: jax.Array, aims: jax.Array) -> jax.Array:
        """The region's mean probability [N] over the voxels in the aims."""
        logits = self.logits(variables, images)
        shares = jax.nn.sigmoid(logits) if self.regions else jax.nn.softmax(logits, axis=-1)
        region = jnp.sum(jnp.stack([shares[..., k] for k in self.channels]), axis=0)
        return jnp.sum(region * aims, (1, 2, 3)) / jnp.sum(aims, (1, 2, 3))

    def read(self, file: CaseFiles, number: int, convention: str) -> VolumeCase:
        """Reads a scan, segments it, and cuts the window out."""
        volume = read_volume(
            file, modalities=self.predictor.modalities, label_convention=convention,
            with_labels=file.labels is not None,
        )  # fmt: skip
        predicted, _ = self.predictor.segment(volume)
        said = np.isin(predicted, self.classes)
        truth = None if volume.labels is None else np.isin(volume.labels, self.classes)
        shape = self.predictor.experiment.batches.patch_shape
        centre = _centre(said, truth)
        start = tuple(
            int(min(max(middle - length // 2, 0), size - length)) if size >= length
            else (size - length) // 2
            for middle, length, size in zip(centre, shape, said.shape, strict=True)
        )  # fmt: skip
        image = zscore(volume.image, modalities=volume.modalities, case_id=volume.case_id)
        aims = _cut(said, start, shape).astype(np.float32)
        region = None if truth is None else _cut(truth, start, shape)
        if region is not None and not 0 < np.count_nonzero(region) < region.size:
            region = None
        return VolumeCase(
            number=number,
            volume=volume,
            image=_cut(image, start, shape)[None].astype(np.float32),
            aims=jnp.asarray(aims if aims.any() else np.ones_like(aims))[None],
            start=start,
            region=region,
        )


def _find(
    predictor: Predictor, run: Path, inputs: Sequence[Path]
) -> tuple[list[CaseFiles], str, list[str]]:
    """The scans, the convention of their labels, and notes."""
    if inputs:
        return list(find_cases_to_predict(inputs, modalities=predictor.modalities)), "auto", []
    data = find_data(predictor.experiment, home_of(run))
    notes = [f"The validation scans of {data.cohort.root}.", *data.notes]
    return data.validation_files(), data.cohort.label_convention, notes


def _centre(said: np.ndarray, truth: np.ndarray | None) -> tuple[int, ...]:
    """The middle of the predicted tumour, else of the reference, else of the scan."""
    for mask in (said, truth):
        if mask is not None and mask.any():
            return tuple(int(np.median(places)) for places in np.nonzero(mask))
    return tuple(size // 2 for size in said.shape)


def _cut(array: np.ndarray, start: Sequence[int], shape: Sequence[int]) -> np.ndarray:
    """The window of an array [D, H, W, ...], zero where it reaches beyond."""
    window = np.zeros((*shape, *array.shape[3:]), array.dtype)
    inner, outer = _overlap(array.shape, start, shape)
    window[outer] = array[inner]
    return window


def _overlap(
    size: Sequence[int], start: Sequence[int], shape: Sequence[int]
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Where the window lies in the scan, and the scan in the window."""
    inner, outer = [], []
    for length, first, window in zip(size, start, shape, strict=False):
        low, high = max(first, 0), min(first + window, length)
        inner.append(slice(low, high))
        outer.append(slice(low - first, high - first))
    return tuple(inner), tuple(outer)


def _write_map(path: Path, case: VolumeCase, values: np.ndarray) -> None:
    """Writes a map onto the grid of the scan's files, 0 outside the window."""
    full = np.zeros(case.volume.image.shape[:3], np.float32)
    inner, outer = _overlap(full.shape, case.start, values.shape)
    full[inner] = values[outer]
    write_array(path, full, case.volume.grid, dtype=np.float32)


def _picture(
    case: VolumeCase, explainer: Explainer, region: str, scores: Sequence[MapScore]
) -> MapPicture:
    """The axial section with the most tumour, front of the head up."""
    maps = explainer.maps(case.image, case.aims, number=case.number)
    marked = np.asarray(case.aims[0]) if case.region is None else case.region
    section = int(np.argmax(marked.sum(axis=(0, 1))))
    first, second, _ = case.volume.spacing_mm
    mine = [score for score in scores if score.case_id == case.volume.case_id]
    return MapPicture(
        case_id=case.volume.case_id,
        words=f"{region}, axial section {case.start[2] + section}",
        image=case.image[0, :, :, section, 0].T,
        region=None if case.region is None else case.region[:, :, section].T,
        maps={name: values[0, :, :, section].T for name, values in maps.items()},
        scores={score.method: score.values.get("auroc", float("nan")) for score in mine},
        aspect=second / first,
    )
