"""Random state: captured, restored, preserved."""

from __future__ import annotations

import io
import random

import numpy as np
import pytest
import torch

from nnunetv2_mlbseg.runtime import random_state


def _draw() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def test_restoring_repeats_all_three_generators():
    random_state.seed_everything(5)
    state = random_state.capture()
    first = _draw()
    assert _draw() != first
    random_state.restore(state)
    assert _draw() == first


def test_state_survives_a_checkpoint_that_allows_no_pickled_code():
    file = io.BytesIO()
    torch.save(random_state.capture(), file)
    expected = _draw()
    file.seek(0)
    random_state.restore(torch.load(file, weights_only=True))
    assert _draw() == expected


def test_a_preserved_block_leaves_no_trace_even_when_it_fails():
    random_state.seed_everything(6)
    expected = _draw()
    random_state.seed_everything(6)
    with pytest.raises(RuntimeError), random_state.preserved():
        _draw()
        raise RuntimeError
    assert _draw() == expected


def test_streams_of_one_seed_differ_and_repeat():
    draws = [float(torch.rand((), generator=random_state.generator("cpu", 1, stream))) for stream in (1, 2, 1)]
    assert draws[0] == draws[2] != draws[1]


def test_without_a_seed_generators_differ():
    a, b = (random_state.generator("cpu", None, 1).initial_seed() for _ in range(2))
    assert a != b


def test_worker_seeds_repeat_and_change_with_the_epoch():
    seeds = random_state.worker_seeds((7, 3), 4)
    assert seeds == random_state.worker_seeds((7, 3), 4) and len(set(seeds)) == 4
    assert not set(seeds) & set(random_state.worker_seeds((7, 4), 4))
    assert all(0 <= seed < 2**32 for seed in random_state.worker_seeds((2**32 - 1, 0), 3))
    assert random_state.worker_seeds(None, 2) is None


CPU = torch.device("cpu")


def _drawn(generator: torch.Generator) -> list[float]:
    return torch.rand(3, generator=generator).tolist()


def test_the_purposes_of_a_training_do_not_disturb_each_other():
    """Whatever else is drawn, and whoever asked first."""
    alone, busy = random_state.Generators(5, CPU), random_state.Generators(5, CPU)
    _drawn(busy.on_device("noise")), _drawn(busy.on_host("own purpose"))
    assert _drawn(busy.on_host("views")) == _drawn(alone.on_host("views"))
    assert _drawn(busy.on_host("own purpose")) != _drawn(alone.on_host("own purpose")), "this one has drawn before"
    firsts = [_drawn(random_state.Generators(5, CPU).on_host(name)) for name in ("views", "noise", "own purpose")]
    assert len({tuple(first) for first in firsts}) == 3


def test_streams_are_those_that_trainings_have_always_had():
    made = random_state.Generators(5, CPU)
    assert _drawn(made.on_host("views")) == _drawn(random_state.generator(CPU, 5, 1))
    assert _drawn(made.on_device("noise")) == _drawn(random_state.generator(CPU, 5, 2))
    assert made.states().keys() == {"views", "noise on cpu"}


def test_generators_go_on_from_their_states_also_those_that_are_asked_for_later():
    first, second = (random_state.Generators(seed, CPU) for seed in (5, None))
    _drawn(first.on_host("views")), _drawn(first.on_device("noise"))
    states = {key: state.clone() for key, state in first.states().items()}
    second.set_states(states)
    assert all(torch.equal(state, states[key]) for key, state in second.states().items())
    assert second.states().keys() == states.keys(), "nothing is lost that nobody asked for in between"
    for purpose, get in (("views", "on_host"), ("noise", "on_device")):
        assert _drawn(getattr(second, get)(purpose)) == _drawn(getattr(first, get)(purpose))


def test_seeding_begins_all_purposes_anew():
    made = random_state.Generators(5, CPU)
    first = _drawn(made.on_host("views"))
    made.set_states(made.states())
    made.seed_(5)
    assert _drawn(made.on_host("views")) == first
