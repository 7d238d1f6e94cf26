"""What MLB-Seg remembers of earlier batches: it grows step by step, and a checkpoint keeps it."""

from __future__ import annotations

import pytest
import torch
from method_support import NETWORKS, drawn_batch, mlbseg_step, take_step, weighed


def _remembered(learning, record):
    return learning.method.state()[record]


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize(("record", "grows"), [("disputes", ("counts", "extent")), ("shares", ("clean", "pseudo"))])
def test_what_a_step_remembers_grows_and_survives_a_checkpoint(network, record, grows):
    learning, batch = mlbseg_step(network, weighting="tied", align_shares=True), drawn_batch()
    method = learning.method
    assert method.state() == {"disputes": None, "shares": None}
    take_step(learning, batch)
    first = method.state()
    assert all(first[record][name].sum() > 0 for name in grows)
    weighed(learning, batch)
    assert all(torch.equal(value, _remembered(learning, record)[name]) for name, value in first[record].items())
    other = mlbseg_step(network, weighting="tied", align_shares=True)
    other.method.load_state(first)
    assert all(torch.equal(value, _remembered(other, record)[name]) for name, value in first[record].items())
    method.memory = method.memory.followed_by(weighed(learning, batch).memory)
    assert not torch.equal(_remembered(learning, record)[grows[0]], first[record][grows[0]])
    assert torch.equal(_remembered(other, record)[grows[0]], first[record][grows[0]])
    take_step(other, batch)
    assert not torch.equal(_remembered(other, record)[grows[0]], first[record][grows[0]])


def test_a_record_in_the_form_of_an_earlier_version_begins_anew():
    learning, batch = mlbseg_step(weighting="tied"), drawn_batch()
    take_step(learning, batch)
    state = learning.method.state()
    earlier = {name: table for name, table in state["disputes"].items() if name != "cases"}
    other = mlbseg_step(weighting="tied")
    other.method.load_state({"disputes": earlier, "shares": state["shares"]})
    assert other.method.memory.disputes is None and other.method.memory.shares is not None
    take_step(other, batch)


def test_what_a_checkpoint_of_before_the_records_lacks_begins_anew():
    learning = mlbseg_step(weighting="tied")
    learning.method.load_state({})
    assert learning.method.state() == {"disputes": None, "shares": None}


def test_weights_without_a_record_store_none_and_say_what_they_are():
    learning = mlbseg_step(weighting="meta", align_shares=False)
    take_step(learning, drawn_batch())
    assert learning.method.state() == {"disputes": None, "shares": None}
    assert learning.method.weighing().record is not None and learning.method.weighing().none_because is None
    tied = mlbseg_step(weighting="tied")
    assert tied.method.weighing().none_because == "the checkpoint was written before the first weights"
    take_step(tied, drawn_batch())
    assert tied.method.weighing().record is tied.method.memory.disputes and tied.method.weighing().none_because is None
