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
