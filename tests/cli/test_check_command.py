"""Every kind of problem is planted and must be found, all in one report; a sound dataset gives none."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pytest
import SimpleITK as sitk
from checked_dataset import NAMES, VAL, change, label, sound_dataset, write
from conversion_sources import array_of, read

from dataset_conversion import la
from dataset_conversion.checks.dataset import check_dataset
from dataset_conversion.checks.nnunet import parse_complaints
from dataset_conversion.raw.fingerprint import fingerprint, label_hash
from dataset_conversion.simulation.options import run_as_script
from nnunetv2_mlbseg.cli.main import main


@pytest.fixture
def raw(nnunet_folders, tmp_path):
    return tmp_path / "nnUNet_raw"


@pytest.fixture
def dataset(raw):
    return sound_dataset(raw)


def set_geometry(path, **geometry):
    image = sitk.ReadImage(str(path))
    for name, value in geometry.items():
        getattr(image, f"Set{name}")(value)
    sitk.WriteImage(image, str(path))


def found(folder):
    """Return {(severity, kind): messages}, nnU-Net's own check left out."""
    result: dict[tuple[str, str], list[str]] = {}
    for finding in check_dataset(folder, 1, with_nnunet=False)[1]:
        result.setdefault((finding.severity, finding.kind), []).append(finding.message)
    return result


def test_sound_dataset(dataset):
    assert found(dataset) == {}
    further(dataset, "former", "p0", lambda a: a * (a.cumsum(0) > 0))
    sources(dataset, {"p3": "reader2", "p0": "reader2"})
    assert found(dataset) == {}


def image(folder, name):
    return folder / "imagesTr" / f"{name}_0000.nii.gz"


def edit(folder, **entries):
    write(folder / "dataset.json", {**read(folder / "dataset.json"), **entries})


def sources(folder, content):
    write(folder / "supervision" / "sources.json", content)


def further(folder, kind, name, how=lambda a: a):
    """A copy of a label, changed, in another folder."""
    path = folder / f"labelsTr_{kind}" / f"{name}.nii.gz"
    path.parent.mkdir()
    shutil.copy(label(folder, name), path)
    change(path, how)


def copy_image(folder, first, second):
    shutil.copy(image(folder, first), image(folder, second))


def copy_label(folder, first, second):
    shutil.copy(label(folder, first), label(folder, second))


PLANTED = [
    (lambda f: label(f, "p1").unlink(), "problem", "missing label", "case p1: no label file p1.nii.gz in labelsTr"),
    (lambda f: label(f, "p1").write_text("x"), "problem", "unreadable label", "p1.nii.gz: cannot be read"),
    (lambda f: image(f, "p1").write_text("x"), "problem", "unreadable image", "p1_0000.nii.gz: cannot be read"),
    (lambda f: change(label(f, "p1"), lambda a: a[1:]), "problem", "shape", "case p1: image and label differ in shape"),
    (lambda f: change(label(f, "p1"), lambda a: a * 7), "problem", "label value", "case p1: label value 7"),
    (lambda f: change(image(f, "p1"), lambda a: a * np.nan), "problem", "NaN", "p1_0000.nii.gz: holds NaN"),
    (lambda f: change(image(f, "p1"), lambda a: a * 0), "problem", "constant image", "has the value 0 everywhere"),
    (lambda f: set_geometry(label(f, "p1"), Origin=(0, 0, 0)), "problem", "geometry", "case p1: image and label lie"),
    (lambda f: change(label(f, "p1"), lambda a: a * 0), "problem", "empty label", "case p1: clean case with an empty"),
    (lambda f: change(label(f, "p3"), lambda a: a * 0), "warning", "empty label", "case p3: noisy case with an empty"),
    (lambda f: change(label(f, "p5"), lambda a: a * 0), "problem", "unlabeled", "case p5: is unlabeled, but"),
    (lambda f: copy_label(f, "p5", "p6"), "problem", "all ignored", "case p6: is for evaluation, but"),
    (lambda f: copy_image(f, "p0", "p6"), "problem", "duplicate image", "p0, p6; fold 0 trains on one and validates"),
    (lambda f: copy_image(f, "p0", "p3"), "warning", "duplicate image", "p0, p3; keep them on one side"),
    (lambda f: copy_label(f, "p0", "p6"), "warning", "equal labels", "2 cases have the label of another case, on ano"),
    (lambda f: edit(f, labels={"background": 0, "a": 1, "b": 3}), "problem", "dataset.json", "[0, 1, 3]; expected 0"),
    (
        lambda f: sources(f, {"p3": "a", "p0": "b"}),
        "problem",
        "sources",
        "sources.json: source of a case that is clean",
    ),
    (lambda f: sources(f, {"p3": "a", "lost": "b"}), "problem", "sources", "of a case that is without a role: lost"),
    (lambda f: sources(f, ["p3"]), "problem", "sources", "sources.json: expected an object of cases and sources"),
    (lambda f: sources(f, {"p3": " "}), "problem", "sources", "case p3 has the source ' ', expected a name"),
    (
        lambda f: further(f, "former", "p0", lambda a: a[1:]),
        "problem",
        "shape",
        "label in labelsTr_former differ",
    ),
    (lambda f: further(f, "former", "p0", lambda a: a * 7), "problem", "label value", "labelsTr_former: label value 7"),
    (
        lambda f: further(f, "former", "p3"),
        "warning",
        "unused",
        "not used, as the case is not clean: p3",
    ),
    (
        lambda f: further(f, "reader2", "p3", lambda a: a * 7),
        "problem",
        "label value",
        "labelsTr_reader2: label value 7",
    ),
    (
        lambda f: further(f, "reader2", "p5"),
        "warning",
        "unused",
        "labelsTr_reader2: not used, as the case is neither noisy nor clean: p5",
    ),
    (
        lambda f: (further(f, "reader2", "p3"), sources(f, {"p3": "reader2"})),
        "problem",
        "sources",
        "labelsTr_reader2: reader2 has drawn labelsTr as well",
    ),
    (lambda f: further(f, "true", "p3", lambda a: a * 7), "warning", "label value", "labelsTr_true: label value 7"),
    (lambda f: edit(f, numTraining=9), "problem", "dataset.json", "numTraining is 9, but imagesTr has 8 cases"),
    (lambda f: edit(f, labels={"background": 0, "class1": 1, "ignore": 4}), "problem", "dataset.json", "[0, 1, 4]"),
    (lambda f: edit(f, labels={"background": 0, "ignore": 1, "z": 2}), "problem", "dataset.json", "'ignore' must be"),
    (
        lambda f: shutil.copy(label(f, "p0"), label(f, "lost")),
        "warning",
        "stray file",
        "labelsTr: label without an image",
    ),
    (lambda f: (f / "imagesTr" / "a.png").touch(), "warning", "stray file", "imagesTr: not named <case>_0000.nii.gz"),
    (lambda f: shutil.rmtree(f / "supervision"), "problem", "supervision", "mlbseg split"),
    (lambda f: write(f / "supervision" / "clean.json", {}), "problem", "supervision", "expected a JSON list"),
    (lambda f: write(f / "supervision" / "noisy.json", ["p3"]), "problem", "roles and folds", "without a role"),
    (lambda f: write(f / "supervision" / "noisy.json", [*NAMES[3:5], "zz"]), "problem", "roles and folds", "zz"),
    (lambda f: (f / "splits_final.json").unlink(), "problem", "roles and folds", "splits_final.json: missing"),
    (lambda f: (f / "splits_final.json").write_text("["), "problem", "splits_final.json", "not valid JSON"),
    (lambda f: write(f / "splits_final.json", [{"train": NAMES[:6], "val": ["p6"]}]), "warning", "unused", "p7"),
    (lambda f: write(f / "splits_final.json", [{"train": NAMES[:5], "val": VAL}]), "warning", "unused", "p5"),
]


@pytest.mark.parametrize(("plant", "severity", "kind", "said"), PLANTED)
def test_each_problem_alone(dataset, plant, severity, kind, said):
    plant(dataset)
    messages = found(dataset)
    assert any(said in message for message in messages.get((severity, kind), [])), messages


def test_other_orientation_and_spacing(dataset):
    for path in (image(dataset, "p1"), label(dataset, "p1")):
        set_geometry(path, Direction=(1, 0, 0, 0, 1, 0, 0, 0, -1))
    for path in (image(dataset, "p2"), label(dataset, "p2")):
        set_geometry(path, Spacing=(0.5, 0.6, 0.1))
    assert {key: len(messages) for key, messages in found(dataset).items()} == {
        ("warning", "orientation"): 1,
        ("warning", "spacing"): 1,
    }


def test_no_ignore_label_for_unlabeled_cases(dataset):
    edit(dataset, labels={"background": 0, "class1": 1, "class2": 2})
    messages = found(dataset)
    assert any("no 'ignore' label" in message for message in messages["problem", "dataset.json"])
    assert ("problem", "unlabeled") in messages


def test_ct_with_unlabeled_cases_gets_a_remedy(dataset):
    description = read(dataset / "dataset.json")
    write(dataset / "dataset.json", {**description, "channel_names": {"0": "CT"}})
    (finding,) = [
        finding for finding in check_dataset(dataset, 1, with_nnunet=False)[1] if finding.kind == "CT statistics"
    ]
    assert finding.severity == "warning" and "nnUNetv2_move_plans_between_datasets" in finding.message


def test_all_problems_in_one_report(dataset, capsys):
    label(dataset, "p0").unlink()
    change(image(dataset, "p1"), lambda a: a * 0)
    copy_image(dataset, "p3", "p7")
    write(dataset / "supervision" / "noisy.json", NAMES[2:5])
    assert main(["check", "40", "--skip-nnunet", "-np", "1"]) == 1
    report = capsys.readouterr().out
    for kind in ("missing label", "constant image", "duplicate image", "roles and folds"):
        assert f"PROBLEM [{kind}]" in report
    assert "Dataset040_Own: 8 cases, 4 problems, 0 warnings" in report


def test_json_report(dataset, capsys):
    assert main(["check", str(dataset), "--skip-nnunet", "--json", "-np", "1"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "dataset": "Dataset040_Own",
        "cases": 8,
        "ok": True,
        "problems": [],
        "warnings": [],
    }
    copy_image(dataset, "p0", "p6")
    assert main(["check", str(dataset), "--skip-nnunet", "--json", "-np", "1"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is False
    assert [(problem["kind"], problem["cases"]) for problem in report["problems"]] == [
        ("duplicate image", ["p0", "p6"])
    ]


def test_true_labels_behind_noise_count_for_duplicates(dataset):
    (dataset / "labelsTr_true").mkdir()
    shutil.copy(label(dataset, "p6"), dataset / "labelsTr_true" / "p3.nii.gz")
    assert list(found(dataset)) == [("warning", "equal labels")]


def test_the_same_scan_with_the_same_label_is_a_leak_whatever_its_grey_values(dataset):
    copy_image(dataset, "p0", "p6")
    copy_label(dataset, "p0", "p6")
    for name in ("p0", "p6"):
        change(label(dataset, name), lambda a: np.ones_like(a) * (np.arange(a.shape[-1]) < 12).astype(a.dtype))
    change(image(dataset, "p6"), lambda a: 3 * a + 7)
    messages = found(dataset)
    assert list(messages) == [("problem", "duplicate scan")]
    assert "p0, p6" in messages["problem", "duplicate scan"][0]


def test_boxes_of_one_size_are_one_calm_line(dataset):
    """Labels drawn as boxes, each at another place: equal by design, on images that are not."""
    rng = np.random.default_rng(0)
    for name in (*NAMES[:5], *VAL):
        box = np.zeros((6, 20, 24), np.uint8)
        y, x = rng.integers(0, (3, 5))
        box[:, y : y + 17, x : x + 19] = 1
        change(label(dataset, name), lambda a, box=box: box)
    ((kind, (message,)),) = found(dataset).items()
    assert kind == ("warning", "equal labels")
    assert message.startswith("7 cases have the label of another case, on another image: p0, p1, p2, p3, p4 and 2 more")


def test_nothing_to_check(raw, capsys):
    assert main(["check", "41"]) == 2
    folder = raw / "Dataset041_X"
    folder.mkdir()
    (folder / "dataset.json").write_text("{}")
    assert main(["check", "41"]) == 1
    assert "channel_names, labels, file_ending, numTraining missing" in capsys.readouterr().out


@pytest.fixture
def preprocessed(dataset, tmp_path):
    folder = tmp_path / "nnUNet_preprocessed" / "Dataset040_Own"
    shutil.copytree(dataset / "labelsTr", folder / "gt_segmentations")
    (folder / "nnUNetPlans_2d").mkdir()
    for name in NAMES:
        for ending in (".b2nd", "_seg.b2nd", ".pkl"):
            (folder / "nnUNetPlans_2d" / f"{name}{ending}").touch()
    return folder


def test_preprocessed_data_that_fits(dataset, preprocessed):
    assert found(dataset) == {}


@pytest.mark.parametrize("given", ["40", "the link", "what it points to"])
def test_a_linked_dataset_has_the_preprocessed_data_of_the_links_name(dataset, preprocessed, tmp_path, capsys, given):
    """nnU-Net knows only the name in nnUNet_raw, whatever the folder is called that it leads to."""
    elsewhere = tmp_path / "elsewhere" / "prostate_v2"
    elsewhere.parent.mkdir()
    dataset.rename(elsewhere)
    dataset.symlink_to(elsewhere, target_is_directory=True)
    change(label(dataset, "p2"), lambda a: a[::-1].copy())
    where = {"40": "40", "the link": str(dataset), "what it points to": str(elsewhere)}[given]
    assert main(["check", where, "--skip-nnunet", "-np", "1"]) == 1
    said = capsys.readouterr().out
    assert "the labels that were preprocessed (Dataset040_Own) are not those in labelsTr (p2)" in said
    assert "Dataset040_Own: 8 cases" in said


def test_preprocessed_data_older_than_the_labels(dataset, preprocessed):
    later = (preprocessed / "nnUNetPlans_2d" / "p2_seg.b2nd").stat().st_mtime + 10
    os.utime(label(dataset, "p2"), (later, later))
    (message,) = found(dataset)["problem", "stale preprocessing"]
    assert "Dataset040_Own/nnUNetPlans_2d is older than the raw labels" in message
    assert "(p2)" in message


def test_preprocessed_data_of_other_labels_though_the_times_look_right(dataset, preprocessed):
    before = label(dataset, "p2").stat().st_mtime
    change(label(dataset, "p2"), lambda a: a[::-1].copy())
    os.utime(label(dataset, "p2"), (before, before))
    (message,) = found(dataset)["problem", "stale preprocessing"]
    assert "are not those in labelsTr" in message
    assert "(p2)" in message


def test_preprocessed_data_that_lacks_a_case(dataset, preprocessed):
    for path in (preprocessed / "nnUNetPlans_2d").glob("p2*"):
        path.unlink()
    (message,) = found(dataset)["problem", "stale preprocessing"]
    assert "lacks cases of the raw dataset" in message


def blob(seed=0, n=40):
    rng = np.random.default_rng(seed)
    z, y, x = np.mgrid[:n, :n, :n] / n - 0.5
    wobble = 0.06 * np.sin(rng.uniform(5, 9) * x + 6 * rng.random()) * np.cos(rng.uniform(5, 9) * y + 6 * rng.random())
    voxels = (np.sqrt(x**2 + (1.3 * y) ** 2 + z**2) < 0.33 + wobble).astype(np.uint8)
    waves = sum(np.sin(rng.uniform(4, 20, 3) @ np.stack([x, y, z]).reshape(3, -1) + 6 * rng.random()) for _ in range(8))
    return waves.reshape(n, n, n) * 30 + 50 * voxels, voxels


def test_a_crop_and_a_rescaling_keep_the_fingerprint():
    intensities, voxels = blob()
    original = fingerprint(intensities, voxels)
    cropped = fingerprint(intensities[3:, :-2, 1:], voxels[3:, :-2, 1:])
    scaled = fingerprint(np.kron(intensities, np.ones((1, 2, 2))), np.kron(voxels, np.ones((1, 2, 2), np.uint8)))
    other = fingerprint(*blob(seed=1))
    assert original.image_correlation(cropped) == pytest.approx(1, abs=1e-3)
    assert original.label_dice(cropped) == 1
    assert original.image_correlation(scaled) > 0.95
    assert original.label_dice(scaled) > 0.97
    assert original.image_correlation(other) < 0.75


def test_label_hash_forgets_the_place_of_large_labels_only():
    voxels = np.zeros((20, 40, 40), np.uint8)
    voxels[2:12, 3:20, 4:20] = 1
    assert label_hash(voxels) == label_hash(np.roll(voxels, 5, axis=1))
    voxels[3:] = 0
    assert label_hash(voxels) != label_hash(np.roll(voxels, 5, axis=1))


def test_nnunet_output_becomes_findings():
    output = (
        "Using <class 'x'> as reader/writer\n"
        "Error: Shape mismatch between segmentation and corresponding images. \nShape images: (1, 2). \n\n"
        "Warning: Origin mismatch. \nOrigin images: 1\nError: Unexpected labels found in file a.\nExpected: [0]\n\n"
        "####################\nverify_dataset_integrity Done.\n"
    )
    assert [(finding.severity, finding.message) for finding in parse_complaints(output)] == [
        ("problem", "Error: Shape mismatch between segmentation and corresponding images. Shape images: (1, 2)."),
        ("warning", "Warning: Origin mismatch. Origin images: 1"),
        ("problem", "Error: Unexpected labels found in file a. Expected: [0]"),
    ]


def test_the_duplicate_pair_among_real_scans(la_source, raw, tmp_path, capsys):
    """The pair is one scan cropped in two ways, so neither its images nor its labels are equal to the voxel."""
    (tmp_path / "some").mkdir()
    pair = la.SAME_SCAN[0]
    for name in (*pair, *la.published_list("train")[2:7]):
        (tmp_path / "some" / name).symlink_to(la_source / name)
    (tmp_path / "evaluation.list").write_text(pair[0])
    arguments = ("-d", "501", "--clean", "2", "--noisy-ratio", "0", "-np", "1")
    given = [str(tmp_path / "some"), *arguments, "--evaluation", str(tmp_path / "evaluation.list")]
    assert run_as_script("", la.add_arguments, la.run, given) == 0
    messages = found(raw / "Dataset501_LA")
    assert list(messages) == [("problem", "duplicate scan")]
    assert all(name in messages["problem", "duplicate scan"][0] for name in pair)
    assert array_of(label(raw / "Dataset501_LA", pair[0])).any()
