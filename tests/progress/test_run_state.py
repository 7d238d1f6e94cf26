"""What a checkpoint holds beyond nnU-Net's fields: all of it comes back, also from a file of an earlier version."""

from __future__ import annotations

import io

import torch
from run_state_example import STATE

from nnunetv2_mlbseg.progress.epoch import PartialEpoch
from nnunetv2_mlbseg.progress.run_state import RunState

METHOD = {"disputes": {"gain": torch.ones(2)}, "shares": None}
KEYS = {
    *("config", "roles", "stage", "own_network", "ema_step", "epoch_log", "generated_by", "random_state"),
    *("partial_epoch", "generators", "disputes", "shares"),
}
"""Of a training by MLB-Seg; commands and other versions read them by these names."""


def _plain(value):
    """With lists in place of tensors, which can be compared."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return value.tolist() if isinstance(value, torch.Tensor) else value


def test_the_keys_are_those_that_checkpoints_have_always_had():
    assert RunState(**STATE, method=METHOD).packed().keys() == KEYS
    heads = {"projection.weight": torch.zeros(1)}
    assert RunState(**STATE, method=METHOD, heads=heads).packed().keys() == KEYS | {"heads"}
    in_bfloat16 = RunState(**STATE, method=METHOD, cpu_bfloat16=True).packed()
    assert in_bfloat16.keys() == KEYS | {"cpu_bfloat16"} and in_bfloat16["cpu_bfloat16"] is True


def test_what_is_packed_is_unpacked_also_from_a_file_without_pickled_code():
    partial = PartialEpoch([{"loss": 0.5, "by_view": [1.0, 2.0]}] * 2, forgotten=1)
    values = {**STATE, "partial_epoch": partial, "heads": {"a": torch.ones(1)}, "method": METHOD, "cpu_bfloat16": True}
    file = io.BytesIO()
    torch.save(RunState(**values).packed(), file)
    file.seek(0)
    found = vars(RunState.unpacked(torch.load(file, weights_only=True)))
    assert found.keys() == values.keys()
    for name, value in values.items():
        assert _plain(found[name]) == _plain(value), name


def test_a_state_of_before_heads_and_methods_is_unpacked():
    former = {**STATE, **METHOD, "partial_epoch": {"iterations": 3, "outputs": {"loss": [1.0, 2.0]}}}
    found = RunState.unpacked(former)
    assert found.heads == {} and found.method == METHOD and found.cpu_bfloat16 is False
    assert found.partial_epoch == PartialEpoch([{"loss": 1.0}, {"loss": 2.0}], forgotten=1)
    assert RunState.unpacked({**STATE}).method == {}
