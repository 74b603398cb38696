"""Weights by name: fetched once, checked, and told in one line where they cannot be."""

from __future__ import annotations

import functools
import hashlib
import http.server
import socket
import sys
import threading
import types

import pytest

from brainjax.errors import InputError
from brainjax.weights import hub

CONTENT = bytes(range(256)) * 9000  # 2.3 MB
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        self.server.requests.append(self.path)
        if self.path.endswith("short-00000000.pth"):
            self.send_response(200)
            self.send_header("Content-Length", "100")
            self.end_headers()
            self.wfile.write(b"half")
            return
        super().do_GET()


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A server of files on this machine in place of PyTorch's, and its folder."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = functools.partial(Handler, directory=str(folder))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        running.requests = []
        running.folder = folder
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        monkeypatch.setattr(hub, "TORCHVISION_URL", f"http://127.0.0.1:{running.server_port}/")
        yield running
        running.shutdown()
        thread.join()


def serve(server, monkeypatch, file_name, content=CONTENT):
    (server.folder / file_name).write_bytes(content)
    monkeypatch.setitem(hub.KNOWN, "torchvision/resnet18", file_name)


def message_of(*arguments, **options):
    with pytest.raises(InputError) as caught:
        hub.fetch_weights(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_known_names_carry_their_hash():
    for name, file in hub.KNOWN.items():
        source, _, short = name.partition("/")
        if source == "torchvision":
            stem, _, digits = file.removesuffix(".pth").rpartition("-")
            assert stem == short.removesuffix("_v2")
            assert len(digits) == 8
            int(digits, 16)
        else:
            assert file == "model.safetensors"
    assert len(hub.KNOWN) == len(hub.TORCHVISION) + len(hub.TIMM)


def test_a_file_is_used_as_it_is(tmp_path):
    path = tmp_path / "mine.pth"
    path.write_bytes(CONTENT)
    for digits in ("", SHA256, SHA256[:8].upper()):
        assert hub.fetch_weights(path, cache=tmp_path / "cache", sha256=digits) == path
    assert not (tmp_path / "cache").exists()
    told = message_of(str(path), cache=tmp_path, sha256="0" * 8)
    assert f"{path}: its sha256 is {SHA256}, expected 00000000" in told
    assert "expected 8 to 64 hexadecimal digits" in message_of(path, cache=tmp_path, sha256="0x1")


def test_torchvision_names_are_fetched_once(tmp_path, server, monkeypatch):
    file_name = f"resnet18-{SHA256[:8]}.pth"
    serve(server, monkeypatch, file_name)
    seen = []
    for _ in range(2):
        path = hub.fetch_weights(
            "torchvision/resnet18", cache=tmp_path, progress=lambda *now: seen.append(now)
        )
        assert path == tmp_path / "weights" / "torchvision" / file_name
        assert path.read_bytes() == CONTENT
    assert server.requests == [f"/{file_name}"]
    assert seen == [(1, 2), (2, 2), (2, 2)]
    assert [p.name for p in path.parent.iterdir()] == [file_name]
    assert "expected 00000000" in message_of(
        "torchvision/resnet18", cache=tmp_path, sha256="00000000"
    )


def test_a_damaged_copy_is_fetched_again(tmp_path, server, monkeypatch):
    file_name = f"resnet18-{SHA256[:8]}.pth"
    serve(server, monkeypatch, file_name)
    place = tmp_path / "weights" / "torchvision" / file_name
    place.parent.mkdir(parents=True)
    place.write_bytes(CONTENT[:100])
    assert hub.fetch_weights("torchvision/resnet18", cache=tmp_path).read_bytes() == CONTENT


def test_another_content_is_not_kept(tmp_path, server, monkeypatch):
    serve(server, monkeypatch, "resnet18-00000000.pth")
    told = message_of("torchvision/resnet18", cache=tmp_path)
    assert f"sha256 {SHA256[:16]}..., expected 00000000...; nothing was kept" in told
    assert list((tmp_path / "weights" / "torchvision").iterdir()) == []


@pytest.mark.parametrize("case", ["404", "short", "refused", "unknown host"])
def test_failures_say_where_to_put_the_file(tmp_path, server, monkeypatch, case):
    name = "short-00000000.pth" if case == "short" else "resnet18-00000000.pth"
    monkeypatch.setitem(hub.KNOWN, "torchvision/resnet18", name)
    if case == "refused":
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        monkeypatch.setattr(hub, "TORCHVISION_URL", f"http://127.0.0.1:{port}/")
    if case == "unknown host":

        def fail(*_, **__):
            raise socket.gaierror(-2, "Name or service not known")

        monkeypatch.setattr(socket, "getaddrinfo", fail)
    told = message_of("torchvision/resnet18", cache=tmp_path)
    place = tmp_path / "weights" / "torchvision" / name
    assert f"get {hub.TORCHVISION_URL}{name}, save it as {place}, or give its path" in told
    reason = {
        "404": "the server answered 404 File not found",
        "short": "ended after 4 of 100 bytes",
        "refused": "refused",
        "unknown host": "Name or service not known",
    }[case]
    assert reason in told
    assert list(place.parent.iterdir()) == []


def test_unknown_names(tmp_path):
    for name in ("resnet18", "torchvision/resnet19", "timm/../x", str(tmp_path / "absent.pth")):
        told = message_of(name, cache=tmp_path)
        assert told.startswith(f"{name}: no such file, and no known weights")
        assert "resnet152_v2, vgg11" in told


@pytest.fixture
def fake_hub(monkeypatch):
    """A stand-in for ``huggingface_hub``; calls are recorded."""
    module = types.ModuleType("huggingface_hub")
    module.calls = []
    module.answer, module.cached = None, False

    def hf_hub_download(repo_id, filename, local_files_only=False):
        if local_files_only and not module.cached:
            raise FileNotFoundError(filename)
        module.calls.append((repo_id, filename, local_files_only))
        if isinstance(module.answer, Exception):
            raise module.answer
        return str(module.answer)

    module.hf_hub_download = hf_hub_download
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    return module


def test_timm_names_go_through_the_hub(tmp_path, fake_hub):
    fake_hub.answer = tmp_path / "model.safetensors"
    fake_hub.answer.write_bytes(CONTENT)
    for name in ("timm/resnet18.tv_in1k", "timm/resnet50.some_new-tag"):
        path = hub.fetch_weights(name, cache=tmp_path, sha256=SHA256)
        assert path == fake_hub.answer
    assert fake_hub.calls == [
        ("timm/resnet18.tv_in1k", "model.safetensors", False),
        ("timm/resnet50.some_new-tag", "model.safetensors", False),
    ]
    assert "expected 00000000" in message_of(
        "timm/resnet18.tv_in1k", cache=tmp_path, sha256="00000000"
    )


def test_timm_names_need_no_network_twice(tmp_path, fake_hub):
    fake_hub.answer, fake_hub.cached = tmp_path / "model.safetensors", True
    fake_hub.answer.write_bytes(CONTENT)
    assert hub.fetch_weights("timm/resnet18.tv_in1k", cache=tmp_path) == fake_hub.answer
    assert fake_hub.calls == [("timm/resnet18.tv_in1k", "model.safetensors", True)]


def test_timm_offline(tmp_path, fake_hub):
    fake_hub.answer = ConnectionError("An error happened\nwhile trying to locate the file")
    told = message_of("timm/vgg16.tv_in1k", cache=tmp_path)
    place = tmp_path / "weights" / "timm" / "vgg16.tv_in1k.safetensors"
    assert "(An error happened while trying to locate the file)" in told
    assert "https://huggingface.co/timm/vgg16.tv_in1k/resolve/main/model.safetensors" in told
    assert f"save it as {place}, or give its path" in told
    place.parent.mkdir(parents=True)
    place.write_bytes(CONTENT)
    assert hub.fetch_weights("timm/vgg16.tv_in1k", cache=tmp_path) == place
    assert len(fake_hub.calls) == 1


def test_timm_without_its_package(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    told = message_of("timm/vgg16.tv_in1k", cache=tmp_path)
    assert "pip install 'brainjax[hub]'" in told


def test_the_real_package_offline(tmp_path, monkeypatch):
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf"))
    told = message_of("timm/densenet121.tv_in1k", cache=tmp_path)
    assert "cannot be fetched from the Hugging Face hub" in told
