"""The whole path on a few real scans, command by command as a user types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from training_support import TRAINER, Workspace, add_configuration

pytestmark = pytest.mark.integration

LA_CASES = ("06SR5RBREL16DQ6M8LWS", "1D7CUD1955YZPGK8XHJX", "1GU15S0GJ6PFNARO469W", "1MHBF3G6DCPWHSKG7XCP")
PROMISE12_CASES = ("Case00", "Case01", "Case04")


def _linked(source: Path, target: Path, names: list[str]) -> Path:
    target.mkdir()
    for name in names:
        (target / name).symlink_to(source / name)
    return target


def _must(done):
    assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-3000:]
    return done


def _through_all_commands(workspace: Workspace, source: Path, layout: str, roles: tuple[object, ...]) -> None:
    number = int(workspace.dataset[7:10])
    _must(workspace.command("mlbseg", "convert", layout, source, "-d", number, *roles, "--seed", 0, "-np", 1))
    _must(workspace.command("mlbseg", "check", number))
    _must(workspace.command("nnUNetv2_plan_and_preprocess", "-d", number, "-c", "2d", "-npfp", 1, "-np", 1))
    add_configuration(workspace.preprocessed, patch_size=[144, 144])
    assert "loss terms: bootstrap" in _must(workspace.train()).stdout
    images, predictions = workspace.root / "in", workspace.root / "out"
    held_out = json.loads((workspace.raw / "splits_final.json").read_text())[0]["val"]
    _linked(workspace.raw / "imagesTr", images, [f"{case}_0000.nii.gz" for case in held_out])
    model = ("-d", number, "-c", "2d_tiny", "-f", 0, "-tr", TRAINER, "-device", "cpu", "-npp", 0, "-nps", 0)
    _must(workspace.command("nnUNetv2_predict", "-i", images, "-o", predictions, *model))
    selected = workspace.root / "cases.json"
    selected.write_text(json.dumps(held_out))
    scores = workspace.root / "scores.json"
    reference = workspace.raw / "labelsTr"
    _must(workspace.command("mlbseg", "evaluate", predictions, reference, "--cases", selected, "--json", scores))
    assert 0 <= json.loads(scores.read_text())["mean"][0]["dice"] <= 1


def test_la(la_source, tmp_path):
    workspace = Workspace(tmp_path, "Dataset501_LA")
    source = _linked(la_source, tmp_path / "la", list(LA_CASES))
    _through_all_commands(workspace, source, "la", ("--clean", 1, "--noisy-ratio", 0.5, "--noise-level", "L2"))
    for role in ("clean", "noisy", "unlabeled"):
        assert len(json.loads((workspace.raw / "supervision" / f"{role}.json").read_text())) == 1


def test_promise12(promise12_source, tmp_path):
    workspace = Workspace(tmp_path, "Dataset512_PROMISE12")
    files = [
        f"{case}{part}.{ending}"
        for case in PROMISE12_CASES
        for part in ("", "_segmentation")
        for ending in ("mhd", "zraw")
    ]
    source = _linked(promise12_source, tmp_path / "promise12", files)
    _through_all_commands(workspace, source, "promise12", ("--clean", 1, "--noisy-ratio", 1, "--noise-level", "L2"))
    assert not json.loads((workspace.raw / "supervision" / "unlabeled.json").read_text())
