"""An audit writes neither into a raw dataset nor over what no audit wrote."""

from __future__ import annotations

import pytest
import torch

from nnunetv2_mlbseg.audit.fold_place import FoldPlace
from nnunetv2_mlbseg.audit.request import AuditRequest
from noise_synthesis.safe_io.errors import InputError

PLACE = FoldPlace("Dataset900_Tiny", "nnUNetTrainerMLBSeg", "nnUNetPlans", "2d", "0")


def request(raw, out, **options) -> AuditRequest:
    return AuditRequest(PLACE, raw, out, torch.device("cpu"), **options)


def test_the_raw_dataset_is_no_place_to_write(tmp_path):
    raw, out = tmp_path / "raw", tmp_path / "out"
    for target in (raw, raw / "labelsTr", tmp_path):
        with pytest.raises(InputError, match=r"lies in, or holds, the raw dataset .*; choose another"):
            request(raw, target).check_targets()
        with pytest.raises(InputError, match="which stays as it is"):
            request(raw, out, corrected=target).check_targets()
    request(raw, out, corrected=tmp_path / "corrected").check_targets()


def test_folders_of_an_audit_alone_are_replaced_and_only_when_asked_for(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine").touch()
    with pytest.raises(InputError, match="exists already"):
        request(tmp_path / "raw", out).check_targets()
    with pytest.raises(InputError, match=r"holds audit\.json"):
        request(tmp_path / "raw", out, force=True).check_targets()
    (out / "audit.json").touch()
    request(tmp_path / "raw", out, force=True).check_targets()
