"""Names and endings are refused where nnU-Net itself cannot take them, as its own functions show, and only there."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import SimpleITK as sitk
from conversion_sources import make_nnunet
from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class
from nnunetv2.utilities.utils import create_paths_fn, get_identifiers_from_splitted_dataset_folder
from preprocessed_cases import SHAPE, save_case

from dataset_conversion.raw.dataset import read_raw_dataset
from nnunetv2_mlbseg.cli.main import main
from noise_synthesis.safe_io.errors import InputError

GOOD = [
    "scan[1]",
    "a b",
    "a.b",
    "P#1",
    "a+b",
    "a(1)",
    "a*",
    "a?",
    "it's",
    "{a}",
    "a_0000",
    "Jos\u00e9",
    "p_SEG",
    "seg",
    "x.npz",
]


def nnunet_finds(folder, name):
    """Whether nnU-Net's functions list the case by its raw image, its image files, and its preprocessed data."""
    raw, preprocessed = folder / "raw", folder / "preprocessed"
    raw.mkdir()
    preprocessed.mkdir()
    file = f"{name}_0000.nii.gz"
    (raw / file).touch()
    save_case(preprocessed, name, np.zeros(SHAPE, np.float32), np.zeros(SHAPE, np.int16))
    return (
        list(get_identifiers_from_splitted_dataset_folder(str(raw), ".nii.gz")) == [name]
        and create_paths_fn(str(raw), [file], ".nii.gz", name) == [str(raw / file)]
        and infer_dataset_class(str(preprocessed)).get_identifiers(str(preprocessed)) == [name]
    )


@pytest.mark.parametrize("name", GOOD)
def test_a_name_that_nnunet_takes_is_taken(tmp_path, name):
    assert nnunet_finds(tmp_path, name)
    make_nnunet(tmp_path / "Dataset001_X", [name])
    assert read_raw_dataset(tmp_path / "Dataset001_X").names == [name]


def test_a_name_like_that_of_a_segmentation_is_refused_with_another_that_will_do(tmp_path):
    assert not nnunet_finds(tmp_path, "p0_seg")
    for number, names in enumerate((["p0_seg", "p1_seg"], ["p0_seg", "p0"])):
        folder = make_nnunet(tmp_path / f"Dataset00{number}_X", names)
        with pytest.raises(
            InputError, match=r"p0_seg.* cannot name a case: nnU-Net takes a name that ends in"
        ) as caught:
            read_raw_dataset(folder)
        assert "\n" not in str(caught.value)
        better = re.search(r"rename the files, p0_seg to (\S+) for example", str(caught.value))[1]
        assert better not in names
        (tmp_path / f"renamed{number}").mkdir()
        assert nnunet_finds(tmp_path / f"renamed{number}", better)


def test_split_and_check_say_so(nnunet_folders, tmp_path, capsys):
    make_nnunet(tmp_path / "nnUNet_raw" / "Dataset030_Own", ["p0_seg", "p1_seg", "p2"])
    assert main(["split", "30", "--clean", "p[01]*", "--noisy", "rest"]) == 2
    assert "rename the files, p0_seg to p0 for example" in capsys.readouterr().err
    assert main(["check", "30", "--skip-nnunet"]) == 1
    assert "rename the files, p0_seg to p0 for example" in capsys.readouterr().out


def test_segmentations_among_further_images_are_no_images(nnunet_folders, tmp_path, capsys):
    make_nnunet(tmp_path / "nnUNet_raw" / "Dataset030_Own", ["p0", "p1", "p2"])
    further = make_nnunet(tmp_path / "further", ["new"]) / "imagesTr"
    (further / "new_seg.nii.gz").write_bytes((tmp_path / "further" / "labelsTr" / "new.nii.gz").read_bytes())
    arguments = ["--clean", "p0", "p1", "--noisy", "rest", "--unlabeled-images", str(further)]
    assert main(["split", "30", "-d", "31", *arguments, "-np", "1"]) == 2
    assert f"--unlabeled-images {further}: new_seg cannot name a case" in capsys.readouterr().err


def upper(folder, ending, names=None):
    for path in (*(folder / "imagesTr").iterdir(), *(folder / "labelsTr").iterdir()):
        if names is None or path.name.startswith(names):
            path.rename(path.with_name(path.name.replace(".nii.gz", ending)))


@pytest.mark.parametrize("names", [None, "p1"])
def test_files_whose_ending_is_in_upper_case_are_not_overlooked(tmp_path, names):
    folder = make_nnunet(tmp_path / "Dataset001_X", ["p0", "p1"])
    upper(folder, ".NII.GZ", names)
    assert len(get_identifiers_from_splitted_dataset_folder(str(folder / "imagesTr"), ".nii.gz")) == bool(names)
    with pytest.raises(
        InputError, match=r"p1_0000\.NII\.GZ: nnU-Net overlooks files that do not end in \.nii\.gz, .*rename"
    ):
        read_raw_dataset(folder)


def test_an_ending_that_nothing_can_be_written_with_is_refused(tmp_path):
    folder = make_nnunet(tmp_path / "Dataset001_X", ["p0"])
    upper(folder, ".NII.GZ")
    description = json.loads((folder / "dataset.json").read_text())
    (folder / "dataset.json").write_text(json.dumps({**description, "file_ending": ".NII.GZ"}))
    with pytest.raises(RuntimeError, match="Bad Nifti file name"):
        sitk.WriteImage(sitk.Image(4, 4, 4, sitk.sitkUInt8), str(tmp_path / "a.NII.GZ"))
    with pytest.raises(
        InputError, match=r"'file_ending' is '\.NII\.GZ', which no .*rename the files to end in \.nii\.gz"
    ):
        read_raw_dataset(folder)
