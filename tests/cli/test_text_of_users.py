"""Lists, role files, folds and settings from another system: other bytes, the same cases."""

from __future__ import annotations

import json
import unicodedata

import pytest
from batchgenerators.utilities.file_and_folder_operations import load_json
from checked_dataset import label, sound_dataset
from conversion_sources import make_nnunet, read

from dataset_conversion.checks.dataset import check_dataset
from dataset_conversion.checks.leaks import Leak, refuse, shared_names
from nnunetv2_mlbseg.cases.roles import read_fold
from nnunetv2_mlbseg.cli.main import main
from nnunetv2_mlbseg.settings.overrides import read_environment

NAMES = [f"Jos\u00e9 {number}" for number in range(4)]


def other_spelling(name):
    return unicodedata.normalize("NFD", name)


@pytest.mark.parametrize("on_disk", ["NFC", "NFD"])
def test_split_finds_the_cases_of_a_list_from_another_system(nnunet_folders, tmp_path, on_disk):
    names = [unicodedata.normalize(on_disk, name) for name in NAMES]
    other = [unicodedata.normalize({"NFC": "NFD", "NFD": "NFC"}[on_disk], name) for name in NAMES]
    make_nnunet(tmp_path / "nnUNet_raw" / "Dataset030_Own", names)
    (tmp_path / "clean.txt").write_bytes("\r\n".join(other[:2]).encode("utf-16"))
    arguments = ["--clean", str(tmp_path / "clean.txt"), "--noisy", other[2], "--unlabeled", other[3][:-1] + "[3]"]
    assert main(["split", "30", "-d", "31", *arguments, "-np", "1"]) == 0
    folder = tmp_path / "nnUNet_raw" / "Dataset031_Own"
    assert read(folder / "supervision" / "clean.json") == names[:2]
    assert sorted(case for fold in read(folder / "splits_final.json") for case in fold["val"]) == names[:2]


def renamed(tmp_path):
    """A sound dataset whose case p0 has an accent, and role files and folds that spell it otherwise."""
    dataset = sound_dataset(tmp_path / "nnUNet_raw")
    for path in (dataset / "imagesTr" / "p0_0000.nii.gz", label(dataset, "p0")):
        path.rename(path.with_name(path.name.replace("p0", "P\u00e90")))
    for path in (*(dataset / "supervision").iterdir(), dataset / "splits_final.json"):
        text = json.dumps(read(path), ensure_ascii=False).replace('"p0"', f'"{other_spelling("P" + chr(233) + "0")}"')
        path.write_bytes(text.encode("utf-8-sig"))
    return dataset


def test_check_and_training_find_the_cases_of_role_files_from_another_system(nnunet_folders, tmp_path):
    dataset = renamed(tmp_path)
    ((severity, message),) = [(f.severity, f.message) for f in check_dataset(dataset, 1, with_nnunet=False)[1]]
    assert severity == "warning" and message.startswith("splits_final.json: nnU-Net itself cannot read it; save it as")
    with pytest.raises(json.JSONDecodeError):
        load_json(str(dataset / "splits_final.json"))  # as a stock trainer does
    (dataset / "splits_final.json").write_text((dataset / "splits_final.json").read_text("utf-8-sig"), "utf-8")
    assert check_dataset(dataset, 1, with_nnunet=False) == (8, [])
    roles = read_fold(dataset, 0, ["P\u00e90", *(f"p{number}" for number in range(1, 8))])
    assert roles.clean == ("P\u00e90", "p1", "p2")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_description_that_nnunet_cannot_read_is_a_problem(nnunet_folders, tmp_path, encoding):
    dataset = sound_dataset(tmp_path / "nnUNet_raw")
    (dataset / "dataset.json").write_bytes((dataset / "dataset.json").read_text().encode(encoding))
    (finding,) = check_dataset(dataset, 1, with_nnunet=False)[1]
    assert finding.severity == "problem" and finding.message.startswith("dataset.json: nnU-Net itself cannot read it")


def test_a_leak_does_not_hide_behind_another_spelling():
    assert list(shared_names([NAMES[0]], [other_spelling(NAMES[0])], "test"))
    leak = Leak(NAMES[0], "leaks")
    assert refuse([leak], [other_spelling(NAMES[0])], "here") == ["leaks"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_settings_in_a_file_from_another_system(tmp_path, encoding):
    path = tmp_path / "config.json"
    path.write_bytes(b'{"seed": 3}'.decode().encode(encoding))
    assert read_environment(str(path)) == {"seed": 3}
