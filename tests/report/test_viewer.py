"""The viewer's page: what is inside it, and what a browser makes of it."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import itertools
import json
import re
import shutil
from html.parser import HTMLParser
from importlib import resources

import nibabel as nib
import numpy as np
import pytest
from matplotlib.image import imread

from brainjax.report import LabelOverlay, MapOverlay, render_viewer, write_viewer
from brainjax.scans import TISSUES, Volume, new_grid

ASSETS = resources.files("brainjax.report").joinpath("assets")
EVIL = "</script><script>document.title='x'</script><img src=x onerror=alert(1)>&\""
AFFINE = np.array([[-2.0, 0, 0, 30], [0, -1.0, 0, 40], [0, 0, 1.5, -20], [0, 0, 0, 1]])
SHAPE = (20, 24, 18)


def make_volume(case_id: str = "case-1") -> Volume:
    random = np.random.default_rng(0)
    image = np.zeros((*SHAPE, 2), np.float32)
    image[4:17, 5:20, 3:15] = random.uniform(100, 900, (13, 15, 12, 2))
    labels = np.zeros(SHAPE, np.uint8)
    labels[6:13, 8:15, 5:11] = 2
    labels[8:11, 10:13, 7:9] = 3
    return Volume(
        image=image,
        modalities=("flair", "t1ce"),
        labels=labels,
        label_convention="brats2021",
        affine=AFFINE,
        spacing_mm=(2.0, 1.0, 1.5),
        patient_id=case_id,
        case_id=case_id,
        source=(),
        grid=new_grid(SHAPE, AFFINE),
    )


def make_overlays(name: str = "reference") -> list[LabelOverlay | MapOverlay]:
    classes = make_volume().labels
    values = np.linspace(-1.0, 2.0, classes.size, dtype=np.float32).reshape(SHAPE)
    values[10, 10, 10] = np.nan
    return [
        LabelOverlay(name=name, classes=classes, class_names=TISSUES),
        MapOverlay(name="attention", values=values, limits=(0.0, 1.0)),
    ]


class Scripts(HTMLParser):
    """The script elements by id, the others in order, and all tags."""

    def __init__(self, text: str):
        super().__init__()
        self.named: dict[str, str] = {}
        self.run: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._attributes: dict[str, str | None] | None = None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._attributes = dict(attrs) if tag == "script" else None

    def handle_data(self, data):
        if self._attributes is None:
            return
        if "id" in self._attributes:
            name = self._attributes["id"]
            self.named[name] = self.named.get(name, "") + data
        else:
            self.run.append(data)

    def handle_endtag(self, tag):
        self._attributes = None

    def volume(self, number: int) -> nib.Nifti1Image:
        data = gzip.decompress(base64.b64decode(self.named[f"volume-{number}"]))
        return nib.Nifti1Image.from_bytes(data)


def test_engine_is_the_published_file():
    engine = gzip.decompress(ASSETS.joinpath("niivue.umd.js.gz").read_bytes())
    known = re.search(r"`([0-9a-f]{64})`", ASSETS.joinpath("README.md").read_text()).group(1)
    assert hashlib.sha256(engine).hexdigest() == known
    version = re.search(r"@niivue/niivue@([\d.]+)", ASSETS.joinpath("README.md").read_text())
    assert (
        ASSETS.joinpath("NIIVUE_LICENSE.txt").read_text().startswith(f"NiiVue {version.group(1)}")
    )
    assert f'"{version.group(1)}"'.encode() in engine


def test_volumes_are_where_the_scan_is():
    scan = make_volume()
    page = Scripts(render_viewer(scan, make_overlays()))
    told = json.loads(page.named["case"])
    for number, words in enumerate(told["scans"]):
        volume = page.volume(number)
        stored = np.asanyarray(volume.dataobj)
        assert stored.dtype == np.uint8
        assert stored.shape == (17, 19, 16)  # the brain and two voxels around it
        # A voxel and the same place in the scan.
        place = volume.affine @ [5, 6, 7, 1]
        index = np.rint(np.linalg.inv(AFFINE) @ place)[:3].astype(int)
        assert tuple(index) == (7, 9, 8)
        value = words["offset"] + words["scale"] * stored[5, 6, 7]
        brain = scan.image[..., number][scan.image[..., number] != 0]
        assert value == pytest.approx(scan.image[7, 9, 8, number], abs=words["scale"] / 2 + 1e-3)
        assert words["clipped"] == (brain.max() > np.percentile(brain, 99.8))
        assert not stored[0].any()
        assert stored[2:-2, 2:-2, 2:-2].all()
    np.testing.assert_array_equal(page.volume(2).dataobj, scan.labels[2:19, 3:22, 1:17])
    x, y, z = np.rint(np.linalg.inv(AFFINE) @ [*told["focus"], 1])[:3].astype(int)
    assert scan.labels[x, y, z] > 0


def test_map_keeps_its_values_between_its_limits():
    _, overlay = make_overlays()
    page = Scripts(render_viewer(make_volume(), make_overlays()))
    words = json.loads(page.named["case"])["overlays"][1]
    stored = np.asanyarray(page.volume(3).dataobj).astype(float)
    values = overlay.values[2:19, 3:22, 1:17]
    drawn = values > 0
    np.testing.assert_array_equal(stored > 0, drawn)
    back = words["offset"] + words["scale"] * stored[drawn]
    np.testing.assert_allclose(back, np.clip(values[drawn], 0, 1), atol=0.5 / 254 + 1e-6)
    assert words["clipped"] is True
    assert words["limits"] == [0.0, 1.0]


def test_names_from_outside_stay_text():
    text = render_viewer(make_volume(EVIL), make_overlays(EVIL), note=EVIL)
    page = Scripts(text)
    told = json.loads(page.named["case"])
    assert told["case"] == told["overlays"][0]["name"] == EVIL
    assert len(page.run) == 1
    assert not [tag for tag, _ in page.tags if tag == "img"]
    sources = [attributes for _, attributes in page.tags if {"src", "srcset"} & set(attributes)]
    assert not sources
    assert "default-src 'none'" in text


def test_overlay_has_to_fit_the_scan():
    wrong = LabelOverlay(name="x", classes=np.zeros((2, 2, 2), np.uint8), class_names=TISSUES)
    with pytest.raises(ValueError, match=r"overlay 'x' of shape \(2, 2, 2\)"):
        render_viewer(make_volume(), [wrong])


@pytest.fixture
def open_page():
    """Opens pages in a headless browser: (path, arguments) to page, its errors and requests."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="no browser driver: pip install 'brainjax[browser]'"
    )
    program = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chrome"))), None)
    if program is None:
        pytest.skip("no Chromium on this machine")
    with playwright.sync_playwright() as driver:
        browsers = []

        def open_page(path, *arguments):
            browser = driver.chromium.launch(
                executable_path=program, args=["--no-sandbox", *arguments]
            )
            browsers.append(browser)
            page = browser.new_page(viewport={"width": 900, "height": 640})
            seen = {"errors": [], "requests": []}
            page.on("pageerror", lambda error: seen["errors"].append(str(error)))
            page.on(
                "console",
                lambda told: told.type == "error" and seen["errors"].append(told.text),
            )
            page.on("request", lambda request: seen["requests"].append(request.url))
            page.goto(path.as_uri())
            page.wait_for_selector("body[data-ready]", timeout=120_000)
            return page, seen

        yield open_page
        for browser in browsers:
            browser.close()


def test_browser_shows_the_case(tmp_path, open_page):
    path = write_viewer(tmp_path / "a <b> #1.html", make_volume(EVIL), make_overlays(EVIL))
    page, seen = open_page(path, "--use-angle=swiftshader", "--enable-unsafe-swiftshader")

    def picture() -> np.ndarray:
        page.evaluate("() => new Promise(done => requestAnimationFrame(() => setTimeout(done)))")
        return imread(io.BytesIO(page.locator("#canvas").screenshot()))[..., :3]

    def differs(first: np.ndarray, second: np.ndarray) -> bool:
        return np.abs(first - second).max(axis=2).mean() > 0.01

    assert page.get_attribute("body", "data-ready") == "yes", seen
    assert page.locator("h1").text_content() == EVIL
    assert EVIL in page.locator("#overlays").text_content()
    everything = picture()
    assert everything.std() > 0.05
    words = page.locator("#values").text_content()
    assert "FLAIR" in words
    assert "oedema" in words or "enhancing" in words

    page.get_by_label(EVIL, exact=True).uncheck()
    without = picture()
    assert differs(everything, without)
    page.get_by_label(EVIL, exact=True).check()
    assert not differs(everything, picture())
    page.get_by_label("attention", exact=True).check()
    assert differs(everything, picture())

    page.get_by_role("button", name="T1ce").click()
    assert "T1ce" in page.locator("#values").text_content()
    views = []
    for view in ("Axial", "Coronal", "Sagittal", "3D"):
        page.get_by_role("button", name=view, exact=True).click()
        views.append(picture())
        assert views[-1].std() > 0.03, view
    assert all(differs(one, other) for one, other in itertools.pairwise(views))

    assert page.title() != "x"
    assert seen == {"errors": [], "requests": [path.as_uri()]}


def test_browser_without_webgl_says_so(tmp_path, open_page):
    path = write_viewer(tmp_path / "case.html", make_volume(), make_overlays())
    page, seen = open_page(path, "--disable-3d-apis")
    assert "does not offer WebGL2" in page.locator("#message").text_content()
    assert page.locator("#message").is_visible()
    assert seen["errors"] == []
