"""The phantom cohort: deterministic, anatomically ordered, atomic, and readable as BraTS 2020."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from brainjax.errors import InputError
from brainjax.scans import find_cohort, phantom, phantom_head, phantom_noise, read_volume
from brainjax.scans.nifti import read_image
from brainjax.scans.phantom import fill_spacing_mm, make_phantom, write_phantom_cohort

SMALL = (24, 28, 24)
SHAPE = (64, 64, 64)


@pytest.fixture(scope="module")
def hgg():
    return make_phantom(np.random.default_rng([0, 0]), shape=SHAPE)


@pytest.fixture(scope="module")
def lgg():
    return make_phantom(np.random.default_rng([0, 1]), shape=SHAPE, enhancing=False)


def tissues(rng_seed: int = 3):
    """A healthy head at 3 mm, for checks on anatomy."""
    axes = tuple(
        np.arange(-mm / 2, mm / 2, 3, dtype=np.float32) for mm in phantom_head.FIELD_OF_VIEW_MM
    )
    head = phantom_head.draw_head(np.random.default_rng(rng_seed))
    return axes, phantom_head.sample_head(head, axes, spacing_mm=3.0)


def files_below(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_equal_seeds_give_equal_voxels_and_others_do_not():
    first = make_phantom(np.random.default_rng(5), shape=SMALL)
    again = make_phantom(np.random.default_rng(5), shape=SMALL)
    other = make_phantom(np.random.default_rng(6), shape=SMALL)
    for modality, image in first[0].items():
        np.testing.assert_array_equal(image, again[0][modality])
        assert (image != other[0][modality]).any()
    np.testing.assert_array_equal(first[1], again[1])


def test_types_shapes_and_background(hgg):
    images, classes, affine = hgg
    assert list(images) == ["flair", "t1", "t1ce", "t2"]
    brain = images["t1"] > 0
    for image in images.values():
        assert image.dtype == np.int16
        assert image.shape == SHAPE
        np.testing.assert_array_equal(image > 0, brain)
    assert classes.dtype == np.uint8
    assert not classes[~brain].any()
    np.testing.assert_array_equal(affine[:3, :3], np.diag([-3.0, -3.0, 3.0]))
    np.testing.assert_array_equal(affine[:3, 3], [0.0, 189.0, 0.0])


def test_head_is_whole_and_of_human_size(hgg):
    brain = hgg[0]["t1"] > 0
    assert 1100 < brain.sum() * 27 / 1000 < 1900  # ml
    for axis in range(3):
        assert not np.take(brain, [0, -1], axis=axis).any()
    _, parts = ndimage.label(brain)
    assert parts == 1


def test_same_head_at_another_size():
    coarse = make_phantom(np.random.default_rng(1), shape=(48, 48, 48))
    fine = make_phantom(np.random.default_rng(1), shape=(80, 80, 80))
    for of, tolerance in ((lambda p: p[0]["t1"] > 0, 0.03), (lambda p: p[1] > 0, 0.08)):
        volumes = [of(p).sum() * abs(np.linalg.det(p[2])) for p in (coarse, fine)]
        assert volumes[0] == pytest.approx(volumes[1], rel=tolerance)
        centres = [
            np.array(ndimage.center_of_mass(of(p))) * p[2][2, 2] - p[2][2, 2] * (n - 1) / 2
            for p, n in zip((coarse, fine), (48, 80), strict=True)
        ]
        np.testing.assert_allclose(centres[0], centres[1], atol=1.5)


def test_contrast_of_each_sequence():
    means = {name: [] for name in ("flair", "t1", "t1ce", "t2")}
    for seed in range(2):
        rng = np.random.default_rng(seed)
        axes, tissue = tissues(seed)
        images = phantom._images(rng, axes, tissue, no_lesion(tissue))
        parts = [tissue.white > 0.95, tissue.grey > 0.8, tissue.fluid > 0.95]
        for name, image in images.items():
            means[name].append([image[p & (tissue.inside_mm > 3)].mean() for p in parts])
    white_grey_fluid = {name: np.mean(values, axis=0) for name, values in means.items()}
    for name in ("t1", "t1ce"):
        assert np.all(np.diff(white_grey_fluid[name]) < 0)
    assert np.all(np.diff(white_grey_fluid["t2"]) > 0)
    white, grey, fluid = white_grey_fluid["flair"]
    assert fluid < white < grey


def no_lesion(tissue):
    nothing = np.zeros_like(tissue.white)
    return phantom.Lesion(whole=nothing, core=nothing, enhancing=nothing, swelling=nothing)


def test_tissue_fractions_add_up_to_one():
    _, tissue = tissues()
    total = tissue.white + tissue.grey + tissue.deep_grey + tissue.fluid
    np.testing.assert_allclose(total, 1.0, atol=1e-5)
    for part in (tissue.white, tissue.grey, tissue.deep_grey, tissue.fluid, tissue.vessels):
        assert part.min() > -1e-5
        assert part.max() < 1 + 1e-5


def test_fissure_divides_the_hemispheres_above_and_the_callosum_joins_them():
    z = np.arange(18, 70, 2, dtype=np.float32)
    axes = (np.array([-1, 0, 1], np.float32), np.arange(-4, 14, 2, dtype=np.float32), z)
    for seed in range(3):
        head = phantom_head.draw_head(np.random.default_rng(seed))
        tissue = phantom_head.sample_head(head, axes, spacing_mm=1.0)
        white = tissue.white.mean(axis=(0, 1))
        assert white[z <= 34].max() > 0.9
        assert white[(z > 42) & (z < 62)].mean() < 0.6


def test_tumour_nests_and_stands_out(hgg):
    images, classes, _ = hgg
    whole, core, enhancing = classes > 0, np.isin(classes, (1, 3)), classes == 3
    assert whole.sum() > core.sum() > enhancing.sum() > 20
    brain = images["t1"] > 0
    healthy = brain & ~whole
    assert np.median(images["flair"][classes == 2]) > 1.25 * np.median(images["flair"][healthy])
    assert np.median(images["t1ce"][enhancing]) > 1.4 * np.median(images["t1ce"][healthy])
    assert np.median(images["t1"][core]) < 0.9 * np.median(images["t1"][healthy])
    # The enhancing rim lies between necrosis and oedema.
    inner = ndimage.binary_dilation(classes == 1) & (classes != 1)
    assert (classes[inner] == 3).mean() > 0.6


def test_labels_cannot_be_read_off_one_intensity(hgg):
    images, classes, _ = hgg
    brain = images["t1"] > 0
    flair, truth = images["flair"][brain], classes[brain] > 0
    bright = np.quantile(flair[~truth], 0.99)
    assert np.quantile(flair[truth], 0.1) < bright


def test_low_grade_tumour_has_no_enhancing_part(lgg):
    images, classes, _ = lgg
    assert set(np.unique(classes)) == {0, 1, 2}
    healthy = (images["t1"] > 0) & (classes == 0)
    typical = np.median(images["t1ce"][healthy])
    assert np.median(images["t1ce"][classes == 1]) < typical
    assert np.quantile(images["t1ce"][classes == 1], 0.95) < 1.35 * typical


def test_oedema_keeps_out_of_ventricles_and_the_other_hemisphere():
    for seed in range(3):
        rng = np.random.default_rng(seed)
        head = phantom_head.draw_head(rng)
        tumour = phantom.draw_tumour(rng, head, enhancing=True)
        axes, _ = tissues()
        tissue = phantom_head.sample_head(head, axes, spacing_mm=3.0, push=tumour.push)
        lesion = phantom.sample_tumour(tumour, head, tissue, axes, spacing_mm=3.0)
        whole = lesion.whole > 0.5
        assert whole.sum() > 100
        assert not whole[tissue.ventricle_mm < -2].any()
        assert not whole[tissue.inside_mm < -2].any()
        side = np.sign(tumour.push.centre_mm[0])
        other = whole & (tissue.midline_mm * side < -3)
        assert other.sum() < 0.1 * whole.sum()


def test_tumours_differ_in_side_and_size():
    centres, sizes = [], []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        tumour = phantom.draw_tumour(rng, phantom_head.draw_head(rng), enhancing=True)
        centres.append(tumour.push.centre_mm)
        sizes.append(tumour.core_mm)
    assert {True, False} == {bool(centre[0] > 0) for centre in centres}
    assert max(sizes) > 1.4 * min(sizes)
    assert np.std(centres, axis=0).min() > 8


def test_noise_agrees_between_grid_and_points_and_has_unit_variance():
    noise = phantom_noise.draw_noise(np.random.default_rng(0), 7.0)
    axes = tuple(np.linspace(-90, 80, n).astype(np.float32) for n in (30, 35, 40))
    grid = noise.on_grid(axes)
    points = noise.at(list(np.meshgrid(*axes, indexing="ij")))
    np.testing.assert_allclose(grid, points, atol=2e-3)
    assert grid.std() == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize(
    ("shape", "spacing"), [((240, 240, 155), 1.0), ((64, 64, 64), 3.0), ((48, 48, 48), 4.0)]
)
def test_spacing_at_which_the_head_fills_the_grid(shape, spacing):
    assert fill_spacing_mm(shape) == spacing


def test_cohort_is_read_as_brats_2020(tmp_path):
    done = []
    root = write_phantom_cohort(
        tmp_path / "made" / "cohort",
        cases=3,
        shape=SMALL,
        seed=1,
        progress=lambda count, cases: done.append((count, cases)),
    )
    assert done == [(1, 3), (2, 3), (3, 3)]
    assert sorted(path.name for path in root.iterdir()) == ["HGG", "LGG", "phantom.json"]
    cohort = find_cohort(root)
    assert [case.grade for case in cohort.cases] == ["HGG", "LGG", "HGG"]
    assert cohort.label_convention == "brats2020"
    images, classes, affine = make_phantom(np.random.default_rng([1, 0]), shape=SMALL)
    volume = read_volume(
        cohort.cases[0], modalities=("flair", "t2"), label_convention=cohort.label_convention
    )
    np.testing.assert_array_equal(volume.image[..., 0], images["flair"])
    np.testing.assert_array_equal(volume.image[..., 1], images["t2"])
    np.testing.assert_array_equal(volume.labels, classes)
    np.testing.assert_allclose(volume.affine, affine, rtol=1e-6)
    labels, _ = read_image(cohort.cases[0].labels)
    assert set(np.unique(labels)) == {0, 1, 2, 4}


def test_second_call_reuses_and_other_arguments_rebuild(tmp_path):
    root = tmp_path / "cohort"
    root.mkdir()
    write_phantom_cohort(root, cases=2, shape=SMALL, seed=1)
    before = files_below(root)
    stamps = {path: path.stat().st_mtime_ns for path in root.rglob("*.nii.gz")}
    write_phantom_cohort(root, cases=2, shape=SMALL, seed=1)
    assert stamps == {path: path.stat().st_mtime_ns for path in root.rglob("*.nii.gz")}
    write_phantom_cohort(root, cases=1, shape=SMALL, seed=1)
    after = files_below(root)
    assert len([name for name in after if name.endswith(".nii.gz")]) == 5
    assert all(before[name] == data for name, data in after.items() if name.endswith(".gz"))
    write_phantom_cohort(root, cases=1, shape=SMALL, seed=2)
    name = next(name for name in after if name.endswith("_t1.nii.gz"))
    assert files_below(root)[name] != after[name]
    assert [path.name for path in tmp_path.iterdir()] == ["cohort"]


def test_damaged_cohort_is_rebuilt(tmp_path):
    root = write_phantom_cohort(tmp_path / "cohort", cases=1, shape=SMALL, seed=1)
    whole = files_below(root)
    victim = next(root.rglob("*_seg.nii.gz"))
    victim.write_bytes(victim.read_bytes()[:50])
    write_phantom_cohort(root, cases=1, shape=SMALL, seed=1)
    assert files_below(root) == whole
    next(root.rglob("*_t2.nii.gz")).unlink()
    write_phantom_cohort(root, cases=1, shape=SMALL, seed=1)
    assert files_below(root) == whole


def test_interrupted_run_leaves_nothing_at_the_root(tmp_path):
    def stop(count, cases):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_phantom_cohort(tmp_path / "cohort", cases=2, shape=SMALL, seed=1, progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_leftovers_of_killed_runs_are_removed(tmp_path):
    old, new = tmp_path / ".cohort.writing-old", tmp_path / ".cohort.writing-new"
    for folder in (old, new):
        (folder / "HGG").mkdir(parents=True)
    os.utime(old, (1, 1))
    write_phantom_cohort(tmp_path / "cohort", cases=1, shape=SMALL, seed=1)
    assert not old.exists()
    assert new.exists()  # may belong to a run that is alive


def test_foreign_files_are_refused_and_kept(tmp_path):
    mine = tmp_path / "cohort" / "HGG" / "mine.nii.gz"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(gzip.compress(b"mine"))
    with pytest.raises(InputError, match=r"HGG/mine\.nii\.gz"):
        write_phantom_cohort(tmp_path / "cohort", cases=1, shape=SMALL, seed=1)
    assert mine.exists()
    root = write_phantom_cohort(tmp_path / "other", cases=1, shape=SMALL, seed=1)
    (root / "notes.txt").write_text("mine")
    for seed in (1, 2):
        with pytest.raises(InputError, match=r"notes\.txt"):
            write_phantom_cohort(root, cases=1, shape=SMALL, seed=seed)


def test_marker_tells_how_the_cohort_was_made(tmp_path):
    root = write_phantom_cohort(tmp_path / "cohort", cases=1, shape=SMALL, seed=7, spacing_mm=7.5)
    marker = json.loads((root / "phantom.json").read_text())
    assert marker["seed"] == 7
    assert marker["spacing_mm"] == 7.5
    assert len(marker["files"]) == 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cases": 0}, "cases"),
        ({"seed": -1}, "seed"),
        ({"shape": (64, 64)}, "shape"),
        ({"shape": (8, 64, 64)}, r"at least \(20, 24, 20\)"),
        ({"spacing_mm": 1.0}, "spacing_mm"),
        ({"spacing_mm": 20.0}, "spacing_mm"),
    ],
)
def test_impossible_arguments(tmp_path, change, message):
    arguments = {"cases": 1, "shape": SMALL, "seed": 0} | change
    with pytest.raises(InputError, match=message):
        write_phantom_cohort(tmp_path / "cohort", **arguments)
    assert not (tmp_path / "cohort").exists()


def test_root_that_is_a_file(tmp_path):
    (tmp_path / "cohort").write_text("")
    with pytest.raises(InputError, match="folder"):
        write_phantom_cohort(tmp_path / "cohort", cases=1, shape=SMALL, seed=0)
