"""Checkpoints of others: read, and never run."""

from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile
from collections import OrderedDict

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from brainjax.errors import InputError
from brainjax.weights import load_tensors


def write_archive(path, content, storages=None, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", content)
        for key, value in (storages or {}).items():
            archive.writestr(f"archive/data/{key}", value)
    return path


def pickled_tensor(shape, strides, *, offset=0, count=4):
    """The pickle of ``{"w": tensor}`` as PyTorch writes it, with the numbers given."""

    def number(value):
        return b"J" + struct.pack("<i", value)

    def text(value):
        return b"X" + struct.pack("<I", len(value)) + value.encode()

    def numbers(values):
        return b"(" + b"".join(number(value) for value in values) + b"t"

    storage = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu")
    storage += number(count) + b"tQ"
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + number(offset)
    tensor += numbers(shape) + numbers(strides) + b"\x89ccollections\nOrderedDict\n)RtR"
    return b"\x80\x02}" + text("w") + tensor + b"s."


NUMBERS = np.arange(4, dtype="<f4")


def test_handwritten_archive_is_read_with_its_strides(tmp_path):
    content = pickled_tensor((2, 2), (1, 2))
    path = write_archive(tmp_path / "a.pth", content, {"0": NUMBERS.tobytes()})
    np.testing.assert_array_equal(load_tensors(path)["w"], [[0, 2], [1, 3]])


@pytest.mark.parametrize("nest", [None, "state_dict", "model"])
def test_pytorch_files_are_read(tmp_path, nest, rng):
    torch = pytest.importorskip("torch")
    whole = torch.from_numpy(rng.normal(size=(4, 6)).astype(np.float32))
    state = OrderedDict(
        {
            "module.a.weight": torch.nn.Parameter(whole.clone()),
            "module.a.bias": whole[1, 2:5],
            "module.b": whole.T,
            "module.c": whole.to(torch.bfloat16),
            "module.d": torch.tensor(3),
            "module.e": torch.zeros(0, 3),
        }
    )
    saved = state if nest is None else {"epoch": 3, nest: state, "optim_dict": {"lr": 0.1}}
    torch.save(saved, tmp_path / "a.pth")
    tensors = load_tensors(tmp_path / "a.pth")
    assert list(tensors) == ["a.weight", "a.bias", "b", "c", "d", "e"]
    np.testing.assert_array_equal(tensors["a.weight"], whole)
    np.testing.assert_array_equal(tensors["a.bias"], whole[1, 2:5])
    np.testing.assert_array_equal(tensors["b"], whole.T)
    assert tensors["c"].dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(tensors["c"].astype(np.float32), whole.to(torch.bfloat16).float())
    assert tensors["d"] == 3
    assert tensors["e"].shape == (0, 3)


@pytest.mark.parametrize("nest", [None, "state_dict"])
def test_files_before_pytorch_1_6_are_read(tmp_path, nest, rng):
    torch = pytest.importorskip("torch")
    whole = torch.from_numpy(rng.normal(size=(4, 6)).astype(np.float32))
    state = OrderedDict(
        {
            "a.weight": torch.nn.Parameter(whole.clone()),
            "a.bias": whole[1, 2:5],
            "b": whole.T,
            "d": torch.tensor([3, 4]),
            "e": torch.zeros(0, 3),
        }
    )
    saved = state if nest is None else {"epoch": 3, nest: state}
    path = tmp_path / "old.pth"
    torch.save(saved, path, _use_new_zipfile_serialization=False)
    tensors = load_tensors(path)
    assert list(tensors) == list(state)
    for name, value in state.items():
        np.testing.assert_array_equal(tensors[name], value.detach())
    content = path.read_bytes()
    for length in (10, len(content) // 2, len(content) - 8):
        path.write_bytes(content[:length])
        with pytest.raises(InputError, match=r"old\.pth: .*(damaged|not a readable)"):
            load_tensors(path)


def old_file(path, tensors, storage=NUMBERS):
    """A file as of 2017, given the pickle of its tensors."""
    pickles = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
    content = b"".join(pickle.dumps(value, protocol=2) for value in pickles) + tensors
    content += pickle.dumps(["0"], protocol=2) + struct.pack("<q", len(storage))
    path.write_bytes(content + storage.tobytes())
    return path


def test_parameters_of_2017_are_read(tmp_path):
    """Storage references have a sixth part, tensors another function and a wrapper."""
    tensor = pickled_tensor((2, 2), (2, 1))
    tensor = tensor.replace(struct.pack("<i", 4) + b"tQ", struct.pack("<i", 4) + b"NtQ")
    tensor = tensor.replace(b"_rebuild_tensor_v2", b"_rebuild_tensor")
    tensor = tensor.replace(b"\x89ccollections\nOrderedDict\n)RtR", b"tR")
    before, after = tensor.split(b"ctorch._utils", 1)
    wrapped = before + b"ctorch.nn.parameter\nParameter\n(ctorch._utils" + after
    wrapped = wrapped.removesuffix(b"s.") + b"tR(\x88\x89Ntbs."
    path = old_file(tmp_path / "a.pth", wrapped)
    np.testing.assert_array_equal(load_tensors(path)["w"], NUMBERS.reshape(2, 2))


def test_hostile_old_files_are_refused_and_not_run(tmp_path):
    marker = tmp_path / "was_run"
    hostile = pickle.dumps(_Runs(os.system, f"touch {marker}"), protocol=2)
    for content in (hostile, old_file(tmp_path / "b.pth", hostile).read_bytes()):
        (tmp_path / "evil.pth").write_bytes(content)
        with pytest.raises(InputError, match=r"evil\.pth: its pickle asks for (posix|nt)\.system"):
            load_tensors(tmp_path / "evil.pth")
    assert not marker.exists()
    lying = old_file(tmp_path / "c.pth", pickled_tensor((2**28,), (1,), count=2**28))
    with pytest.raises(InputError, match="storage 0 has 4 numbers, expected 268435456"):
        load_tensors(lying)


def test_safetensors_are_read(tmp_path, rng):
    value = rng.normal(size=(2, 3)).astype(np.float32)
    safetensors.numpy.save_file({"module.w": value}, tmp_path / "a.safetensors")
    np.testing.assert_array_equal(load_tensors(tmp_path / "a.safetensors")["w"], value)


class _Runs:
    def __init__(self, call, *arguments):
        self.call, self.arguments = call, arguments

    def __reduce__(self):
        return self.call, self.arguments


@pytest.mark.parametrize("nested", [False, True])
def test_hostile_pickle_is_refused_and_not_run(tmp_path, nested):
    marker = tmp_path / "was_run"
    hostile = _Runs(os.system, f"touch {marker}")
    content = pickle.dumps({"state_dict": {"w": hostile}} if nested else hostile, protocol=2)
    path = write_archive(tmp_path / "evil.pth", content)
    with pytest.raises(InputError, match=r"evil\.pth: its pickle asks for (posix|nt)\.system"):
        load_tensors(path)
    assert not marker.exists()


@pytest.mark.parametrize(
    "name", ["builtins.eval", "torch.load", "torch.hub.load", "os.execv", "torch._utils.exec"]
)
def test_every_other_name_is_refused(tmp_path, name):
    module, _, function = name.rpartition(".")
    content = f"\x80\x02c{module}\n{function}\n)R.".encode("latin-1")
    with pytest.raises(InputError, match="refused"):
        load_tensors(write_archive(tmp_path / "a.pth", content))


@pytest.mark.parametrize(
    ("shape", "strides", "offset"),
    [
        ((5,), (1,), 0),
        ((4,), (1,), 1),
        ((2, 2), (3, 1), 0),
        ((2**20, 2**20), (0, 0), 0),
        ((2,), (-1,), 1),
        ((2,), (1,), -1),
    ],
)
def test_tensors_outside_their_storage_are_refused(tmp_path, shape, strides, offset):
    content = pickled_tensor(shape, strides, offset=offset)
    path = write_archive(tmp_path / "a.pth", content, {"0": NUMBERS.tobytes()})
    with pytest.raises(InputError, match="does not lie in its storage"):
        load_tensors(path)


def test_hostile_sizes_are_refused_before_they_are_read(tmp_path):
    big = bytes(2**21)
    path = write_archive(tmp_path / "a.pth", pickled_tensor((4,), (1,)), {"0": big})
    with pytest.raises(InputError, match="declares 2097152 bytes; expected at most 16"):
        load_tensors(path)
    compressed = write_archive(
        tmp_path / "b.pth", pickled_tensor((4,), (1,)), {"0": big}, zipfile.ZIP_DEFLATED
    )
    with pytest.raises(InputError, match="not compressed"):
        load_tensors(compressed)


def test_damaged_files_are_told_in_one_line(tmp_path):
    whole = write_archive(
        tmp_path / "a.pth", pickled_tensor((4,), (1,)), {"0": NUMBERS.tobytes()}
    ).read_bytes()
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        start = archive.getinfo("archive/data/0").header_offset + 30 + len("archive/data/0")
    flipped = bytearray(whole)
    flipped[start] ^= 1
    cases = {
        "short.pth": whole[: len(whole) // 2],
        "flipped.pth": bytes(flipped),
        "empty.pth": b"",
        "text.safetensors": b"not a checkpoint",
        "legacy.pth": pickle.dumps({"w": 1}),
    }
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError) as caught:
            load_tensors(tmp_path / name)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)


def test_truncated_storage_and_missing_storage(tmp_path):
    content = pickled_tensor((4,), (1,))
    path = write_archive(tmp_path / "a.pth", content, {"0": NUMBERS.tobytes()[:8]})
    with pytest.raises(InputError, match="holds 8 bytes, expected 16"):
        load_tensors(path)
    with pytest.raises(InputError, match="data/0"):
        load_tensors(write_archive(tmp_path / "b.pth", content))


def test_wrong_places(tmp_path):
    with pytest.raises(InputError, match="no such checkpoint file"):
        load_tensors(tmp_path / "absent.pth")
    (tmp_path / "a.npz").write_bytes(b"")
    with pytest.raises(InputError, match=r"expected \.safetensors, \.pth or \.pt, found \.npz"):
        load_tensors(tmp_path / "a.npz")
    for number, content in enumerate((b"\x80\x02}.", b"\x80\x02K\x01.")):
        path = write_archive(tmp_path / f"{number}.pth", content)
        with pytest.raises(InputError, match="holds no mapping of names to tensors"):
            load_tensors(path)
