"""LA in both layouts: arrays, geometry, roles, and one line for everything that can be wrong."""

from __future__ import annotations

import shutil

import h5py
import numpy as np
import pytest
import SimpleITK as sitk
from conversion_sources import DIRECTION, ORIGIN, array_of, make_h5, make_nrrd, read, tree
from la_conversion import NAMES, convert, usual

from dataset_conversion import la


@pytest.fixture
def raw(nnunet_folders, tmp_path):
    return tmp_path / "nnUNet_raw"


@pytest.fixture
def h5_source(tmp_path):
    for number, name in enumerate(NAMES):
        make_h5(tmp_path / "h5", name, seed=number)
    return tmp_path / "h5"


def test_layout_of_the_result(h5_source, raw):
    assert usual(h5_source, "--noisy-ratio", 0.5) == 0
    folder = raw / "Dataset501_LA"
    roles = {role: read(folder / "supervision" / f"{role}.json") for role in ("clean", "noisy", "unlabeled")}
    assert {role: len(cases) for role, cases in roles.items()} == {"clean": 2, "noisy": 3, "unlabeled": 3}
    (fold,) = read(folder / "splits_final.json")
    assert len(fold["val"]) == 2
    assert sorted(fold["train"]) == sorted(name for cases in roles.values() for name in cases)
    assert sorted(path.name for path in (folder / "imagesTr").iterdir()) == [f"{name}_0000.nii.gz" for name in NAMES]
    assert sorted(path.name for path in (folder / "labelsTr").iterdir()) == [f"{name}.nii.gz" for name in NAMES]
    truths = sorted(path.name.split(".")[0] for path in (folder / "labelsTr_true").iterdir())
    assert truths == sorted(roles["noisy"] + roles["unlabeled"])
    assert read(folder / "dataset.json") == {
        "channel_names": {"0": "MRI"},
        "labels": {"background": 0, "left_atrium": 1, "ignore": 2},
        "numTraining": 10,
        "file_ending": ".nii.gz",
    }
    assert [path.name for path in raw.iterdir()] == ["Dataset501_LA"]


def test_no_ignore_label_without_unlabeled_cases(h5_source, raw):
    assert usual(h5_source) == 0
    assert "ignore" not in read(raw / "Dataset501_LA" / "dataset.json")["labels"]
    assert read(raw / "Dataset501_LA" / "supervision" / "unlabeled.json") == []


def test_semi_supervision_needs_no_noise(h5_source, raw):
    assert usual(h5_source, "--noisy-ratio", 0) == 0
    folder = raw / "Dataset501_LA"
    assert len(read(folder / "supervision" / "unlabeled.json")) == 6
    assert read(folder / "supervision" / "provenance.json")["noise"] == {"level": None}


def test_labels_by_role(h5_source, raw):
    assert usual(h5_source, "--noisy-ratio", 0.5) == 0
    folder = raw / "Dataset501_LA"
    provenance = read(folder / "supervision" / "provenance.json")
    dice = []
    for name in NAMES:
        with h5py.File(h5_source / name / "mri_norm2.h5") as file:
            image, true = file["image"][()].transpose(2, 1, 0), file["label"][()].transpose(2, 1, 0)
        np.testing.assert_array_equal(array_of(folder / "imagesTr" / f"{name}_0000.nii.gz"), image)
        label = array_of(folder / "labelsTr" / f"{name}.nii.gz")
        if name in provenance["split"]["unlabeled"]:
            assert (label == 2).all()
        elif name in provenance["split"]["noisy"]:
            dice.append(2 * (label & true).sum() / (label.sum() + true.sum()))
            assert dice[-1] == pytest.approx(provenance["noise"]["cases"][name]["dice"], abs=1e-5)
        else:
            np.testing.assert_array_equal(label, true)
        if name in provenance["split"]["unlabeled"] + provenance["split"]["noisy"]:
            np.testing.assert_array_equal(array_of(folder / "labelsTr_true" / f"{name}.nii.gz"), true)
    assert len(dice) == 3
    assert np.mean(dice) == pytest.approx(0.8, abs=0.005)


def test_true_labels_for_the_upper_bound(h5_source, raw):
    assert usual(h5_source, "--noisy-ratio", 0, "--true-ratio", 0.5) == 0
    folder = raw / "Dataset501_LA"
    true = read(folder / "supervision" / "provenance.json")["split"]["noisy_with_true_label"]
    assert len(true) == 3
    assert read(folder / "supervision" / "noisy.json") == true
    for name in true:
        assert (folder / "labelsTr" / f"{name}.nii.gz").read_bytes() == (
            folder / "labelsTr_true" / f"{name}.nii.gz"
        ).read_bytes()


def test_provenance_names_no_place_on_this_machine(h5_source, raw, tmp_path):
    listed = tmp_path / "clean.list"
    listed.write_text("SCAN00\nSCAN01\n")
    assert convert(h5_source, "-d", 501, "--clean", listed, "--noise-level", "L3", "--seed", 4, "-np", 1) == 0
    provenance = read(raw / "Dataset501_LA" / "supervision" / "provenance.json")
    assert provenance["source"] == {"data_set": "LA 2018", "layout": "h5", "folder": "h5"}
    assert provenance["options"]["clean"] == "clean.list"
    assert (provenance["seed"], provenance["noise"]["level"], provenance["noise"]["target_dice"]) == (4, "L3", 0.8031)
    assert str(tmp_path) not in str(provenance)


def test_same_bytes_for_any_number_of_processes(h5_source, raw):
    assert usual(h5_source, "--noisy-ratio", 0.5) == 0
    one = tree(raw / "Dataset501_LA")
    assert convert(h5_source, "-d", 502, "--clean", 2, "--noise-level", 0.8, "-np", 2, "--noisy-ratio", 0.5) == 0
    assert tree(raw / "Dataset502_LA") == one


def test_size(h5_source, raw):
    assert usual(h5_source, "--size", "12x30") == 0
    image = sitk.ReadImage(str(raw / "Dataset501_LA" / "imagesTr" / "SCAN00_0000.nii.gz"))
    assert image.GetSize() == (12, 30, 6)
    # 24 x 20 pixels of 0.625 mm over the same extent.
    assert image.GetSpacing() == pytest.approx((1.25, 0.625 * 20 / 30, 0.625))


def test_resampled_h5_scans_are_remarked_on(h5_source, raw, capsys):
    assert usual(h5_source) == 0
    assert "not 88 slices" in capsys.readouterr().err
    assert usual(h5_source, "--force", "--spacing", 1, 2, 3) == 0
    assert "88 slices" not in capsys.readouterr().err
    image = sitk.ReadImage(str(raw / "Dataset501_LA" / "imagesTr" / "SCAN00_0000.nii.gz"))
    assert image.GetSpacing() == (1, 2, 3)


def make_challenge(folder, count=10, **options):
    pairs = {}
    for number in range(count):
        name = f"SCAN{number:02d}"
        pairs[name] = make_nrrd(folder / "Training Set", name, seed=number, **options)
    (folder / "Training Set" / "desktop.ini").write_text("stray")
    (folder / "Training Set" / "SCAN00" / "lawall.nrrd").write_text("stray")
    (folder / "readme.py").write_text("stray")
    return pairs


def test_challenge_layout(tmp_path, raw, capsys):
    pairs = make_challenge(tmp_path / "la")
    assert usual(tmp_path / "la") == 0
    folder = raw / "Dataset501_LA"
    for name, (image, label) in pairs.items():
        converted = sitk.ReadImage(str(folder / "imagesTr" / f"{name}_0000.nii.gz"))
        assert converted.GetSpacing() == (0.625, 0.625, 0.625)
        assert converted.GetOrigin() == pytest.approx(ORIGIN, abs=1e-5)
        assert converted.GetDirection() == pytest.approx(DIRECTION, abs=1e-6)
        np.testing.assert_array_equal(sitk.GetArrayFromImage(converted), sitk.GetArrayFromImage(image))
        true = folder / "labelsTr_true" / f"{name}.nii.gz"
        true = true if true.exists() else folder / "labelsTr" / f"{name}.nii.gz"
        np.testing.assert_array_equal(array_of(true) * 255, sitk.GetArrayFromImage(label))
    assert "spacing" not in capsys.readouterr().err


def test_a_header_that_knows_its_spacing_is_believed_and_remarked_on(tmp_path, raw, capsys):
    pairs = make_challenge(tmp_path / "la", spacing=(1.25, 1.3, 2.5))
    assert usual(tmp_path / "la") == 0
    assert "the header says spacing (1.25, 1.3, 2.5) mm" in capsys.readouterr().err
    folder = raw / "Dataset501_LA"
    for name, (image, _) in pairs.items():
        for path in (folder / "imagesTr" / f"{name}_0000.nii.gz", folder / "labelsTr" / f"{name}.nii.gz"):
            assert_same_points(sitk.ReadImage(str(path)), image)


def assert_same_points(image: sitk.Image, original: sitk.Image) -> None:
    assert image.GetSize() == original.GetSize()
    for index in ((0, 0, 0), (23, 0, 5), (3, 19, 2), (23, 19, 5)):
        expected = original.TransformIndexToPhysicalPoint(index)
        assert image.TransformIndexToPhysicalPoint(index) == pytest.approx(expected, abs=1e-4)


def test_spacing_option_overrides_the_header(tmp_path, raw):
    make_challenge(tmp_path / "la", spacing=(1.25, 1.3, 2.5))
    assert usual(tmp_path / "la", "--spacing", 0.7, 0.8, 0.9) == 0
    image = sitk.ReadImage(str(raw / "Dataset501_LA" / "labelsTr" / "SCAN00.nii.gz"))
    assert image.GetSpacing() == pytest.approx((0.7, 0.8, 0.9))


def test_crop_heart(tmp_path, raw):
    pairs = make_challenge(tmp_path / "la", shape=(4, 200, 300), spacing=(1, 1, 1))
    assert usual(tmp_path / "la", "--crop-heart") == 0
    for name, (image, label) in pairs.items():
        cropped = sitk.ReadImage(str(raw / "Dataset501_LA" / "imagesTr" / f"{name}_0000.nii.gz"))
        hit = np.argwhere(sitk.GetArrayFromImage(label).any(axis=0))
        low, high = hit.min(axis=0)[::-1], hit.max(axis=0)[::-1]
        widths = np.array(cropped.GetSize()[:2])
        assert cropped.GetSize()[2] == 4
        # At least 112 voxels, 15 more on each side, never beyond the border: here the heart lies well inside.
        expected = np.minimum(np.maximum(high - low + 1, 112) + 30, (300, 200))
        assert (np.abs(widths - expected) <= 1).all()
        image.SetSpacing((0.625,) * 3)
        start = image.TransformPhysicalPointToIndex(cropped.GetOrigin())
        x, y = start[0], start[1]
        np.testing.assert_array_equal(
            sitk.GetArrayFromImage(cropped),
            sitk.GetArrayFromImage(image)[:, y : y + widths[1], x : x + widths[0]],
        )


def test_testing_set(tmp_path, raw, capsys):
    make_challenge(tmp_path / "la")
    make_nrrd(tmp_path / "la" / "Testing Set", "HIDDEN", seed=77)
    (tmp_path / "la" / "Testing Set" / "HIDDEN" / "laendo.nrrd").unlink()
    assert usual(tmp_path / "la") == 0
    assert "1 cases of the testing set are left out" in capsys.readouterr().out
    assert usual(tmp_path / "la", "--testing-set", "--force") == 0
    folder = raw / "Dataset501_LA"
    assert [path.name for path in (folder / "imagesTs").iterdir()] == ["HIDDEN_0000.nii.gz"]
    assert list((folder / "labelsTs").iterdir()) == []
    assert read(folder / "dataset.json")["numTraining"] == 10


def test_published_lists():
    train, evaluation = la.published_list("train"), la.published_list("evaluation")
    assert (len(set(train)), len(set(evaluation)), len(set(train) & set(evaluation))) == (80, 20, 0)
    assert all(len(name) == 20 for name in train + evaluation)


def test_paper(tmp_path, raw, monkeypatch):
    lists = {"train": NAMES[:8], "evaluation": NAMES[8:]}
    monkeypatch.setattr(la, "published_list", lists.__getitem__)
    monkeypatch.setattr(la, "PAPER_CLEAN", 3)
    monkeypatch.setattr(la, "PAPER_SIZE", (16, 16))
    make_challenge(tmp_path / "la", count=11)
    assert convert(tmp_path / "la", "-d", 501, "--paper", "--noisy-ratio", 0, "-np", 1) == 0
    folder = raw / "Dataset501_LA"
    assert len(read(folder / "supervision" / "clean.json")) == 3
    assert read(folder / "splits_final.json")[0]["val"] == NAMES[8:]
    assert not (folder / "imagesTr" / "SCAN10_0000.nii.gz").exists()  # in neither list
    image = sitk.ReadImage(str(folder / "imagesTr" / "SCAN00_0000.nii.gz"))
    assert image.GetSize()[:2] == (16, 16)
    assert image.GetSpacing() == (1, 1, 1)


def test_a_size_that_would_turn_the_slices_is_reported_and_nominal_spacing_prevents_it(h5_source, raw, capsys):
    """Half as many pixels of twice the size: coarser than the slices are apart, so nnU-Net would cut across x."""
    x, y, z = sitk_size = _size_of(h5_source)
    small = f"{x // 2}x{y // 2}"
    assert usual(h5_source, "--size", small) == 0
    message = capsys.readouterr().err
    assert "across the axis with the largest spacing, here x" in message and "--nominal-spacing" in message
    assert usual(h5_source, "--size", small, "--nominal-spacing", "--force") == 0
    assert "largest spacing" not in capsys.readouterr().err
    folder = raw / "Dataset501_LA"
    for name in ("imagesTr/SCAN00_0000.nii.gz", "labelsTr/SCAN00.nii.gz"):
        written = sitk.ReadImage(str(folder / name))
        assert (written.GetSize(), written.GetSpacing()) == ((x // 2, y // 2, z), (1, 1, 1))
    recorded = read(folder / "supervision" / "provenance.json")["true_spacing_mm"]["SCAN00"]
    expected = [0.625 * sitk_size[0] / (x // 2), 0.625 * sitk_size[1] / (y // 2), 0.625]
    assert recorded == pytest.approx(expected)


def _size_of(source) -> tuple[int, int, int]:
    with h5py.File(source / "SCAN00" / "mri_norm2.h5") as file:
        return file["image"].shape


def test_nominal_spacing_without_a_size_is_an_error(h5_source, raw, capsys):
    assert usual(h5_source, "--nominal-spacing") == 2
    assert "give it together with --size" in capsys.readouterr().err


def test_paper_with_absent_cases(tmp_path, raw, monkeypatch, capsys):
    lists = {"train": [*NAMES[:8], "GONE"], "evaluation": NAMES[8:]}
    monkeypatch.setattr(la, "published_list", lists.__getitem__)
    monkeypatch.setattr(la, "PAPER_CLEAN", 3)
    make_challenge(tmp_path / "la")
    assert convert(tmp_path / "la", "-d", 501, "--paper", "-np", 1) == 2
    assert "not in the source: GONE" in capsys.readouterr().err
    arguments = ("--paper", "--allow-missing", "--noisy-ratio", 0, "-np", 1)
    assert convert(tmp_path / "la", "-d", 501, *arguments) == 0
    assert "GONE" in capsys.readouterr().out
    lists["evaluation"] = ["LOST"]
    assert convert(tmp_path / "la", "-d", 502, *arguments) == 2
    assert "none of the 1 evaluation cases is in the source" in capsys.readouterr().err


def break_nothing(source):
    pass


def change_h5(source, key, change):
    with h5py.File(source / "SCAN03" / "mri_norm2.h5", "a") as file:
        array = file[key][()]
        del file[key]
        file[key] = change(array)


def remove_key(source):
    with h5py.File(source / "SCAN03" / "mri_norm2.h5", "a") as file:
        del file["label"]


def with_nan(array):
    array[0, 0, 0] = np.nan
    return array


@pytest.mark.parametrize(
    ("damage", "options", "said"),
    [
        (shutil.rmtree, (), "no such folder"),
        (lambda s: (shutil.rmtree(s), s.mkdir()), (), "the folder is empty; accepted layouts"),
        (lambda s: (shutil.rmtree(s), s.mkdir(), (s / "a.png").touch()), (), "1 entries: a.png; accepted layouts"),
        (lambda s: (s / "SCAN03" / "mri_norm2.h5").write_text("no"), (), "SCAN03/mri_norm2.h5: cannot be read as HDF5"),
        (remove_key, (), "SCAN03/mri_norm2.h5: expected the arrays 'image' and 'label'"),
        (lambda s: change_h5(s, "label", lambda a: a[:-1]), (), "SCAN03/mri_norm2.h5: image and label differ in shape"),
        (lambda s: change_h5(s, "label", lambda a: a * 3), (), "SCAN03/mri_norm2.h5: label value 3; expected 0, 1"),
        (lambda s: change_h5(s, "image", with_nan), (), "case SCAN03: the image holds NaN"),
        (lambda s: make_nrrd(s, "SCAN10"), (), "holds both mri_norm2.h5 and lgemri.nrrd"),
        (break_nothing, ("--clean", 9), "--clean 9: expected 1 to 7"),
        (break_nothing, ("--clean", "-1"), "--clean -1: expected 1 to 7"),
        (break_nothing, ("--clean", "nowhere.list"), "--clean nowhere.list: no such file, and no case whose"),
        (break_nothing, ("--noise-level", "L9"), "got 'L9'"),
        (break_nothing, ("--noise-level", "0.00001"), "target Dice 0.0000"),
        (break_nothing, ("--seed", "-1"), "--seed -1"),
        (break_nothing, ("-np", "0"), "-np 0"),
        (break_nothing, ("--crop-heart",), "--crop-heart"),
        (break_nothing, ("--noisy-ratio", "2"), "--noisy-ratio"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(h5_source, raw, capsys, damage, options, said):
    damage(h5_source)
    assert usual(h5_source, *options) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("mlbseg: error: ")]
    assert len(errors) == 1
    assert said in errors[0]
    assert list(raw.iterdir()) == []


def test_bad_input_found_by_a_worker_process(h5_source, raw, capsys):
    (h5_source / "SCAN03" / "mri_norm2.h5").write_text("no")
    assert usual(h5_source, "-np", 2) == 2
    assert "SCAN03/mri_norm2.h5: cannot be read as HDF5" in capsys.readouterr().err
    assert list(raw.iterdir()) == []


def test_challenge_label_values(tmp_path, raw, capsys):
    make_challenge(tmp_path / "la")
    path = tmp_path / "la" / "Training Set" / "SCAN03" / "laendo.nrrd"
    sitk.WriteImage(sitk.ReadImage(str(path)) - 100, str(path))
    assert usual(tmp_path / "la") == 2
    assert "laendo.nrrd: label value 155, 156; expected 0, 255" in capsys.readouterr().err


def test_challenge_case_without_label(tmp_path, raw, capsys):
    make_challenge(tmp_path / "la")
    (tmp_path / "la" / "Training Set" / "SCAN03" / "laendo.nrrd").unlink()
    assert usual(tmp_path / "la") == 2
    assert "SCAN03: lgemri.nrrd without laendo.nrrd" in capsys.readouterr().err


def test_image_and_label_elsewhere_in_space(tmp_path, raw, capsys):
    make_challenge(tmp_path / "la")
    path = tmp_path / "la" / "Training Set" / "SCAN03" / "laendo.nrrd"
    label = sitk.ReadImage(str(path))
    label.SetOrigin((0, 0, 0))
    sitk.WriteImage(label, str(path))
    assert usual(tmp_path / "la") == 2
    assert "case SCAN03: image and label lie elsewhere in space" in capsys.readouterr().err


def test_number_taken(h5_source, raw, capsys):
    assert usual(h5_source) == 0
    before = tree(raw)
    assert usual(h5_source, "--seed", 1) == 2
    assert "number taken by" in capsys.readouterr().err
    assert tree(raw) == before
    assert usual(h5_source, "--seed", 1, "--force") == 0
    assert tree(raw) != before


def test_real_scans(la_source, raw, tmp_path):
    names = la.published_list("train")[:5]
    for name in names:
        (tmp_path / "some").mkdir(exist_ok=True)
        (tmp_path / "some" / name).symlink_to(la_source / name)
    assert usual(tmp_path / "some", "--noisy-ratio", 0.5) == 0
    for name in names:
        with h5py.File(la_source / name / "mri_norm2.h5") as file:
            expected = file["image"][()].transpose(2, 1, 0)
        np.testing.assert_array_equal(array_of(raw / "Dataset501_LA" / "imagesTr" / f"{name}_0000.nii.gz"), expected)
