"""What a training looks at before its first epoch."""

from __future__ import annotations

import pytest
from conversion_sources import make_nnunet
from nnunetv2.utilities.label_handling.label_handling import LabelManager
from preprocessed_cases import save_two_cases

from nnunetv2_mlbseg.cases.leakage_guard import HeldOut
from nnunetv2_mlbseg.cases.roles import FoldRoles
from nnunetv2_mlbseg.runtime.processes import Processes
from nnunetv2_mlbseg.training.fold import Fold
from nnunetv2_mlbseg.training.preflight import Preflight
from noise_synthesis.safe_io.errors import InputError

LABELS = LabelManager({"background": 0, "organ": 1}, None)


@pytest.mark.parametrize("raw_is_there", [True, False])
def test_replaced_raw_images_end_a_training_where_the_raw_dataset_is_there(tmp_path, raw_is_there):
    raw, data = make_nnunet(tmp_path / "Dataset001_X", ["noisy", "hidden"]), tmp_path / "preprocessed" / "2d"
    data.mkdir(parents=True)
    save_two_cases(data)
    held_out = HeldOut("X", ("noisy",), ("hidden",), None, (), raw=raw if raw_is_there else None)
    fold = Fold(FoldRoles((), ("noisy",), (), ("hidden",)), ("noisy",), held_out)
    lines: list[str] = []
    preflight = Preflight(tmp_path, (), str(data), fold, Processes(), lines.append)
    preflight.look_at_data(LABELS)
    assert lines == ["Read 2 preprocessed cases: all usable"]
    image = raw / "imagesTr" / "hidden_0000.nii.gz"
    image.write_bytes((raw / "imagesTr" / "noisy_0000.nii.gz").read_bytes())
    if raw_is_there:
        with pytest.raises(InputError, match=r"the images of hidden in .* are not those that were preprocessed"):
            preflight.look_at_data(LABELS)
    else:
        preflight.look_at_data(LABELS)
