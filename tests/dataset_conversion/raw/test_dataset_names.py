"""A raw dataset has the name under which nnU-Net finds it."""

from __future__ import annotations

import pytest
from conversion_sources import make_nnunet, read

from dataset_conversion.raw.names import dataset_name, name_after_number
from nnunetv2_mlbseg.cli.main import main

NAMES = ["p0", "p1", "p2", "p3"]


@pytest.fixture
def raw(nnunet_folders, tmp_path):
    folder = tmp_path / "nnUNet_raw"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture
def linked(raw, tmp_path):
    """``Dataset030_Own`` in nnUNet_raw is a link to ``data_v2`` elsewhere."""
    place = make_nnunet(tmp_path / "data_v2", NAMES)
    (raw / "Dataset030_Own").symlink_to(place, target_is_directory=True)
    return place


def test_a_link_has_its_own_name_from_wherever_it_is_looked_at(linked, raw, monkeypatch):
    for folder in (raw / "Dataset030_Own", linked, linked / ".." / "data_v2"):
        assert dataset_name(folder) == "Dataset030_Own" and name_after_number(folder) == "Own"
    monkeypatch.chdir(linked)
    assert dataset_name(linked.__class__(".")) == "Dataset030_Own"


def test_a_folder_of_nnunet_raw_has_its_own_name_though_a_link_beside_it_leads_there(raw):
    folder = make_nnunet(raw / "Dataset031_Real", NAMES)
    (raw / "Dataset030_Link").symlink_to(folder, target_is_directory=True)
    assert dataset_name(folder) == "Dataset031_Real" and dataset_name(raw / "Dataset030_Link") == "Dataset030_Link"


def test_a_folder_elsewhere_has_its_own_name(raw, tmp_path, monkeypatch):
    folder = make_nnunet(tmp_path / "Dataset007_Elsewhere", NAMES)
    assert dataset_name(folder) == "Dataset007_Elsewhere"
    monkeypatch.delenv("nnUNet_raw")
    assert dataset_name(folder) == "Dataset007_Elsewhere"
    assert name_after_number(make_nnunet(tmp_path / "prostate", NAMES)) == "prostate"


@pytest.mark.parametrize("given", ["30", "the folder"])
def test_split_and_convert_name_the_new_dataset_after_the_link(linked, raw, given):
    source = {"30": "30", "the folder": str(linked)}[given]
    assert main(["split", source, "-d", "31", "--clean", "p0", "p1", "--noisy", "rest", "-np", "1"]) == 0
    assert main(["convert", "nnunet", source, "-d", "32", "--clean", "1", "-np", "1", "--noisy-ratio", "0"]) == 0
    for folder in (raw / "Dataset031_Own", raw / "Dataset032_Own"):
        assert read(folder / "supervision" / "provenance.json")["source"]["folder"] == "Dataset030_Own"
