"""What the loaders hand to a step."""

from __future__ import annotations

import torch
from method_support import CPU, drawn_batch

from nnunetv2_mlbseg.training.batch import Batch


def test_a_pair_of_batches_has_its_parts_by_name():
    loaded = {**drawn_batch(), "keys": ["c0", "c1"], "properties": {"spacing": 1}}
    batch = Batch.of(loaded, CPU)
    assert torch.equal(batch.clean.images, loaded["data"]) and torch.equal(batch.clean.target, loaded["target"])
    for name, part in (("data", "images"), ("target", "target"), ("generated", "generated"), ("case", "case")):
        assert torch.equal(getattr(batch.imperfect, part), loaded[f"imperfect_{name}"]), name


def test_a_batch_of_nnunets_own_loader_has_no_imperfect_part_and_keeps_its_scales():
    scales = [torch.zeros(2, 1, 8, 8), torch.zeros(2, 1, 4, 4)]
    batch = Batch.of({"data": torch.zeros(2, 1, 8, 8), "target": scales, "keys": ["a", "b"]}, torch.device("meta"))
    assert batch.imperfect is None
    assert [tuple(target.shape) for target in batch.clean.target] == [(2, 1, 8, 8), (2, 1, 4, 4)]
    assert batch.clean.images.is_meta and all(target.is_meta for target in batch.clean.target)
