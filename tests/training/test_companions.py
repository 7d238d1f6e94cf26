"""What trains beside the network: made without a trace in random draws, compiled in place, said in the log."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from maths_support import small_network
from method_support import TASK, CrossEntropy, course_of, learning_of, saving_of
from torch import nn

from nnunetv2_mlbseg.networks.second_network import initialised_anew
from nnunetv2_mlbseg.runtime.errors import TrainingStoppedError
from nnunetv2_mlbseg.settings.training import TrainingSettings
from nnunetv2_mlbseg.training import companions
from nnunetv2_mlbseg.training.method import Method

SETTINGS = TrainingSettings(seed=1)
WITH_NETWORK = replace(TASK, network=small_network())


class Second(Method):
    quantities: ClassVar = {}

    @classmethod
    def modules(cls, settings: Any, task: Any) -> nn.ModuleDict:
        np.random.rand()
        return nn.ModuleDict({"second": initialised_anew(small_network()), "head": nn.Linear(40, 50)})


def _made(method: type[Method] = Second, compiled: bool = False) -> tuple[nn.ModuleDict, list[str]]:
    lines: list[str] = []
    return companions.made(course_of(method, SETTINGS), WITH_NETWORK, compiled, lines.append), lines


def test_random_draws_go_on_as_without_them() -> None:
    torch.manual_seed(5), np.random.seed(5)
    _made()
    found = torch.rand(3), np.random.rand(3)
    torch.manual_seed(5), np.random.seed(5)
    assert torch.equal(found[0], torch.rand(3)) and (found[1] == np.random.rand(3)).all()


def test_their_size_is_in_the_log() -> None:
    found, lines = _made()
    count = sum(parameter.numel() for parameter in small_network().parameters()) / 1e6
    assert len(lines) == 1 and f"second ({count:.3g} million parameters), head (0.00205 million" in lines[0]
    assert list(found) == ["second", "head"]
    none, lines = _made(Method)
    assert len(none) == 0 and lines == []


def test_whole_networks_are_compiled_and_still_show_their_features(monkeypatch: Any) -> None:
    monkeypatch.setattr(nn.Module, "compile", lambda self: setattr(self, "_compiled_call_impl", _compiled))
    found, _ = _made(compiled=True)
    assert found["second"](torch.zeros(1)) == "compiled" and "second.encoder" in next(iter(found.state_dict()))
    assert found["head"](torch.zeros(1, 40)).shape == (1, 50)
    learning = learning_of(Method, SETTINGS, small_network(), CrossEntropy())
    outputs, features = learning.passes.features(torch.randn(1, 1, 8, 8), found["second"])
    assert outputs[0].shape == (1, 2, 8, 8) and features.last is not None


def _compiled(*args: Any) -> str:
    return "compiled"


def test_a_companion_that_is_not_finite_is_not_saved(tmp_path: Path) -> None:
    learning = learning_of(Second, SETTINGS, small_network(), CrossEntropy(), task=WITH_NETWORK)
    saving = saving_of(learning)
    saving.write({}, saving.run.stages.at(0), str(tmp_path / "good.pth"))
    with torch.no_grad():
        learning.heads["head"].bias[0] = torch.nan
    with pytest.raises(TrainingStoppedError, match=r"1 of \d+ tensors of the companions hold NaN .* is head.bias"):
        saving.write({}, saving.run.stages.at(0), str(tmp_path / "bad.pth"))
    assert not (tmp_path / "bad.pth").exists()
