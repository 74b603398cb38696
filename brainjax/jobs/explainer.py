"""Maps of one trained network, scored and checked, whatever its task."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.ndimage import gaussian_filter

from brainjax.evaluation import (
    MapScore,
    centre_map,
    insertion_deletion,
    rank_correlation,
    score_localization,
    structural_similarity,
)
from brainjax.experiment.explain_options import ExplainOptions
from brainjax.explain import METHODS, MethodOptions, layers_in_order, randomisation_cascade
from brainjax.training import ProgressPrinter

Variables = Mapping[str, Any]
Maps = dict[str, np.ndarray]
CASCADE_STEPS = 8
BLUR = 0.06
"""Standard deviation of the image that insertion starts from, as a share of each side."""


class Explainer:
    """A network's maps by every chosen method.

    Each method is compiled once; variables are an argument, so that a network made random
    costs no compilation.
    """

    def __init__(
        self,
        options: ExplainOptions,
        *,
        target_of: Callable[[Variables], Callable[[jax.Array, Any], jax.Array]],
        probability: Callable[[Variables, jax.Array, Any], jax.Array],
        variables: Variables,
        layer: str,
    ) -> None:
        """Compiles nothing yet.

        Args:
          options: the section ``explain``.
          target_of: makes the target (see ``explain.targets``) of a network's variables.
          probability: `(variables, images [N, *spatial, C], aims) -> [N]`, what insertion and
            deletion follow.
          variables: of the trained network.
          layer: of Grad-CAM where the options name none.
        """
        self.options, self.variables = options, variables
        self._target_of = target_of
        self._probability = jax.jit(probability)
        self._methods = MethodOptions(
            samples=options.samples, noise=options.noise, steps=options.steps,
            layer=options.layer or layer, window=options.window, stride=options.window / 2,
            chunk=options.chunk,
        )  # fmt: skip
        self._compiled = {
            name: jax.jit(functools.partial(self._map, name)) for name in options.chosen_methods
        }

    def _map(
        self, name: str, variables: Variables, images: jax.Array, aims: Any, key: jax.Array
    ) -> jax.Array:
        return METHODS[name](self._target_of(variables), images, aims, key, self._methods)

    def maps(
        self, images: np.ndarray, aims: Any, *, number: int, variables: Variables | None = None
    ) -> Maps:
        """Every method's maps [N, *spatial] of images [N, *spatial, C].

        Args:
          images: f32.
          aims: of each, see ``explain.targets``.
          number: of the first image in the data set; the noise depends on it.
          variables: of another network, such as one made random.
        """
        key = jax.random.fold_in(jax.random.key(self.options.seed), number)
        chosen = self.variables if variables is None else variables
        # Waiting for the copy, as in ``place_batch``.
        on_device = jnp.asarray(images).block_until_ready()
        return {
            name: np.asarray(compiled(chosen, on_device, aims, key))
            for name, compiled in self._compiled.items()
        }

    def score(
        self,
        case_id: str,
        patient_id: str,
        image: np.ndarray,
        aim: Any,
        region: np.ndarray | None,
        maps: Maps,
        *,
        spacing: tuple[float, ...] | None = None,
    ) -> list[MapScore]:
        """Scores the maps of one case and those of the baselines.

        Args:
          case_id: the case.
          patient_id: empty where not known.
          image: [*spatial, C].
          aim: of this image, without a first axis.
          region: bool [*spatial], or None: then only the curves are scored.
          maps: method to [*spatial].
          spacing: of the pixels, in the unit of distances.
        """
        spatial = image.shape[:-1]
        unit = spacing or (1.0,) * len(spatial)
        tolerance = self.options.tolerance * max(np.multiply(spatial, unit))
        baselines = {
            "uniform": np.ones(spatial),
            "centre": centre_map(spatial),
            "intensity": np.abs(image).sum(axis=-1),
        }
        aims = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], aim)
        sigma = [BLUR * size for size in spatial]
        blurred = gaussian_filter(image, [*sigma, 0])
        rows = []
        for method, values in {**maps, **baselines}.items():
            found: dict[str, float] = {}
            finite = bool(np.isfinite(values).all())
            flat = finite and bool(values.max() == values.min())
            if region is not None:
                score = score_localization(values, region, tolerance=tolerance, spacing=spacing)
                names = ("saliency_share", "area_share", "ratio", "pointing", "auroc")
                found = {name: getattr(score, name) for name in names}
            if self.options.curve_steps and finite:
                areas = insertion_deletion(
                    functools.partial(self._follow, aims), image, values,
                    deleted=np.zeros_like(image),
                    inserted_into=blurred, steps=self.options.curve_steps, seed=self.options.seed,
                )  # fmt: skip
                found |= dict(zip(("insertion", "deletion"), areas, strict=True))
            rows.append(
                MapScore(
                    case_id=case_id, patient_id=patient_id, method=method, values=found,
                    finite=finite, flat=flat,
                )
            )  # fmt: skip
        return rows

    def _follow(self, aims: Any, images: np.ndarray) -> np.ndarray:
        size = min(self.options.chunk, len(images))
        found = []
        for start in range(0, len(images), size):
            piece = images[start : start + size]
            filled = np.concatenate([piece, np.repeat(piece[:1], size - len(piece), axis=0)])
            repeated = jax.tree.map(lambda a: jnp.broadcast_to(a, (size, *a.shape[1:])), aims)
            scores = self._probability(self.variables, jnp.asarray(filled), repeated)
            found.append(np.asarray(scores)[: len(piece)])
        return np.concatenate(found)

    def cascade(
        self,
        apply: Callable[[Variables, jax.Array], Any],
        random: Variables,
        cases: Sequence[tuple[int, np.ndarray, Any]],
    ) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, float]]]:
        """How alike the maps stay while the network becomes random from the output down.

        Args:
          apply: the network, ``apply(variables, images)``.
          random: its variables before training.
          cases: number, images [N, *spatial, C] and aims of each batch.

        Returns:
          Mean rank correlation and mean structural similarity, by method and layer.
        """
        layers = layers_in_order(apply, self.variables, jnp.asarray(cases[0][1]))
        steps = list(randomisation_cascade(self.variables, random, layers))
        kept = np.unique(np.linspace(0, len(steps) - 1, CASCADE_STEPS).round().astype(int))
        before = [self.maps(images, aims, number=number) for number, images, aims in cases]
        progress = ProgressPrinter("randomised", unit="layers")
        ranks: dict[str, dict[str, float]] = {name: {} for name in self._compiled}
        ssims: dict[str, dict[str, float]] = {name: {} for name in self._compiled}
        for done, step in enumerate(kept, start=1):
            layer, variables = steps[step]
            found = self.likeness(variables, cases, before)
            for name, (rank, ssim) in found.items():
                ranks[name][layer], ssims[name][layer] = rank, ssim
            progress(done, len(kept))
        return ranks, ssims

    def likeness(
        self,
        variables: Variables,
        cases: Sequence[tuple[int, np.ndarray, Any]],
        before: Sequence[Maps],
    ) -> dict[str, tuple[float, float]]:
        """Mean rank correlation and structural similarity of another network's maps, by method.

        A map that is flat in one of the networks is as unlike as can be: it counts 0.
        """
        pairs: dict[str, list[tuple[float, float]]] = {name: [] for name in self._compiled}
        for (number, images, aims), known in zip(cases, before, strict=True):
            after = self.maps(images, aims, number=number, variables=variables)
            for name in pairs:
                for first, second in zip(known[name], after[name], strict=True):
                    pair = (rank_correlation(first, second), structural_similarity(first, second))
                    pairs[name].append(pair)
        return {
            name: tuple(float(mean) for mean in np.nan_to_num(np.array(values)).mean(axis=0))  # type: ignore[misc]
            for name, values in pairs.items()
        }
