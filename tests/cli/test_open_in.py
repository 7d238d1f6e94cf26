"""``mlbseg audit --open-in``: what it writes for each viewer, how it starts it, and that no drawn label is lost."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
import time
from pathlib import Path
from unittest.mock import MagicMock

import pytest
import SimpleITK as sitk
from audit_folder import write_audit

from nnunetv2_mlbseg.audit.viewers import colours
from nnunetv2_mlbseg.cli.main import main


@pytest.fixture
def found(tmp_path, monkeypatch):
    """The folders (raw, audit, corrected), on a machine without a viewer."""
    monkeypatch.delenv("nnUNet_raw", raising=False)
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return write_audit(tmp_path / "my data")


def open_in(found, viewer: str, case: str, *more: object) -> int:
    raw, audit, _ = found
    return main(["audit", str(raw), "--out", str(audit), "--open-in", viewer, case, *map(str, more)])


def pretend(name: str, folder: Path) -> Path:
    """A program that writes its arguments, a line each, to a file."""
    program, record = folder / name, folder / f"{name}.arguments"
    program.write_text(
        f'#!/bin/sh\nfor one in "$@"; do echo "$one"; done > "{record}.part"\n/bin/mv "{record}.part" "{record}"\n'
    )
    program.chmod(0o755)
    return record


def arguments(record: Path) -> list[str]:
    end = time.monotonic() + 20
    while not record.exists():
        assert time.monotonic() < end, f"{record.stem} was not started"
        time.sleep(0.02)
    return record.read_text().splitlines()


def test_itksnap_shows_everything_and_draws_in_a_copy_of_the_given_label(found, tmp_path, capsys):
    raw, audit, _ = found
    record = pretend("itksnap", tmp_path / "bin")
    assert open_in(found, "itksnap", "n0") == 0
    redrawn, labels = audit.with_name("audit_900_redrawn") / "n0.nii.gz", audit / "viewers" / "n0_labels.txt"
    expected = [
        "-g", raw / "imagesTr" / "n0_0000.nii.gz",
        "-o", raw / "imagesTr" / "n0_0001.nii.gz", raw / "labelsTr" / "n0.nii.gz",
        audit / "network_label" / "n0.nii.gz", audit / "suspicion" / "n0.nii.gz",
        "-l", labels, "-s", redrawn,
    ]  # fmt: skip
    assert arguments(record) == list(map(str, expected))
    assert redrawn.read_bytes() == (raw / "labelsTr" / "n0.nii.gz").read_bytes()
    printed = capsys.readouterr().out
    assert shlex.join(["itksnap", *map(str, expected)]) in printed.splitlines()
    assert "No corrected label, since --corrected names no folder of them: look at the network's own" in printed
    assert "begins as a copy of" in printed and "was not started" not in printed
    assert f"--apply SELECTION.json --reannotated {shlex.quote(str(redrawn.parent))}" in printed


def test_the_descriptions_of_labels_are_a_table_as_itksnap_writes_it(found):
    open_in(found, "itksnap", "n0")
    text = (found[1] / "viewers" / "n0_labels.txt").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    row = re.compile(r'\s*(\d+)\s+(\d+)\s+(\d+)\s+(\d+)\s+([01])\s+([01])\s+([01])\s+"(.*)"')
    rows = [row.fullmatch(line).groups() for line in lines]
    assert [(one[0], one[-1]) for one in rows] == [
        ("0", "Clear Label"), ("1", "disc_1"), ("2", "disc_2"), ("3", "ignore"),
    ]  # fmt: skip
    assert rows[0][1:7] == ("0",) * 6 and all(one[4:7] == ("1",) * 3 for one in rows[1:])
    assert len({one[1:4] for one in rows}) == 4 and all(int(part) <= 255 for one in rows for part in one[1:4])


def test_fifteen_classes_have_colours_of_their_own():
    found = colours(dict.fromkeys(range(16), "x"))
    assert sorted(found) == list(range(1, 16)) and len(set(found.values())) == 15


def test_a_corrected_label_is_what_drawing_begins_with(found, capsys):
    _, audit, corrected = found
    assert open_in(found, "itksnap", "n1", "--corrected", corrected, "--reannotated", audit.parent / "mine") == 0
    assert (audit.parent / "mine" / "n1.nii.gz").read_bytes() == (corrected / "n1.nii.gz").read_bytes()
    printed = capsys.readouterr().out
    assert "The corrected label differs from the given one by 12 mm3." in printed
    assert str(corrected / "n1.nii.gz") in printed and "itksnap is not on PATH" in printed
    assert open_in(found, "itksnap", "n0", "--corrected", corrected) == 0
    assert "The corrected label is the given one: right labels change as much." in capsys.readouterr().out


def test_where_corrections_are_not_trusted_there_is_none_to_show(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    found = write_audit(tmp_path / "data", corrections={"helps": False})
    assert open_in(found, "itksnap", "n0") == 0
    assert "since the audit does not trust its corrections: look at the network's own" in capsys.readouterr().out


def test_a_label_that_was_saved_is_never_written_over(found, capsys):
    folder = found[1].with_name("audit_900_redrawn")
    open_in(found, "itksnap", "n0")
    (folder / "n0.nii.gz").write_bytes(b"drawn by a person")
    assert open_in(found, "slicer", "n0", "--corrected", found[2], "--force") == 0
    assert (folder / "n0.nii.gz").read_bytes() == b"drawn by a person"
    assert "goes on with what is saved there" in capsys.readouterr().out
    assert os.listdir(folder) == ["n0.nii.gz"]


def scene_of(found, case: str) -> tuple[Path, dict]:
    """The script for Slicer, and what it is to show."""
    script = found[1] / "viewers" / f"{case}_slicer.py"
    space: dict = {}
    exec(next(line for line in script.read_text().splitlines() if line.startswith("SCENE = ")), space)
    return script, json.loads(space["SCENE"])


def test_slicer_is_started_with_a_script_that_knows_all_files(found, tmp_path):
    raw, audit, corrected = found
    record = pretend("Slicer", tmp_path / "bin")
    assert open_in(found, "slicer", "n1", "--corrected", corrected) == 0
    script, scene = scene_of(found, "n1")
    assert arguments(record) == ["--python-script", str(script)]
    assert [one["path"] for one in scene["images"]] == [str(raw / "imagesTr" / f"n1_000{k}.nii.gz") for k in range(2)]
    assert {one["name"]: one["path"] for one in scene["labels"]} == {
        "given label": str(raw / "labelsTr" / "n1.nii.gz"),
        "label of the network": str(audit / "network_label" / "n1.nii.gz"),
        "corrected label": str(corrected / "n1.nii.gz"),
    }
    assert scene["suspicion"] == str(audit / "suspicion" / "n1.nii.gz")
    assert [(one["value"], one["name"]) for one in scene["classes"]] == [(1, "disc_1"), (2, "disc_2"), (3, "ignore")]


def test_the_script_loads_what_it_is_told_and_saves_where_reannotated_takes_it_from(found, monkeypatch):
    """Run with a stand-in for Slicer that notes every call."""
    open_in(found, "slicer", "n1")
    script, scene = scene_of(found, "n1")
    slicer, qt, nodes = MagicMock(), MagicMock(), {}

    def add(kind: str, name: str = "label") -> MagicMock:
        nodes[name] = node = MagicMock()
        in_file = {"disc_1": "Segment_1"} if name == "n1" else {}
        node.GetSegmentation.return_value.GetSegmentIdBySegmentName.side_effect = lambda one: in_file.get(one, "")
        return node

    slicer.mrmlScene.AddNewNodeByClass.side_effect = add
    monkeypatch.setitem(sys.modules, "slicer", slicer)
    monkeypatch.setitem(sys.modules, "qt", qt)
    exec(compile(script.read_text(), str(script), "exec"), {"__name__": "__main__"})
    loaded = [call.args[0] for call in slicer.util.loadVolume.call_args_list]
    assert loaded == [*(one["path"] for one in scene["images"]), scene["suspicion"]]
    labels = [call.args[0] for call in slicer.util.loadLabelVolume.call_args_list]
    assert labels == [*(one["path"] for one in scene["labels"]), scene["redrawn"]]
    table = slicer.mrmlScene.CreateNodeByClass.return_value
    assert [call.args[:2] for call in table.SetColor.call_args_list] == [
        (0, "background"), (1, "disc_1"), (2, "disc_2"), (3, "ignore"),
    ]  # fmt: skip
    added = nodes["n1"].GetSegmentation.return_value.AddEmptySegment.call_args_list
    assert [call.args[1] for call in added] == ["disc_2", "ignore"]  # disc_1 is in the label
    shown = {name: node.GetDisplayNode.return_value.SetVisibility.call_args.args[0] for name, node in nodes.items()}
    assert shown == {"given label": False, "label of the network": False, "n1": True}
    slicer.util.saveNode.assert_not_called()
    (_, save), _ = qt.QShortcut.return_value.connect.call_args
    save()
    logic = slicer.modules.segmentations.logic.return_value
    exported = logic.ExportSegmentsToLabelmapNode.call_args.args
    assert exported[0] is nodes["n1"] and exported[3] is slicer.util.loadVolume.return_value and exported[5] is table
    slicer.util.saveNode.assert_called_once_with(nodes["label"], scene["redrawn"])
    slicer.util.infoDisplay.assert_called_once()


def refused(capsys, code: int) -> str:
    lines = capsys.readouterr().err.strip().splitlines()
    assert code == 2 and len(lines) == 1
    return lines[0]


def test_what_cannot_be_opened_is_refused_in_one_line(found, tmp_path, capsys):
    raw, audit, corrected = found
    message = refused(capsys, open_in((raw, tmp_path / "none", corrected), "itksnap", "n0"))
    assert (
        f"none/audit.json: no such file, expected the folder of an audit; make it by mlbseg audit {raw.name}" in message
    )
    message = refused(capsys, open_in(found, "itksnap", "c0"))
    assert "has no case c0, expected one of n0, n1; only noisy cases are audited" in message
    assert "--open-in paint: no such viewer, expected itksnap or slicer" in refused(
        capsys, open_in(found, "paint", "n0")
    )
    (corrected / "n0.nii.gz").unlink()
    message = refused(capsys, open_in(found, "itksnap", "n0", "--corrected", corrected))
    assert "corrected_900/n0.nii.gz: no such file" in message
    message = refused(capsys, open_in(found, "itksnap", "n0", "--corrected", audit))
    assert "proposals.json: no such file, expected the folder that --write-corrected wrote" in message
    for folder in (raw / "labelsTr", audit / "drawn", tmp_path):
        message = refused(capsys, open_in(found, "itksnap", "n0", "--reannotated", folder))
        assert "lies in, or holds, the " in message and "name another folder by --reannotated" in message
    assert refused(capsys, main(["audit", str(raw), "--open-in", "itksnap", "n0"])).endswith("the folder of the audit")
    both = ["--apply", "x.json", "--open-in", "itksnap", "n0"]
    assert "expected one of them at a time" in refused(capsys, main(["audit", str(raw), *both]))
    assert not audit.with_name("audit_900_redrawn").exists()


def test_an_audit_of_another_dataset_is_refused(tmp_path, capsys):
    found = write_audit(tmp_path, dataset="Dataset077_Other")
    message = refused(capsys, open_in(found, "itksnap", "n0"))
    assert "audit.json: written for Dataset077_Other, expected Dataset900_Tiny" in message


def test_pictures_are_for_an_editor_of_pictures(tmp_path, capsys):
    """Viewers of volumes lose what a picture is: they are told apart by the ending."""
    found = raw, _, _ = write_audit(tmp_path)
    for path in [*raw.rglob("*.nii.gz")]:
        image = sitk.GetImageFromArray(sitk.GetArrayFromImage(sitk.ReadImage(str(path)))[2].astype("uint8"))
        sitk.WriteImage(image, str(path).replace(".nii.gz", ".png"))
        path.unlink()
    description = json.loads((raw / "dataset.json").read_text())
    (raw / "dataset.json").write_text(json.dumps({**description, "file_ending": ".png"}))
    message = refused(capsys, open_in(found, "itksnap", "n0"))
    assert "n0.png: a file .png, expected a volume (.nii.gz, " in message and "editor of pictures" in message
