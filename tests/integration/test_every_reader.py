"""The whole way, from split to the corrected dataset, on colour pictures, on tiff stacks and on sheared NIfTI files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from reader_examples import EXAMPLES, as_nnunet_reads, phantom, write_example
from training_support import SHORT, TRAINER, Workspace, add_configuration

from dataset_conversion.raw.formats import folder_format
from dataset_conversion.supervision.files import Supervision, write_splits, write_supervision

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("kind", ["png, colours", "tif, stack", "nifti, sheared and reoriented"])
def test_the_whole_way(tmp_path, kind):
    example, workspace = EXAMPLES[kind], Workspace(tmp_path, "Dataset900_Whole")

    def step(*arguments: object, **settings: str) -> str:
        done = workspace.command(*arguments, **settings)
        assert done.returncode == 0, (arguments, done.stdout[-2000:], done.stderr[-3000:])
        return done.stdout

    source = write_example(tmp_path / "raw" / "Dataset010_Own", example, [f"k{number}" for number in range(9)])
    archive = tmp_path / "archive"
    archive.mkdir()
    image, label = phantom(77, example)
    example.write(image, archive / f"u0{'_0000' if example.reader == 'Tiff3DIO' else ''}{example.ending}", "u0")
    roles = ("--clean", "k[0-2]", "--noisy", "rest", "--unlabeled-images", archive, "--evaluation", "k8")
    step("mlbseg", "split", 10, "-d", 900, "--name", "Whole", *roles, "-np", 1)
    assert "10 cases, 0 problems, 0 warnings" in step("mlbseg", "check", 900)
    # True labels for the commands that compare with them, and noise for the audit to find.
    raw = workspace.raw
    (raw / "labelsTr_true").mkdir(exist_ok=True)
    (tmp_path / "right").mkdir()
    example.write(label, raw / "labelsTr_true" / f"u0{example.ending}", "u0")
    noisy = [f"k{number}" for number in range(3, 8)]
    for case in noisy:
        for path in (raw / "labelsTr").glob(f"{case}.*"):
            shutil.copy(path, raw / "labelsTr_true" / path.name)
            shutil.move(path, tmp_path / "right" / path.name)
    step("mlbseg", "noise", tmp_path / "right", tmp_path / "noisy", "--level", "0.7", "-np", 1)
    for path in (tmp_path / "noisy").iterdir():
        if path.name != "provenance.json":
            shutil.copy(path, raw / "labelsTr" / path.name)
    for case in noisy:
        before, after = as_nnunet_reads(source, example, case), as_nnunet_reads(raw, example, case)
        np.testing.assert_array_equal(np.array(before["image"]), np.array(after["image"]))
        assert (np.asarray(before["label"]) != after["label"]).any()
    step("nnUNetv2_plan_and_preprocess", "-d", 900, "-c", "2d", "-npfp", 1, "-np", 1)
    add_configuration(workspace.preprocessed, mlbseg={**SHORT, "audit": True})
    assert "problems, 0 warnings" in step("mlbseg", "check", 900)
    done = workspace.train()
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    fold = workspace.fold_folder()
    assert "generated label 1 of 1: u0" in done.stdout and "Audit of 5 noisy labels" in done.stdout
    assert (fold / "audit" / "report.html").stat().st_size > 10_000
    model = ("-d", 900, "-c", "2d_tiny", "-f", 0, "-tr", TRAINER, "-device", "cpu", "-npp", 0, "-nps", 0)
    step("nnUNetv2_predict", "-i", raw / "imagesTr", "-o", tmp_path / "out", *model)
    scores = tmp_path / "scores.json"
    (tmp_path / "cases.txt").write_text("\n".join(["k8", *noisy]))
    (raw / "labelsTr_true" / f"k8{example.ending}").write_bytes((raw / f"labelsTr/k8{example.ending}").read_bytes())
    if example.reader == "Tiff3DIO":
        shutil.copy(raw / "labelsTr" / "k8.json", raw / "labelsTr_true")
    listed = ("--cases", tmp_path / "cases.txt", "--json", scores)
    step("mlbseg", "evaluate", tmp_path / "out", raw / "labelsTr_true", *listed)
    assert len(json.loads(scores.read_text())["cases"]) == 6
    step("mlbseg", "weights", fold.parent, "--iterations", 8, "--picture", tmp_path / "weights.png")
    corrected = tmp_path / "corrected"
    audit = ("audit", 900, "-c", "2d_tiny", "--out", tmp_path / "audit", "--measure")
    step("mlbseg", *audit, "--write-corrected", corrected, "--correct-anyway")
    _check_maps(tmp_path / "audit", raw, example.ending)
    (tmp_path / "s.json").write_text(json.dumps({"dataset": "Dataset900_Whole", "cases": {"k3": "proposal"}}))
    step("mlbseg", "audit", 900, "--apply", tmp_path / "s.json", "--corrected", corrected, "-d", 901)
    for case in (*noisy, "k0", "k8"):
        before = as_nnunet_reads(raw, example, case)
        after = as_nnunet_reads(tmp_path / "raw" / "Dataset901_Whole", example, case)
        assert after["properties"][0] == before["properties"][0]
        assert case == "k3" or np.array_equal(after["label"], before["label"])


def _check_maps(audit: Path, raw: Path, ending: str) -> None:
    files = folder_format([raw / "labelsTr" / f"k3{ending}"], raw)
    label = files.read(raw / "labelsTr" / f"k3{ending}")[1]
    network = files.read(audit / "network_label" / f"k3{ending}")[1]
    assert network.grid.difference(label.grid) is None
    suspicion = audit / "suspicion" / f"k3{files.values_ending}"
    found = files.channels([suspicion]).voxels
    assert found.shape == label.voxels.shape and 0 <= found.min() <= found.max() <= 1


def test_flat_images_that_dataset_json_lists_one_by_one(tmp_path):
    """No imagesTr, no labelsTr: files anywhere, of any name; roles by hand. Split makes the usual layout of it."""
    example, workspace = EXAMPLES["nifti, flat"], Workspace(tmp_path)
    made = write_example(tmp_path / "elsewhere", example)
    raw = workspace.raw
    raw.mkdir()
    description = json.loads((made / "dataset.json").read_text())
    description["dataset"] = {}
    for case in (f"k{number}" for number in range(8)):
        image, label = (tmp_path / "elsewhere" / f"{kind} of {case}.nii.gz" for kind in ("scan", "mask"))
        (made / "imagesTr" / f"{case}_0000.nii.gz").rename(image)
        (made / "labelsTr" / f"{case}.nii.gz").rename(label)
        description["dataset"][case] = {"images": [str(image)], "label": str(label)}
    (raw / "dataset.json").write_text(json.dumps(description))
    supervision = Supervision(clean=("k0", "k1", "k2"), noisy=("k3", "k4", "k5", "k6"))
    write_supervision(raw, supervision)
    write_splits(raw, [{"train": [*supervision.roles()], "val": ["k7"]}])
    checked = workspace.command("mlbseg", "check", 900)
    assert "8 cases, 0 problems, 0 warnings" in checked.stdout, checked.stdout + checked.stderr
    workspace.plan_and_preprocess()
    add_configuration(workspace.preprocessed, mlbseg={**SHORT, "audit": True})
    done = workspace.train()
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    assert "Audit of 4 noisy labels" in done.stdout
    fold = workspace.fold_folder()
    (tmp_path / "refs").mkdir()
    shutil.copy(tmp_path / "elsewhere" / "mask of k7.nii.gz", tmp_path / "refs" / "k7.nii.gz")
    scored = workspace.command("mlbseg", "evaluate", fold / "validation", tmp_path / "refs")
    assert scored.returncode == 0 and "mean of 1" in scored.stdout, scored.stderr
    assert (fold / "audit" / "suspicion" / "k3.nii.gz").is_file()
    split = ("split", 900, "-d", 902, "--clean", "k[0-2]", "--noisy", "rest", "-np", 1)
    done = workspace.command("mlbseg", *split)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "raw" / "Dataset902_Tiny" / "imagesTr" / "k3_0000.nii.gz").is_file()
