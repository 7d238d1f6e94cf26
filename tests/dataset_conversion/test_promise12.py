"""PROMISE12: layouts, scaling, geometry, the paper's split, and one line for everything that can be wrong."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import SimpleITK as sitk
from conversion_sources import array_of, make_mhd, read

from dataset_conversion import promise12
from dataset_conversion.promise12 import scale_by_percentiles
from dataset_conversion.simulation.options import run_as_script
from noise_synthesis.safe_io.errors import InputError

NAMES = [f"Case{number:02d}" for number in range(10)]


def convert(*arguments: object) -> int:
    texts = [str(argument) for argument in arguments]
    return run_as_script(promise12.DESCRIPTION, promise12.add_arguments, promise12.run, texts)


@pytest.fixture
def raw(nnunet_folders, tmp_path):
    return tmp_path / "nnUNet_raw"


@pytest.fixture
def source(tmp_path):
    for number, name in enumerate(NAMES):
        make_mhd(tmp_path / "p12", name, seed=number, compressed=number % 2 == 0)
    return tmp_path / "p12"


def usual(source, *more: object) -> int:
    return convert(source, "-d", 512, "--clean", 2, "--noise-level", 0.8, "-np", 1, *more)


def test_percentiles_by_hand():
    """0 to 100 in steps of 1: the 1 % percentile is 1, the 99 % one 99; below and above is cut off."""
    image = sitk.GetImageFromArray(np.arange(101, dtype=np.int16).reshape(1, 1, 101))
    image.SetSpacing((2, 3, 4))
    scaled = scale_by_percentiles(image, "x")
    values = sitk.GetArrayFromImage(scaled).ravel()
    assert scaled.GetSpacing() == (2, 3, 4)
    assert values.dtype == np.float32
    np.testing.assert_allclose(values[[0, 1, 50, 99, 100]], [0, 0, 0.5, 1, 1])


def test_int16_range_does_not_wrap_around():
    array = np.array([-32768, -32768, 0, 32767, 32767], np.int16).reshape(1, 1, 5)
    values = sitk.GetArrayFromImage(scale_by_percentiles(sitk.GetImageFromArray(array), "x")).ravel()
    np.testing.assert_allclose(values, [0, 0, 0.5, 1, 1], atol=1e-4)


def test_constant_scan_cannot_be_scaled():
    with pytest.raises(InputError, match=r"where it is: 1 % and 99 % intensity percentiles are 7\.0 and 7\.0"):
        scale_by_percentiles(sitk.Image((4, 4, 4), sitk.sitkInt16) + 7, "where it is")


def test_same_physical_points_and_labels(source, raw):
    assert usual(source, "--noisy-ratio", 0.5) == 0
    folder = raw / "Dataset512_PROMISE12"
    for name in NAMES:
        original = sitk.ReadImage(str(source / f"{name}.mhd"))
        for path in (folder / "imagesTr" / f"{name}_0000.nii.gz", folder / "labelsTr" / f"{name}.nii.gz"):
            image = sitk.ReadImage(str(path))
            assert image.GetSize() == original.GetSize()
            for index in ((0, 0, 0), (23, 0, 5), (3, 19, 2), (23, 19, 5)):
                expected = original.TransformIndexToPhysicalPoint(index)
                assert image.TransformIndexToPhysicalPoint(index) == pytest.approx(expected, abs=1e-4)
        true = folder / "labelsTr_true" / f"{name}.nii.gz"
        true = true if true.exists() else folder / "labelsTr" / f"{name}.nii.gz"
        np.testing.assert_array_equal(array_of(true), array_of(source / f"{name}_segmentation.mhd"))
        image = array_of(folder / "imagesTr" / f"{name}_0000.nii.gz")
        assert (image.min(), image.max()) == (0, 1)


def test_parts(source, raw):
    for number, name in enumerate(NAMES):
        part = source / f"TrainingData_Part{number % 3 + 1}"
        part.mkdir(exist_ok=True)
        for path in source.glob(f"{name}*"):
            shutil.move(path, part / path.name)
    assert usual(source) == 0
    assert len(list((raw / "Dataset512_PROMISE12" / "imagesTr").iterdir())) == 10


@pytest.fixture
def all_fifty(tmp_path):
    for number, name in enumerate(promise12.PAPER_CASES):
        make_mhd(tmp_path / "all", name, seed=number)
    return tmp_path / "all"


def paper(source, *more: object) -> int:
    return convert(source, "-d", 512, "--paper", "--size", "20x20", "--noisy-ratio", 0, "-np", 1, *more)


def test_paper(all_fifty, raw):
    assert paper(all_fifty) == 0
    folder = raw / "Dataset512_PROMISE12"
    assert read(folder / "supervision" / "clean.json") == ["Case05", "Case14", "Case29"]
    evaluation = [f"Case{number}" for number in (12, 13, 16, 20, 23, 28, 34, 35, 43, 49)]
    (fold,) = read(folder / "splits_final.json")
    assert (fold["val"], len(fold["train"])) == (evaluation, 40)


def test_table1(all_fifty, raw):
    assert paper(all_fifty, "--table1") == 0
    folder = raw / "Dataset512_PROMISE12"
    (fold,) = read(folder / "splits_final.json")
    test = sorted(path.name[:6] for path in (folder / "labelsTs").iterdir())
    assert (len(fold["val"]), len(fold["train"]), len(test)) == (4, 40, 6)
    assert sorted([*fold["val"], *test]) == sorted(promise12.PAPER_EVALUATION)
    assert sorted(path.name[:6] for path in (folder / "imagesTs").iterdir()) == test
    assert read(folder / "dataset.json")["numTraining"] == 44
    assert not set(test) & {path.name[:6] for path in (folder / "imagesTr").iterdir()}
    assert read(folder / "supervision" / "provenance.json")["split"]["test"] == test


def test_absent_cases_are_named_and_only_allowed_on_demand(all_fifty, raw, capsys):
    for name in ("Case49", "Case07", "Case29"):
        for path in all_fifty.glob(f"{name}*"):
            path.unlink()
    assert paper(all_fifty) == 2
    assert "Case29" in capsys.readouterr().err
    assert paper(all_fifty, "--allow-missing") == 0
    said = capsys.readouterr().out
    assert all(name in said for name in ("Case49", "Case07", "Case29"))
    assert read(raw / "Dataset512_PROMISE12" / "supervision" / "clean.json") == ["Case05", "Case14"]


def test_paper_settings_yield_to_options(all_fifty, raw, tmp_path):
    (tmp_path / "held.json").write_text(json.dumps(["Case01", "Case02"]))
    assert paper(all_fifty, "--evaluation", tmp_path / "held.json", "--clean", 5) == 0
    folder = raw / "Dataset512_PROMISE12"
    assert len(read(folder / "supervision" / "clean.json")) == 5
    assert read(folder / "splits_final.json")[0]["val"] == ["Case01", "Case02"]


def spoil_label(source):
    path = str(source / "Case03_segmentation.mhd")
    sitk.WriteImage(sitk.ReadImage(path) * 2, path)


def shorten_label(source):
    path = str(source / "Case03_segmentation.mhd")
    sitk.WriteImage(sitk.ReadImage(path)[:, :, 1:], path)


@pytest.mark.parametrize(
    ("damage", "options", "said"),
    [
        (lambda s: (shutil.rmtree(s), s.mkdir()), (), "the folder is empty; accepted layout"),
        (lambda s: [p.unlink() for p in s.glob("*.mhd")], (), "no PROMISE12 scans found, but 20 entries"),
        (lambda s: (s / "Case03_segmentation.mhd").unlink(), (), "Case03.mhd: no Case03_segmentation.mhd beside it"),
        (lambda s: (s / "Case03.raw").unlink(), (), "Case03.mhd: cannot be read"),
        (lambda s: (s / "Case03.mhd").write_text("nonsense"), (), "Case03.mhd: cannot be read"),
        (spoil_label, (), "Case03_segmentation.mhd: label value 2; expected 0, 1"),
        (shorten_label, (), "case Case03: image and label differ in shape"),
        (lambda s: shutil.copytree(s, s / "again"), (), "Case00 lies in more than one folder"),
        (lambda s: None, ("--table1",), "--table1 divides the paper's evaluation cases"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(source, raw, capsys, damage, options, said):
    damage(source)
    assert usual(source, *options) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("mlbseg: error: ")]
    assert len(errors) == 1
    assert said in errors[0]
    assert list(raw.iterdir()) == []


def test_real_scans(promise12_source, raw, tmp_path):
    (tmp_path / "some").mkdir()
    for number in (0, 1, 4, 5, 6):
        for path in promise12_source.glob(f"Case{number:02d}*"):
            (tmp_path / "some" / path.name).symlink_to(path)
    assert usual(tmp_path / "some") == 0
    provenance = read(raw / "Dataset512_PROMISE12" / "supervision" / "provenance.json")
    assert provenance["noise"]["mean_dice"] == pytest.approx(0.8, abs=0.005)
