"""A case in the browser: one HTML file with the scan, its segmentations and maps inside.

NiiVue draws slices and renderings with WebGL2; it and the volumes are in the page, which
loads nothing from elsewhere and needs no server.
"""

from __future__ import annotations

import base64
import dataclasses
import html
import json
import os
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.colors import to_hex

from brainjax.files import write_text
from brainjax.report.examples import MODALITY_NAMES
from brainjax.report.style import CSS
from brainjax.scans import Volume, brain_box, packed_array

CLASS_COLOURS = ("#000000", "#CC79A7", "#56B4E9", "#E69F00", "#009E73")
"""Of background (not drawn), necrosis, oedema, enhancing tumour and resection cavity: Okabe
and Ito's that stand out on grey."""

_LEVELS = 255
"""Grey levels and map levels; 0 is left for what is not drawn."""

_BRIGHTEST = 99.8
"""Percentile of the brain's intensities that is drawn white."""

_SURROUNDINGS = 2
"""Voxels kept around the brain."""

# The bundle is run as an inline script; its fonts and textures are data in it.
_POLICY = (
    "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; connect-src data:"
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelOverlay:
    """A segmentation over the scan.

    Attributes:
      name: as the page calls it.
      classes: uint8 `[D, H, W]`.
      class_names: the position being the class; 0 is not drawn.
      colours: of the classes, as ``#rrggbb``.
      shown: whether it is drawn when the page opens.
      outlined: whether only the edges of the classes are, at first.
    """

    name: str
    classes: np.ndarray
    class_names: Sequence[str]
    colours: Sequence[str] = CLASS_COLOURS
    shown: bool = True
    outlined: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class MapOverlay:
    """A map of real numbers over the scan, such as an attention map or a probability.

    Attributes:
      name: as the page calls it.
      values: `[D, H, W]`; what is not finite or not above the lower limit is not drawn.
      limits: lowest and highest value of the colour scale.
      shown: whether it is drawn when the page opens.
    """

    name: str
    values: np.ndarray
    limits: tuple[float, float]
    shown: bool = False


Overlay = LabelOverlay | MapOverlay


def write_viewer(
    path: str | os.PathLike[str], scan: Volume, overlays: Sequence[Overlay], *, note: str = ""
) -> Path:
    """Writes a page that shows a case in the browser, atomically.

    Volumes are cropped to the brain and stored in 8 bits, so that values under the crosshair
    are those of the file to within half a grey level.

    Args:
      path: where to, an ``.html`` file.
      scan: the case as read.
      overlays: on the scan's grid; drawn in this order, the last on top.
      note: a remark for the reader, such as the scores.

    Returns:
      The path.

    Raises:
      ValueError: an overlay is not on the scan's grid.
    """
    write_text(path, render_viewer(scan, overlays, note=note))
    return Path(path)


def render_viewer(scan: Volume, overlays: Sequence[Overlay], *, note: str = "") -> str:
    """The page of ``write_viewer`` as text."""
    box, affine = _crop(scan)
    told: dict[str, Any] = {"case": scan.case_id, "scans": [], "overlays": []}
    volumes = []
    for channel, modality in enumerate(scan.modalities):
        grey, values = _grey_levels(scan.image[..., channel][box])
        told["scans"].append({"name": MODALITY_NAMES.get(modality, modality), **values})
        volumes.append(packed_array(grey, affine))
    for overlay in overlays:
        stored, words = _stored(overlay, scan, box)
        told["overlays"].append(words)
        volumes.append(packed_array(stored, affine))
    told["focus"] = _focus(overlays, box, affine)
    return _page(scan.case_id, note, told, volumes)


def _crop(scan: Volume) -> tuple[tuple[slice, ...], np.ndarray]:
    """The brain's box with its surroundings, and the affine of its own indices."""
    box = tuple(
        slice(max(part.start - _SURROUNDINGS, 0), min(part.stop + _SURROUNDINGS, size))
        for part, size in zip(brain_box(scan.image), scan.image.shape[:3], strict=True)
    )
    affine = scan.affine.copy()
    affine[:3, 3] = affine[:3] @ [*(part.start for part in box), 1.0]
    return box, affine


def _grey_levels(image: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
    """Intensities as 1 to 255, 0 where there are none, and how to get them back."""
    brain = image != 0
    inside = image[brain]
    low, high = (float(inside.min()), float(np.percentile(inside, _BRIGHTEST))) if inside.size \
        else (0.0, 1.0)  # fmt: skip
    return _quantised(image, (low, high), drawn=brain)


def _stored(
    overlay: Overlay, scan: Volume, box: tuple[slice, ...]
) -> tuple[np.ndarray, dict[str, Any]]:
    """An overlay's voxels as uint8, and what the page has to know of it."""
    voxels = overlay.classes if isinstance(overlay, LabelOverlay) else overlay.values
    if voxels.shape != scan.image.shape[:3]:
        raise ValueError(
            f"overlay {overlay.name!r} of shape {voxels.shape} does not fit a scan of "
            f"{scan.image.shape[:3]}"
        )
    words: dict[str, Any] = {"name": overlay.name, "shown": overlay.shown}
    if isinstance(overlay, LabelOverlay):
        classes = [
            {"name": name, "colour": colour}
            for name, colour in zip(overlay.class_names, overlay.colours, strict=False)
        ]
        words |= {"classes": classes, "outlined": overlay.outlined}
        return voxels[box].astype(np.uint8), words
    values = np.nan_to_num(voxels[box].astype(np.float32), nan=-np.inf)
    stored, levels = _quantised(values, overlay.limits, drawn=values > overlay.limits[0])
    colours = matplotlib.colormaps["inferno"](np.linspace(0.15, 1.0, 9))
    return stored, words | levels | {
        "limits": list(overlay.limits),
        "colours": [to_hex(colour) for colour in colours],
    }


def _quantised(
    values: np.ndarray, limits: tuple[float, float], *, drawn: np.ndarray
) -> tuple[np.ndarray, dict[str, Any]]:
    """Values between limits as 1 to 255, 0 where not drawn; ``offset + scale * level`` are they."""
    low, high = limits
    scale = (high - low) / (_LEVELS - 1) if high > low else 1.0
    levels = np.clip(np.rint((values - low) / scale), 0, _LEVELS - 1) + 1
    words = {"scale": scale, "offset": low - scale, "clipped": bool((values[drawn] > high).any())}
    return np.where(drawn, levels, 0).astype(np.uint8), words


def _focus(
    overlays: Sequence[Overlay], box: tuple[slice, ...], affine: np.ndarray
) -> list[float] | None:
    """Where the crosshair begins, RAS+ mm: in the largest axial slice of the first tumour."""
    for overlay in overlays:
        if isinstance(overlay, LabelOverlay) and (tumour := overlay.classes[box] > 0).any():
            level = int(tumour.sum(axis=(0, 1)).argmax())
            places = np.argwhere(tumour[:, :, level])
            nearest = places[np.square(places - places.mean(axis=0)).sum(axis=1).argmin()]
            return (affine[:3] @ [*nearest, level, 1.0]).tolist()
    return None


def _page(case_id: str, note: str, told: Mapping[str, Any], volumes: Sequence[bytes]) -> str:
    title = html.escape(f"{case_id}: viewer")
    remark = f'<p class="note">{html.escape(note)}</p>' if note else ""
    # A script element ends at the first "</", whatever its type.
    words = json.dumps(told, allow_nan=False).replace("<", "\\u003c")
    parts = [
        f'<script type="application/json" id="case">{words}</script>',
        *(_data(f"volume-{number}", volume) for number, volume in enumerate(volumes)),
        _data("niivue", _asset("niivue.umd.js.gz")),
        f"<script>{_asset('viewer.js').decode()}</script>",
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f"<title>{title}</title><style>{CSS}{_asset('viewer.css').decode()}</style></head><body>"
        f"<header><h1>{html.escape(case_id)}</h1>{remark}</header>"
        f"{_asset('viewer.html').decode()}{''.join(parts)}</body></html>\n"
    )


def _data(name: str, content: bytes) -> str:
    packed = base64.b64encode(content).decode()
    return f'<script type="application/gzip" id="{name}">{packed}</script>'


def _asset(name: str) -> bytes:
    return resources.files("brainjax.report").joinpath("assets", name).read_bytes()
