"""``mlbseg methods`` lists every trainer with what it does."""

from __future__ import annotations

from nnunetv2_mlbseg.cli.main import main
from nnunetv2_mlbseg.nnunet_plugin import mlbseg_trainers


def listed(capsys) -> dict[str, str]:
    assert main(["methods"]) == 0
    _, *lines = capsys.readouterr().out.splitlines()
    return {line.split()[0]: line for line in lines}


def test_every_trainer_has_a_line_and_reconstructions_are_marked(capsys):
    lines = listed(capsys)
    assert {name.removesuffix("*") for name in lines} == set(mlbseg_trainers.__all__)
    assert next(iter(lines)) == "nnUNetTrainerMLBSeg"
    assert "nnUNetTrainerDUWM*" in lines and "nnUNetTrainerUAMT" in lines
    assert lines["nnUNetTrainerUAMT"].endswith("clean         all           5     Yu et al., MICCAI 2019")
    assert "clean, noisy" in lines["nnUNetTrainerMLBSegAllLabels"]
