"""nnU-Net's validation beside a network in training: how many processes it starts."""

from __future__ import annotations

import inspect

import pytest
from nnunetv2.training.nnUNetTrainer import nnUNetTrainer as nnunets

from nnunetv2_mlbseg.training.inference import processes_for_cores


@pytest.fixture
def two_cores(monkeypatch):
    """nnU-Net as it is where its variable is not set, on a machine of two cores."""
    monkeypatch.delenv("nnUNet_def_n_proc", raising=False)
    monkeypatch.setattr(nnunets, "default_num_processes", 8)
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0, 1}, raising=False)


def test_validation_starts_no_more_processes_than_there_are_cores(two_cores):
    with pytest.raises(KeyboardInterrupt), processes_for_cores():
        assert nnunets.default_num_processes == 2
        raise KeyboardInterrupt
    assert nnunets.default_num_processes == 8


def test_a_number_that_the_user_chose_is_kept(two_cores, monkeypatch):
    monkeypatch.setenv("nnUNet_def_n_proc", "8")
    with processes_for_cores():
        assert nnunets.default_num_processes == 8


def test_nnunets_validation_reads_the_number_where_it_is_changed():
    source = inspect.getsource(nnunets.nnUNetTrainer.perform_actual_validation)
    assert "Pool(default_num_processes)" in source and "default_num_processes" in vars(nnunets)
