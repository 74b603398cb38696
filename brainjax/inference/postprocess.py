"""From probabilities to labels, and the rules that challenges' entries apply to them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from brainjax.errors import InputError
from brainjax.scans.labels import painted_regions


@dataclass(frozen=True, kw_only=True)
class PostprocessOptions:
    """What is done to predicted labels; nothing by default.

    Attributes:
      small_enhancing_voxels: if a case has fewer enhancing voxels than this, all
        of them become necrosis. A case without enhancing tumour scores Dice 0
        for a single false voxel, so the released CGA code uses 500. 0 is off.
      largest_component: keep only the largest connected piece of whole tumour.
      minimum_component_voxels: remove pieces of whole tumour smaller than this.
      tumour_classes: the classes of whole tumour.
      enhancing_class: the class of enhancing tumour.
      necrosis_class: the class that small enhancing tumour becomes.
    """

    small_enhancing_voxels: int = 0
    largest_component: bool = False
    minimum_component_voxels: int = 0
    tumour_classes: tuple[int, ...] = (1, 2, 3)
    enhancing_class: int = 3
    necrosis_class: int = 1

    def __post_init__(self) -> None:
        for name, value in (
            ("small_enhancing_voxels", self.small_enhancing_voxels),
            ("minimum_component_voxels", self.minimum_component_voxels),
        ):
            if value < 0:
                raise InputError(f"{name}: expected 0 (off) or a number of voxels, found {value}")


def labels_from_probabilities(probabilities: np.ndarray, *, regions: bool = False) -> np.ndarray:
    """Returns the most probable class of every voxel, or the class that regions leave visible.

    Args:
      probabilities: of classes, `[..., K]`; of equal ones the first wins.
      regions: whether they are of regions instead, `[..., 1 + R]`, as ``predict_step`` gives
        them. A voxel is in a region whose probability is above one half; whole tumour is
        oedema, over it the core is necrosis, and over that enhancing tumour
        (``scans.labels.PAINTED``), whether or not the regions lie in one another.

    Returns:
      `[...]` uint8.

    >>> labels_from_probabilities(np.array([[0.2, 0.8, 0.0], [0.4, 0.3, 0.3]]))
    array([1, 0], dtype=uint8)
    >>> found = np.array([[0.1, 0.9, 0.4, 0.1], [0.1, 0.9, 0.8, 0.4], [0.3, 0.7, 0.1, 0.6]])
    >>> labels_from_probabilities(found, regions=True)
    array([2, 1, 3], dtype=uint8)
    """
    if not regions:
        return np.argmax(probabilities, axis=-1).astype(np.uint8)
    labels = np.zeros(probabilities.shape[:-1], np.uint8)
    for channel, (_, painted) in enumerate(painted_regions(), start=1):
        labels[probabilities[..., channel] > 0.5] = painted
    return labels


def postprocess(labels: np.ndarray, options: PostprocessOptions) -> np.ndarray:
    """Applies the rules of ``options``: components first, then small enhancing tumour.

    Enhancing voxels of removed components therefore do not count towards the
    threshold.

    Args:
      labels: classes `[D, H, W]` uint8; not changed.
      options: which rules.

    Returns:
      Classes `[D, H, W]` uint8.
    """
    if options.minimum_component_voxels > 1:
        labels = remove_small_components(
            labels,
            minimum_voxels=options.minimum_component_voxels,
            tumour_classes=options.tumour_classes,
        )
    if options.largest_component:
        labels = keep_largest_component(labels, tumour_classes=options.tumour_classes)
    return relabel_small_enhancing(
        labels,
        fewer_than=options.small_enhancing_voxels,
        enhancing_class=options.enhancing_class,
        necrosis_class=options.necrosis_class,
    )


def relabel_small_enhancing(
    labels: np.ndarray, *, fewer_than: int, enhancing_class: int = 3, necrosis_class: int = 1
) -> np.ndarray:
    """Calls enhancing tumour necrosis where the whole case has less than a threshold.

    Args:
      labels: classes `[D, H, W]`; not changed.
      fewer_than: voxels; a case with exactly this many keeps them.
      enhancing_class: class to count.
      necrosis_class: class that replaces it.

    >>> relabel_small_enhancing(np.array([0, 2, 3, 3], np.uint8), fewer_than=3)
    array([0, 2, 1, 1], dtype=uint8)
    >>> relabel_small_enhancing(np.array([0, 2, 3, 3], np.uint8), fewer_than=2)
    array([0, 2, 3, 3], dtype=uint8)
    """
    enhancing = labels == enhancing_class
    if np.count_nonzero(enhancing) >= fewer_than:
        return labels.copy()
    return np.where(enhancing, labels.dtype.type(necrosis_class), labels)


def keep_largest_component(
    labels: np.ndarray, *, tumour_classes: tuple[int, ...] = (1, 2, 3)
) -> np.ndarray:
    """Removes every piece of whole tumour but the largest.

    Voxels that touch by a face, edge or corner are connected (26 neighbours). Of
    equally large pieces the first in array order stays. Classes that are not in
    ``tumour_classes`` are left alone.

    Args:
      labels: classes `[D, H, W]`; not changed.
      tumour_classes: classes that make up whole tumour.
    """
    components, sizes = _components(labels, tumour_classes)
    keep = np.zeros(sizes.size, bool)
    if sizes.size > 1:
        keep[1 + np.argmax(sizes[1:])] = True
    return _without(labels, components, keep)


def remove_small_components(
    labels: np.ndarray, *, minimum_voxels: int, tumour_classes: tuple[int, ...] = (1, 2, 3)
) -> np.ndarray:
    """Removes pieces of whole tumour with fewer than ``minimum_voxels`` voxels.

    Connectivity and arguments are those of ``keep_largest_component``.
    """
    components, sizes = _components(labels, tumour_classes)
    return _without(labels, components, sizes >= minimum_voxels)


def _components(
    labels: np.ndarray, tumour_classes: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Returns numbered pieces `[D, H, W]` (0: none) and the voxels of each number."""
    tumour = np.isin(labels, tumour_classes)
    components, _ = ndimage.label(tumour, structure=np.ones((3, 3, 3), bool))
    return components, np.bincount(components.ravel(), minlength=1)


def _without(labels: np.ndarray, components: np.ndarray, keep: np.ndarray) -> np.ndarray:
    keep[0] = True  # number 0 is everything that is not tumour
    return np.where(keep[components], labels, labels.dtype.type(0))
