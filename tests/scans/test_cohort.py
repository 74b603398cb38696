"""Cases are found in the layouts that users have, and what is wrong is said in one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from brainjax.errors import InputError
from brainjax.scans import MODALITIES, find_cases_to_predict, find_cohort

OLD = {"flair": "_flair", "t1ce": "_t1ce", "t1": "_t1", "t2": "_t2", "seg": "_seg"}
NEW = {"flair": "-t2f", "t1ce": "-t1c", "t1": "-t1n", "t2": "-t2w", "seg": "-seg"}
Save = Callable[..., Path]


def refuse(function: Callable[[], object], *words: str) -> str:
    with pytest.raises(InputError) as caught:
        function()
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message
    return message


@pytest.mark.parametrize("nested", ["", "MICCAI_BraTS_2019_Data_Training"])
@pytest.mark.parametrize("extension", [".nii", ".nii.gz"])
def test_brats_2019_with_grades(
    tmp_path: Path, save_case: Save, extension: str, nested: str
) -> None:
    root = tmp_path / "data"
    high = save_case(root / nested / "HGG" / "BraTS19_2013_10_1", extension=extension)
    save_case(root / nested / "LGG" / "BraTS19_TCIA09_141_1", extension=extension)
    (high / "._BraTS19_2013_10_1_flair.nii.gz").write_bytes(b"macOS")
    cohort = find_cohort(root)
    assert cohort.layout == "BraTS 2017-2020 with grades (HGG, LGG)"
    assert cohort.label_convention == "brats2019"
    assert [(case.case_id, case.grade) for case in cohort.cases] == [
        ("BraTS19_2013_10_1", "HGG"),
        ("BraTS19_TCIA09_141_1", "LGG"),
    ]
    first = cohort.cases[0]
    assert first.patient_id == first.case_id
    assert first.images == {
        name: (high / f"BraTS19_2013_10_1_{name}{extension}", None) for name in MODALITIES
    }
    assert first.labels == high / f"BraTS19_2013_10_1_seg{extension}"


@pytest.mark.parametrize(
    ("case", "convention", "layout"),
    [
        ("Brats17_2013_10_1", "brats2017", "BraTS 2017-2020"),
        ("Brats18_2013_10_1", "brats2018", "BraTS 2017-2020"),
        ("BraTS20_Training_001", "brats2020", "BraTS 2017-2020"),
        ("BraTS2021_00000", "brats2021", "BraTS 2021"),
        ("anything", "brats2020", "BraTS 2017-2020"),
    ],
)
def test_the_name_tells_the_year(
    tmp_path: Path, save_case: Save, case: str, convention: str, layout: str
) -> None:
    save_case(tmp_path / case)
    cohort = find_cohort(tmp_path)
    assert (cohort.label_convention, cohort.layout) == (convention, layout)
    assert {item.label_convention for item in cohort.cases} == {convention}


def test_flat_form_with_name_mapping(tmp_path: Path, save_case: Save) -> None:
    for number in (1, 2, 3):
        save_case(tmp_path / f"BraTS20_Training_{number:03d}")
    (tmp_path / "name_mapping.csv").write_text(
        "Grade,BraTS_2019_subject_ID,BraTS_2020_subject_ID\n"
        "HGG,BraTS19_TCIA01_1_1,BraTS20_Training_001\nLGG,NA,BraTS20_Training_003\n"
    )
    assert [case.grade for case in find_cohort(tmp_path).cases] == ["HGG", "", "LGG"]


def test_the_kaggle_archive_has_two_more_levels(tmp_path: Path, save_case: Save) -> None:
    folder = tmp_path / "BraTS2020_TrainingData" / "MICCAI_BraTS2020_TrainingData"
    save_case(folder / "BraTS20_Training_001", extension=".nii")
    assert len(find_cohort(tmp_path).cases) == 1


def test_brats_2023_groups_time_points_by_patient(tmp_path: Path, save_case: Save) -> None:
    for name in ("BraTS-GLI-00001-000", "BraTS-GLI-00001-001", "BraTS-GLI-00002-000"):
        save_case(tmp_path / name, suffixes=NEW, values=(0, 1, 2, 3))
    cohort = find_cohort(tmp_path)
    assert (cohort.label_convention, cohort.layout) == ("brats2023", "BraTS 2023/2024")
    assert [case.patient_id for case in cohort.cases] == [
        "BraTS-GLI-00001",
        "BraTS-GLI-00001",
        "BraTS-GLI-00002",
    ]
    assert cohort.cases[0].images["t1ce"][0].name == "BraTS-GLI-00001-000-t1c.nii.gz"
    assert cohort.cases[0].images["flair"][0].name == "BraTS-GLI-00001-000-t2f.nii.gz"


def test_brats_2024_by_the_number_of_the_time_point(tmp_path: Path, save_case: Save) -> None:
    save_case(tmp_path / "BraTS-GLI-00005-100", suffixes=NEW, values=(0, 1, 2, 3))
    assert find_cohort(tmp_path).label_convention == "brats2024-gli"


def test_brats_2024_by_the_value_of_the_resection_cavity(tmp_path: Path, save_case: Save) -> None:
    save_case(tmp_path / "BraTS-GLI-00001-000", suffixes=NEW, values=(0, 1, 2, 3))
    save_case(tmp_path / "BraTS-GLI-00002-000", suffixes=NEW, values=(0, 1, 2, 3, 4))
    assert find_cohort(tmp_path).label_convention == "brats2024-gli"


def test_value_4_of_another_tumour_is_not_guessed(tmp_path: Path, save_case: Save) -> None:
    save_case(tmp_path / "BraTS-PED-00001-000", suffixes=NEW, values=(0, 1, 2, 3, 4))
    refuse(lambda: find_cohort(tmp_path), "BraTS-PED-00001-000-seg.nii.gz", "found 4")
    assert find_cohort(tmp_path, "brats2024-gli").label_convention == "brats2024-gli"


def test_a_given_convention_wins(tmp_path: Path, save_case: Save) -> None:
    save_case(tmp_path / "case_1")
    cohort = find_cohort(tmp_path, "brats2023")
    assert cohort.label_convention == cohort.cases[0].label_convention == "brats2023"
    refuse(lambda: find_cohort(tmp_path, "brats1066"), "brats1066", "brats2017", "msd-task01")


def test_years_of_different_meaning_are_not_mixed(tmp_path: Path, save_case: Save) -> None:
    save_case(tmp_path / "BraTS20_Training_001")
    save_case(tmp_path / "BraTS2021_00001")
    assert find_cohort(tmp_path).layout == "BraTS 2017-2020 and BraTS 2021"
    save_case(tmp_path / "BraTS-GLI-00001-000", suffixes=NEW, values=(0, 1, 2, 3))
    refuse(lambda: find_cohort(tmp_path), "brats2020, brats2021, brats2023", "label_convention")


@pytest.mark.parametrize(
    "order",
    [("FLAIR", "T1w", "t1gd", "T2w"), ("T2w", "t1gd", "FLAIR", "T1w")],
)
@pytest.mark.parametrize("nested", [False, True])
def test_msd_channels_by_name(
    tmp_path: Path, save_task: Save, order: tuple[str, ...], nested: bool
) -> None:
    task = save_task(tmp_path / "Task01_BrainTumour", order=order)
    cohort = find_cohort(tmp_path if nested else task)
    assert (cohort.layout, cohort.label_convention) == ("MSD Task01_BrainTumour", "msd-task01")
    assert [case.case_id for case in cohort.cases] == ["BRATS_001", "BRATS_002"]
    case = cohort.cases[0]
    assert {name: channel for name, (_, channel) in case.images.items()} == {
        "flair": order.index("FLAIR"),
        "t1ce": order.index("t1gd"),
        "t1": order.index("T1w"),
        "t2": order.index("T2w"),
    }
    assert case.labels == task / "labelsTr" / "BRATS_001.nii.gz"


def test_msd_says_when_listed_cases_are_not_on_disk(tmp_path: Path, save_task: Save) -> None:
    task = save_task(tmp_path / "Task01_BrainTumour", listed=484)
    assert "2 on disk of 484" in find_cohort(task).layout


def test_msd_mistakes(tmp_path: Path, save_task: Save) -> None:
    task = save_task(tmp_path / "a")
    refuse(lambda: find_cohort(task / "imagesTr"), "give ", str(task))
    (task / "labelsTr" / "BRATS_002.nii.gz").unlink()
    refuse(lambda: find_cohort(task), "1 of 2 images", "BRATS_002")
    (task / "dataset.json").unlink()
    refuse(lambda: find_cohort(task), "dataset.json", "modality")

    task = save_task(tmp_path / "b", modality={"0": "MRI"})
    refuse(lambda: find_cohort(task), "dataset.json", "'MRI'", "T1gd")
    task = save_task(tmp_path / "c", modality={"0": "FLAIR", "1": "T1w", "2": "T2w"})
    refuse(lambda: find_cohort(task), "t1ce is missing", "found flair, t1, t2")
    task = save_task(tmp_path / "d", modality={"0": "FLAIR", "1": "flair"})
    refuse(lambda: find_cohort(task), "two channels")
    names = {"0": "background", "1": "necrosis", "2": "edema", "3": "enhancing"}
    task = save_task(tmp_path / "e", labels=names)
    refuse(lambda: find_cohort(task), "label 1 is 'necrosis'", "1 edema")
    for text in ("[1, 2]", '{"channel_names": {}}', "{"):
        (task / "dataset.json").write_text(text)
        refuse(lambda: find_cohort(task), "dataset.json", "expected")
    refuse(lambda: find_cohort(tmp_path), "several tasks")
    shutil.rmtree(task / "imagesTr")
    (task / "imagesTr").mkdir()
    (task / "dataset.json").write_text(json.dumps({"modality": dict.fromkeys("0", "FLAIR")}))
    refuse(lambda: find_cohort(task, modalities=("flair",)), "found none")


def test_a_missing_modality_is_named_with_those_found(tmp_path: Path, save_case: Save) -> None:
    save_case(tmp_path / "case_1", without=("t1ce", "t2"))
    refuse(
        lambda: find_cohort(tmp_path),
        "case_1",
        "t1ce, t2 is missing",
        "found flair, t1, seg",
    )
    assert len(find_cohort(tmp_path, modalities=("t1", "flair")).cases) == 1


def test_two_files_for_one_modality(tmp_path: Path, save_case: Save) -> None:
    folder = save_case(tmp_path / "case_1")
    shutil.copy(folder / "case_1_t1.nii.gz", folder / "case_1_t1n.nii.gz")
    refuse(lambda: find_cohort(tmp_path), "two files for t1", "case_1_t1.nii.gz, case_1_t1n.nii.gz")


def test_the_same_case_in_two_folders(tmp_path: Path, save_case: Save) -> None:
    save_case(tmp_path / "HGG" / "case_1")
    save_case(tmp_path / "LGG" / "case_1")
    refuse(lambda: find_cohort(tmp_path), "case_1 is there twice", "HGG", "LGG")


def test_a_segmentation_of_another_name_is_pointed_at(tmp_path: Path, save_case: Save) -> None:
    """BraTS20_Training_355 was published with such a name."""
    save_case(tmp_path / "BraTS20_Training_354")
    folder = save_case(tmp_path / "BraTS20_Training_355")
    (folder / "BraTS20_Training_355_seg.nii.gz").rename(folder / "W39_1998.09.19_Segm.nii.gz")
    refuse(
        lambda: find_cohort(tmp_path),
        "1 of 2 cases have no segmentation",
        "BraTS20_Training_355",
        "W39_1998.09.19_Segm.nii.gz",
    )


def test_folders_that_are_no_data_set(tmp_path: Path) -> None:
    refuse(lambda: find_cohort(tmp_path / "missing"), "missing", "no such folder")
    refuse(lambda: find_cohort(tmp_path), "the folder is empty")
    (tmp_path / ".DS_Store").write_text("")
    refuse(lambda: find_cohort(tmp_path), "the folder is empty")
    (tmp_path / "notes.txt").write_text("")
    refuse(lambda: find_cohort(tmp_path / "notes.txt"), "expected a folder, found a file")
    for function in (lambda: find_cohort(tmp_path), lambda: find_cases_to_predict([tmp_path])):
        refuse(function, "no layout recognised", "BraTS 2021", "MSD Task01", "found notes.txt")


def test_unknown_modalities_list_the_known_ones(tmp_path: Path) -> None:
    refuse(lambda: find_cohort(".", modalities=("flair", "t1c")), "t1c", "t1ce")
    refuse(lambda: find_cohort(".", modalities=()), "modalities []")
    refuse(lambda: find_cohort(".", modalities=("t1", "t1")), "different names")


@pytest.mark.parametrize(
    ("case", "suffixes", "convention"),
    [
        ("case_1", OLD, "brats2020"),
        ("BraTS2021_00001", OLD, "brats2021"),
        ("BraTS-GLI-00001-000", NEW, "brats2023"),
        ("BraTS-GLI-00001-101", NEW, "brats2024-gli"),
    ],
)
@pytest.mark.parametrize("way", ["folder", "parent", "files"])
def test_cases_to_predict(
    tmp_path: Path, save_case: Save, case: str, suffixes: dict, convention: str, way: str
) -> None:
    folder = save_case(tmp_path / case, suffixes=suffixes, without=("seg",))
    files = sorted(folder.iterdir(), reverse=True)
    paths = {"folder": [folder], "parent": [tmp_path], "files": files}[way]
    (found,) = find_cases_to_predict([str(path) for path in paths])
    assert (found.case_id, found.label_convention, found.labels) == (case, convention, None)
    for name in MODALITIES:
        assert found.images[name] == (folder / f"{case}{suffixes[name]}.nii.gz", None)


def test_bare_names_are_called_after_their_folder(tmp_path: Path, save_case: Save) -> None:
    suffixes = {name: name for name in MODALITIES}
    folder = save_case(tmp_path / "patient7", suffixes=suffixes, prefix="")
    assert (folder / "flair.nii.gz").exists()
    for paths in ([folder], sorted(folder.iterdir())):
        assert [case.case_id for case in find_cases_to_predict(paths)] == ["patient7"]


def test_msd_cases_to_predict(tmp_path: Path, save_task: Save) -> None:
    task = save_task(tmp_path / "Task01_BrainTumour")
    for path in (task, tmp_path, task / "imagesTr"):
        cases = find_cases_to_predict([path])
        assert [case.case_id for case in cases] == ["BRATS_001", "BRATS_002"]
        assert cases[0].label_convention == "msd-task01"
    shutil.copytree(task / "imagesTr", task / "imagesTs")
    (task / "imagesTs" / "BRATS_001.nii.gz").unlink()
    (case,) = find_cases_to_predict([task])
    assert case.images["t2"] == (task / "imagesTs" / "BRATS_002.nii.gz", 3)
    (case,) = find_cases_to_predict([task / "imagesTr" / "BRATS_001.nii.gz"])
    assert case.images["t1ce"] == (task / "imagesTr" / "BRATS_001.nii.gz", 2)


def test_several_paths_are_united(tmp_path: Path, save_case: Save, save_task: Save) -> None:
    one = save_case(tmp_path / "one")
    two = save_case(tmp_path / "two")
    task = save_task(tmp_path / "task")
    cases = find_cases_to_predict([two, *one.iterdir(), task])
    assert [case.case_id for case in cases] == ["BRATS_001", "BRATS_002", "one", "two"]
    refuse(lambda: find_cases_to_predict([one, *one.iterdir()]), "one is there twice")


def test_paths_that_cannot_be_predicted(tmp_path: Path, save_case: Save, save_nifti: Save) -> None:
    refuse(lambda: find_cases_to_predict([]), "no path given")
    refuse(lambda: find_cases_to_predict([tmp_path / "x.nii.gz"]), "x.nii.gz: no such file")
    other = save_nifti(tmp_path / "lonely" / "scan.nii.gz", np.ones((3, 3, 3, 4), np.int16))
    for path in (other, other.parent):
        refuse(lambda path=path: find_cases_to_predict([path]), "_flair", "dataset.json", "4D")
    (tmp_path / "scan.dcm").write_bytes(b"x")
    refuse(lambda: find_cases_to_predict([tmp_path / "scan.dcm"]), "expected a folder or a file")
    one = save_case(tmp_path / "one", without=("seg", "flair"))
    refuse(lambda: find_cases_to_predict([one]), "flair is missing", "found t1ce, t1, t2")
    two = save_case(tmp_path / "two", without=("seg", "t1ce", "t1", "t2"))
    paths = [*one.iterdir(), *two.iterdir()]
    refuse(lambda: find_cases_to_predict(paths), "case one", "flair is missing")


def test_real_data(real_data: Path) -> None:
    cohort = find_cohort(real_data / "msd" / "Task01_BrainTumour")
    assert [case.case_id for case in cohort.cases] == ["BRATS_009"]
    assert [channel for _, channel in cohort.cases[0].images.values()] == [0, 2, 1, 3]
    (case,) = find_cases_to_predict([real_data / "tcga"])
    assert case.case_id == "TCGA-FG-6692"
    refuse(lambda: find_cohort(real_data / "tcga"), "1 of 1 cases have no segmentation")
