"""Reads ``.safetensors`` and PyTorch's ``.pth`` files without running what is in them.

A ``.pth`` file is a zip archive with a pickle, and a pickle can call anything. The
reader here knows the handful of names that tensors need and refuses every other one,
so that PyTorch is not needed and nothing foreign is run.
"""

from __future__ import annotations

import collections
import io
import math
import os
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np
import safetensors
import safetensors.numpy

from brainjax.errors import InputError

NESTS = ("state_dict", "model_state_dict", "model", "net")
MAX_PICKLE_BYTES = 64 * 2**20  # real ones hold names and shapes only: some 100 kB
OLD_MAGIC = 0x1950A86A20F9469CFC6C  # of files before PyTorch 1.6, as is OLD_PROTOCOL
OLD_PROTOCOL = 1001
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
        if not zipfile.is_zipfile(path):
            with path.open("rb") as file:
                return _arrays(_OldFile(path, file).read())
        with zipfile.ZipFile(path) as archive:
            return _arrays(_Archive(path, archive).read())
    except InputError:
        raise
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise InputError(f"{path}: not a readable PyTorch file: {_one_line(error)}") from error


def _arrays(content: Any) -> dict[str, np.ndarray]:
    return {name: tensor.array() for name, tensor in _find_tensors(content).items()}


def _find_tensors(content: Any) -> dict[str, _Tensor]:
    """The mapping of names to tensors, which may lie under one of the usual names."""
    if not isinstance(content, dict):
        return {}
    nested = (content[nest] for nest in NESTS if isinstance(content.get(nest), dict))
    mapping = next(nested, content)
    tensors = {
        str(name): value.tensor if isinstance(value, _Parameter) else value
        for name, value in mapping.items()
    }
    return {name: value for name, value in tensors.items() if isinstance(value, _Tensor)}


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
        return _Unpickler(io.BytesIO(content), self).load()

    def member(self, name: str, max_bytes: int) -> bytes:
        """The bytes of a member that is stored as it is and not larger than allowed."""
        info = self.archive.getinfo(self.folder + name)
        if info.compress_type != zipfile.ZIP_STORED or info.file_size > max_bytes:
            raise InputError(
                f"{self.path}: {info.filename} declares {info.file_size} bytes; expected at most "
                f"{max_bytes}, not compressed, as PyTorch writes them"
            )
        return self.archive.read(info)


class _OldFile:
    """An open file of the format before PyTorch 1.6, as torchvision's VGGs and DenseNets are.

    Five pickles (a number, the protocol, the machine, the tensors, the storages' names),
    then the storages one after the other, each with its count in front.
    """

    def __init__(self, path: Path, file: BinaryIO):
        self.path = path
        self.file = file
        self.byte_order = "<"
        self.places: dict[str, int] = {}

    def read(self) -> Any:
        stream = io.BytesIO(self.file.read(MAX_PICKLE_BYTES))
        try:
            known = _Unpickler(stream, self).load() == OLD_MAGIC
            known = known and _Unpickler(stream, self).load() == OLD_PROTOCOL
        except (pickle.UnpicklingError, EOFError, UnicodeDecodeError):
            known = False
        if not known:
            raise InputError(
                f"{self.path}: expected a PyTorch file, found something else or a damaged one; "
                "save it again with a newer PyTorch or as .safetensors"
            )
        machine = _Unpickler(stream, self).load()
        self.byte_order = "<" if machine["little_endian"] else ">"
        unpickler = _Unpickler(stream, self)
        content = unpickler.load()
        names = _Unpickler(stream, self).load()
        place = stream.tell()
        end = os.fstat(self.file.fileno()).st_size
        for name in names:
            self.file.seek(place)
            (count,) = struct.unpack(f"{self.byte_order}q", self.file.read(8))
            expected, size = unpickler.storages.get(str(name), (count, 0))
            if count != expected or place + 8 + count * size > end:
                raise InputError(
                    f"{self.path}: storage {name} has {count} numbers, expected {expected} within "
                    f"{end} bytes: damaged"
                )
            self.places[str(name)] = place + 8
            place += 8 + count * size
        return content

    def member(self, name: str, max_bytes: int) -> bytes:
        """The bytes of a storage."""
        self.file.seek(self.places[name.removeprefix("data/")])
        return self.file.read(max_bytes)


class _Unpickler(pickle.Unpickler):
    """Knows the names that a pickle of tensors needs, and no other."""

    def __init__(self, stream: BinaryIO, archive: _Archive | _OldFile):
        super().__init__(stream, encoding="utf-8")
        self.archive = archive
        self.storages: dict[str, tuple[int, int]] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if module == "torch._utils" and name in ("_rebuild_tensor_v2", "_rebuild_tensor"):
            return _RebuildTensor()
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return _RebuildParameter()
        if (module, name) == ("torch.nn.parameter", "Parameter"):  # of 2017
            return _Parameter
        if module == "torch" and name in STORAGE_TYPES:
            return _StorageType(name)
        raise InputError(
            f"{self.archive.path}: its pickle asks for {module}.{name}, which tensors do not "
            "need; refused. If you trust the file, save its state_dict as .safetensors"
        )

    def persistent_load(self, identifier: Any) -> _Storage:
        kind, storage_type, key, _, count, *view = identifier  # old files may have views
        if kind != "storage" or not isinstance(storage_type, _StorageType) or any(view):
            raise InputError(f"{self.archive.path}: unknown reference {kind!r} in its pickle")
        self.storages[str(key)] = int(count), np.dtype(STORAGE_TYPES[storage_type.name]).itemsize
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

    def __init__(self, archive: _Archive | _OldFile, name: str, key: str, count: int):
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


class _Parameter:
    """A tensor in its wrapper of 2017, whose state (wants a gradient or not) is left out."""

    __slots__ = ("tensor",)

    def __init__(self, tensor: Any = None, *_: Any):
        self.tensor = tensor

    def __setstate__(self, state: Any) -> None:
        pass


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
