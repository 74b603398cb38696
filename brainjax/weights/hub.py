"""Pretrained weights by path or by name: found, fetched, checked by hash, kept.

torchvision's files come from PyTorch's server into a folder of our own; timm's come
through ``huggingface_hub`` (the extra ``hub``) into its own cache. Nothing here loads
what it fetched: see ``load_tensors``.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import re
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from brainjax.errors import InputError, require
from brainjax.files import atomic_path

TORCHVISION_URL = "https://download.pytorch.org/models/"
TIMM_FILE = "model.safetensors"
TIMEOUT_SECONDS = 30.0
MEGABYTE = 2**20

# The public names of torchvision's files; the digits are the start of their sha256.
TORCHVISION = {
    "resnet18": "resnet18-f37072fd.pth",
    "resnet34": "resnet34-b627a593.pth",
    "resnet50": "resnet50-0676ba61.pth",
    "resnet50_v2": "resnet50-11ad3fa6.pth",
    "resnet101": "resnet101-63fe2227.pth",
    "resnet101_v2": "resnet101-cd907fc2.pth",
    "resnet152": "resnet152-394f9c45.pth",
    "resnet152_v2": "resnet152-f82ba261.pth",
    "vgg11": "vgg11-8a719046.pth",
    "vgg13": "vgg13-19584684.pth",
    "vgg16": "vgg16-397923af.pth",
    "vgg19": "vgg19-dcbb9e9d.pth",
    "vgg11_bn": "vgg11_bn-6002323d.pth",
    "vgg13_bn": "vgg13_bn-abd245e5.pth",
    "vgg16_bn": "vgg16_bn-6c64b313.pth",
    "vgg19_bn": "vgg19_bn-c79401a0.pth",
    "densenet121": "densenet121-a639ec97.pth",
}
# timm's repositories on the Hugging Face hub, each with a ``model.safetensors``.
TIMM = (
    *(
        f"resnet{depth}.{tag}_in1k"
        for depth in (18, 34, 50, 101, 152)
        for tag in ("tv", "a1", "a2", "a3", "gluon")
    ),
    *(f"resnet{depth}.tv2_in1k" for depth in (50, 101, 152)),
    *(f"resnet{depth}.fb_swsl_ig1b_ft_in1k" for depth in (18, 50)),
    *(f"vgg{depth}{norm}.tv_in1k" for depth in (11, 13, 16, 19) for norm in ("", "_bn")),
    "densenet121.tv_in1k",
    "densenet121.ra_in1k",
)
# Each known name with the file that it stands for.
KNOWN = {
    **{f"torchvision/{name}": file for name, file in TORCHVISION.items()},
    **{f"timm/{name}": TIMM_FILE for name in TIMM},
}

Progress = Callable[[int, int], None]


def fetch_weights(
    name: str | Path, *, cache: Path, sha256: str = "", progress: Progress | None = None
) -> Path:
    """The file of pretrained weights that a path or a name stands for.

    A file that exists is used as it is. A name of torchvision (``torchvision/resnet18``)
    or of timm on the Hugging Face hub (``timm/resnet18.tv_in1k``, or any other of its
    repositories) is looked up in ``cache/weights`` first, then fetched.

    Args:
      name: a path, or one of ``KNOWN``.
      cache: brainjax's cache folder; torchvision's files are kept below it.
      sha256: what the file's hash has to be, or its first eight digits or more;
        torchvision's names hold theirs.
      progress: called with (megabytes so far, megabytes in all) while torchvision's
        file arrives; in all is 0 where the server does not say.

    Returns:
      Path of a ``.pth`` or ``.safetensors`` file.

    Raises:
      InputError: nothing has that name, the hash differs, or the file is not here and
        cannot be fetched; says where to put it by hand.
    """
    if sha256 and not re.fullmatch(r"[0-9a-fA-F]{8,64}", sha256):
        raise InputError(f"sha256: expected 8 to 64 hexadecimal digits, found {sha256!r}")
    path = Path(name).expanduser()
    text = str(name)
    if path.is_file():
        _check(path, sha256)
        return path
    source, _, short = text.partition("/")
    if text.startswith("timm/") and re.fullmatch(r"[\w.\-]+", short):
        path = _from_hub(text, cache / "weights" / f"{text}.safetensors")
        _check(path, sha256)
        return path
    if text not in KNOWN:
        known = ", ".join(TORCHVISION)
        raise InputError(
            f"{text}: no such file, and no known weights: expected a path to a .safetensors or "
            f".pth file, timm/<name on the Hugging Face hub>, or torchvision/ and one of {known}"
        )
    place = cache / "weights" / source / KNOWN[text]
    digits = place.stem.rpartition("-")[2]
    if not place.is_file() or not _digest(place).startswith(digits):
        _download(text, place, digits, progress)
    _check(place, sha256)
    return place


def _from_hub(name: str, place: Path) -> Path:
    """The safetensors file of a timm repository, from ``place`` or through the hub's cache."""
    if place.is_file():
        return place
    hub = require("huggingface_hub", extra="hub", purpose=f"fetching {name}")
    with contextlib.suppress(Exception):  # a copy of its own needs no network
        return Path(hub.hf_hub_download(name, TIMM_FILE, local_files_only=True))
    try:
        return Path(hub.hf_hub_download(name, TIMM_FILE))
    except Exception as error:  # offline, refused, unknown: each has its own class there
        raise InputError(
            f"{name}: {TIMM_FILE} cannot be fetched from the Hugging Face hub "
            f"({_one_line(error)}); without a network, get it from "
            f"https://huggingface.co/{name}/resolve/main/{TIMM_FILE}, save it as {place}, "
            "or give its path in place of the name"
        ) from error


def _download(name: str, place: Path, digits: str, progress: Progress | None) -> None:
    """Fetches a file of torchvision's to ``place``, whole and with the right hash or not at all."""
    url = TORCHVISION_URL + place.name
    by_hand = (
        f"without a network, get {url}, save it as {place}, or give its path in place of the name"
    )
    try:
        with atomic_path(place) as temporary:
            found = _receive(url, temporary, progress)
            if not found.startswith(digits):
                raise InputError(
                    f"{name}: what {url} sent has the sha256 {found[:16]}..., expected "
                    f"{digits}...; nothing was kept; try again, or {by_hand}"
                )
    except InputError:
        raise
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()
        raise InputError(f"{name}: cannot be fetched ({_one_line(error)}); {by_hand}") from error


def _receive(url: str, path: Path, progress: Progress | None) -> str:
    """Writes what ``url`` sends and returns its sha256."""
    digest = hashlib.sha256()
    done = 0
    request = urllib.request.Request(url, headers={"User-Agent": "brainjax"})
    with (
        urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response,
        path.open("wb") as file,
    ):
        total = int(response.headers.get("Content-Length") or 0)
        while chunk := response.read(MEGABYTE):
            file.write(chunk)
            digest.update(chunk)
            done += len(chunk)
            if progress is not None:
                progress(done // MEGABYTE, total // MEGABYTE)
    if total and done != total:
        raise http.client.HTTPException(f"the connection ended after {done} of {total} bytes")
    return digest.hexdigest()


def _check(path: Path, sha256: str) -> None:
    if not sha256:
        return
    found = _digest(path)
    if not found.startswith(sha256.lower()):
        raise InputError(
            f"{path}: its sha256 is {found}, expected {sha256.lower()}: another file, or a damaged "
            "one; fetch it again or correct the hash"
        )


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _one_line(error: Any) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"the server answered {error.code} {error.reason}"
    reason = getattr(error, "reason", None) or error
    text = " ".join(str(reason).split()) or type(error).__name__
    return text if len(text) <= 200 else text[:197] + "..."
