"""An epoch in progress: how far it is, what it comes to, and how it goes on after a stop."""

from __future__ import annotations

import pytest
import torch

from nnunetv2_mlbseg.progress.epoch import Epoch, PartialEpoch
from nnunetv2_mlbseg.progress.values import epoch_means
from nnunetv2_mlbseg.runtime.processes import Processes


def test_a_partial_epoch_comes_back_with_equal_values():
    outputs = [{"loss": torch.tensor(0.1 * i), "by_view": torch.rand(5), "warmup": 0.5 + i} for i in range(3)]
    back = PartialEpoch.from_state(PartialEpoch(outputs).state())
    assert epoch_means(back.outputs) == epoch_means(outputs) == epoch_means([*back.outputs[:1], *outputs[1:]])
    assert PartialEpoch.from_state(PartialEpoch([]).state()).outputs == []


OTHER_OUTPUTS = {"views": {"by_view": torch.rand(3)}, "terms": {"teacher": torch.tensor(2.0)}}


@pytest.mark.parametrize("changed", OTHER_OUTPUTS)
def test_iterations_of_another_configuration_count_and_their_outputs_are_left_out(changed):
    """Other views give vectors of another length, a term switched on or off other names."""
    before = PartialEpoch([{"loss": torch.tensor(5.0), "by_view": torch.rand(5)}] * 3)
    own = [{"loss": torch.tensor(1.0), "by_view": torch.rand(5), **OTHER_OUTPUTS[changed]}] * 2
    epoch = PartialEpoch.from_state(before.state()).followed_by(own)
    assert (epoch.iterations, epoch.forgotten) == (5, 3)
    assert epoch_means(epoch.outputs)["loss"] == 1
    again = PartialEpoch.from_state(epoch.state())
    assert again.iterations == 5 and epoch_means(again.outputs) == epoch_means(own)
    assert again.followed_by(own).iterations == 7 and len(again.followed_by(own).outputs) == 4
    assert again.followed_by([]).iterations == 5


def test_an_epoch_counts_what_was_done_before_and_never_asks_for_less_than_nothing():
    epoch = Epoch(5, PartialEpoch([{"loss": 1.0}] * 2, forgotten=1))
    assert (epoch.left, epoch.done) == (2, 3)
    epoch.add_({"loss": 4.0})
    assert (epoch.left, epoch.done) == (2, 4), "left is what the loop was told at its begin"
    shorter = Epoch(2, PartialEpoch([{"loss": 1.0}] * 3))
    assert (shorter.left, shorter.done) == (0, 3)
    assert Epoch(7).left == 7


def test_what_a_checkpoint_keeps_of_an_epoch():
    """The random state is kept where the validation had begun: it is drawn anew from there."""
    epoch = Epoch(5, PartialEpoch([{"loss": 1.0}] * 2))
    epoch.add_({"loss": 4.0})
    assert epoch.partial() == PartialEpoch([{"loss": 1.0}, {"loss": 1.0}, {"loss": 4.0}])
    epoch.validation_began = {"python": 1}
    assert epoch.partial().random_state == {"python": 1}
    goes_on = Epoch(5, epoch.partial())
    assert goes_on.partial().random_state is None, "the validation of the epoch that goes on has not begun"


def test_outputs_of_before_are_of_the_whole_batch_and_enter_once_where_processes_share_it(monkeypatch):
    """One process stopped after a step with loss 4; each of two then does two steps whose shares are 1 and 2."""
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda tensor: tensor.mul_(2))
    epoch = Epoch(3, PartialEpoch([{"loss": 4.0, "skipped": 0.0}]))
    for share in (1.0, 2.0):
        epoch.add_({"loss": torch.tensor(share), "skipped": torch.tensor(0.0)})
    means = epoch.means(Processes(0, 2))
    assert means.values["loss"] == (4 + 2 + 4) / 3 and (means.steps, means.forgotten) == (3, 0)
    stopped_in_validation = Epoch(1, PartialEpoch([{"loss": 4.0, "skipped": 0.0}]))
    assert stopped_in_validation.means(Processes(0, 2)).values["loss"] == 4


def test_steps_that_were_left_out_are_counted_over_those_that_are_known():
    """Of five iterations two ran under another configuration; one of the other three was left out."""
    epoch = Epoch(5, PartialEpoch([{"loss": 9.0}] * 2))
    for skipped in (0.0, 1.0, 0.0):
        epoch.add_({"loss": 1.0, "skipped": skipped})
    means = epoch.means(Processes())
    assert (means.steps, means.forgotten, means.skipped) == (3, 2, 1) and means.values["loss"] == 1
