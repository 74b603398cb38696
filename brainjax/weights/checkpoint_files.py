"""Reads ``.safetensors`` and PyTorch's ``.pth`` files without running what is in them.

A ``.pth`` file is a zip archive with a pickle, and a pickle can call anything. The
reader here knows the handful of names that tensors need and refuses every other one,
so that PyTorch is not needed and nothing foreign is run.
"""

from __future__ import annotations

import collections
import io
import math
import pickle
import zipfile
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import safetensors
import safetensors.numpy

from brainjax.errors import InputError

NESTS = ("state_dict", "model_state_dict", "model", "net")
MAX_PICKLE_BYTES = 64 * 2**20  # real ones hold names and shapes only: some 100 kB
STORAGE_TYPES: dict[str, Any] = {
    "DoubleStorage": np.float64,
    "FloatStorage": np.float32,
    "HalfStorage": np.float16,
    "BFloat16Storage": ml_dtypes.bfloat16,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "ShortStorage": np.int16,
    "CharStorage": np.int8,
    "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
}


def load_tensors(path: str | Path) -> dict[str, np.ndarray]:
    """Reads the named tensors of a checkpoint.

    A mapping nested under ``state_dict``, ``model_state_dict``, ``model`` or ``net``
    is found, and the prefix ``module.`` of data-parallel training is taken off.

    Args:
      path: a ``.safetensors``, ``.pth`` or ``.pt`` file.

    Raises:
      InputError: the file is missing, damaged, of another kind, holds no tensors, or
        its pickle names anything that tensors do not need.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such checkpoint file")
    if path.suffix == ".safetensors":
        arrays = _read_safetensors(path)
    elif path.suffix in (".pth", ".pt"):
        arrays = _read_torch(path)
    else:
        raise InputError(
            f"{path}: expected .safetensors, .pth or .pt, found {path.suffix or 'no suffix'}"
        )
    if not arrays:
        raise InputError(f"{path}: holds no mapping of names to tensors")
    return {name.removeprefix("module."): array for name, array in arrays.items()}


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    try:
        return safetensors.numpy.load_file(path)
    except (safetensors.SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not a readable safetensors file: {_one_line(error)}") from error


def _read_torch(path: Path) -> dict[str, np.ndarray]:
    try:
        with zipfile.ZipFile(path) as archive:
            content = _Archive(path, archive).read()
            return {name: tensor.array() for name, tensor in _find_tensors(content).items()}
    except InputError:
        raise
    except zipfile.BadZipFile as error:
        raise InputError(
            f"{path}: expected a PyTorch file (a zip archive since PyTorch 1.6), found something "
            "else or a damaged one; save it again with a newer PyTorch or as .safetensors"
        ) from error
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise InputError(f"{path}: not a readable PyTorch file: {_one_line(error)}") from error


def _find_tensors(content: Any) -> dict[str, _Tensor]:
    """The mapping of names to tensors, which may lie under one of the usual names."""
    if not isinstance(content, dict):
        return {}
    nested = (content[nest] for nest in NESTS if isinstance(content.get(nest), dict))
    mapping = next(nested, content)
    return {str(name): value for name, value in mapping.items() if isinstance(value, _Tensor)}


class _Archive:
    """An open PyTorch archive: one pickle, one file per storage of numbers."""

    def __init__(self, path: Path, archive: zipfile.ZipFile):
        self.path = path
        self.archive = archive
        members = [info for info in archive.infolist() if info.filename.endswith("/data.pkl")]
        if len(members) != 1:
            raise InputError(f"{path}: expected one data.pkl in the archive, found {len(members)}")
        self.pickle = members[0]
        self.folder = self.pickle.filename.removesuffix("data.pkl")
        self.byte_order = "<"
        if f"{self.folder}byteorder" in archive.namelist():
            order = self.member("byteorder", 16)
            self.byte_order = ">" if order == b"big" else "<"

    def read(self) -> Any:
        content = self.member("data.pkl", MAX_PICKLE_BYTES)
        return _Unpickler(content, self).load()

    def member(self, name: str, max_bytes: int) -> bytes:
        """The bytes of a member that is stored as it is and not larger than allowed."""
        info = self.archive.getinfo(self.folder + name)
        if info.compress_type != zipfile.ZIP_STORED or info.file_size > max_bytes:
            raise InputError(
                f"{self.path}: {info.filename} declares {info.file_size} bytes; expected at most "
                f"{max_bytes}, not compressed, as PyTorch writes them"
            )
        return self.archive.read(info)


class _Unpickler(pickle.Unpickler):
    """Knows the names that a pickle of tensors needs, and no other."""

    def __init__(self, content: bytes, archive: _Archive):
        super().__init__(io.BytesIO(content), encoding="utf-8")
        self.archive = archive

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _RebuildTensor()
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return _RebuildParameter()
        if module == "torch" and name in STORAGE_TYPES:
            return _StorageType(name)
        raise InputError(
            f"{self.archive.path}: its pickle asks for {module}.{name}, which tensors do not "
            "need; refused. If you trust the file, save its state_dict as .safetensors"
        )

    def persistent_load(self, identifier: Any) -> _Storage:
        kind, storage_type, key, _, count = identifier
        if kind != "storage" or not isinstance(storage_type, _StorageType):
            raise InputError(f"{self.archive.path}: unknown reference {kind!r} in its pickle")
        return _Storage(self.archive, storage_type.name, str(key), int(count))


# What the pickle gets its hands on has no attributes that it could set.
class _StorageType(str):
    __slots__ = ()

    @property
    def name(self) -> str:
        return str(self)


class _Storage:
    """A run of numbers in the archive, read when asked for."""

    __slots__ = ("_archive", "_count", "_key", "_name")

    def __init__(self, archive: _Archive, name: str, key: str, count: int):
        self._archive, self._name, self._key, self._count = archive, name, key, count

    def numbers(self) -> np.ndarray:
        dtype = np.dtype(STORAGE_TYPES[self._name])
        content = self._archive.member(f"data/{self._key}", self._count * dtype.itemsize)
        if len(content) != self._count * dtype.itemsize:
            raise InputError(
                f"{self._archive.path}: data/{self._key} holds {len(content)} bytes, "
                f"expected {self._count * dtype.itemsize}: truncated?"
            )
        ordered = np.dtype(f"{self._archive.byte_order}u{dtype.itemsize}")
        native = np.frombuffer(content, ordered).astype(ordered.newbyteorder("="))
        return native.view(dtype)


class _Tensor:
    """Shape and strides over a storage, which is read when asked for."""

    __slots__ = ("_offset", "_shape", "_storage", "_strides")

    def __init__(self, storage: _Storage, offset: int, shape: Any, strides: Any):
        self._storage, self._offset = storage, int(offset)
        self._shape = tuple(int(size) for size in shape)
        self._strides = tuple(int(stride) for stride in strides)

    def array(self) -> np.ndarray:
        numbers = self._storage.numbers()
        last = self._offset + sum(
            (size - 1) * stride for size, stride in zip(self._shape, self._strides, strict=True)
        )
        count = math.prod(self._shape)
        sound = (
            min((self._offset, *self._shape, *self._strides)) >= 0
            and count <= numbers.size
            and (count == 0 or last < numbers.size)
        )
        if not sound:
            raise ValueError(f"a tensor of shape {self._shape} does not lie in its storage")
        if count == 0:
            return np.zeros(self._shape, numbers.dtype)
        strides = tuple(stride * numbers.itemsize for stride in self._strides)
        view = np.lib.stride_tricks.as_strided(numbers[self._offset :], self._shape, strides)
        return view.copy()


class _RebuildTensor:
    __slots__ = ()

    def __call__(self, storage: Any, offset: int, shape: Any, strides: Any, *_: Any) -> _Tensor:
        if not isinstance(storage, _Storage):
            raise ValueError("a tensor without storage")
        return _Tensor(storage, offset, shape, strides)


class _RebuildParameter:
    __slots__ = ()

    def __call__(self, tensor: Any, *_: Any) -> Any:
        return tensor


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
