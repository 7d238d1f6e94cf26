"""Which GPU each of several trainings at once gets. No GPU is needed: CUDA_VISIBLE_DEVICES says what there is."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from nnunetv2_mlbseg.study import gpus
from nnunetv2_mlbseg.study.gpus import VISIBLE, one_gpu, visible_gpus


@pytest.mark.parametrize(
    ("value", "names"),
    [("0,1", ["0", "1"]), (" 3 ", ["3"]), ("", []), ("GPU-8932f937, GPU-a1b2c3d4", ["GPU-8932f937", "GPU-a1b2c3d4"])],
)
def test_the_variable_says_which_there_are(value, names):
    assert visible_gpus({VISIBLE: value}) == names


def test_without_the_variable_all_that_torch_counts(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 3)
    assert visible_gpus({}) == ["0", "1", "2"]


@pytest.mark.parametrize(("device", "visible"), [("cpu", "0,1"), ("mps", "0,1"), ("cuda", "2"), ("cuda", "")])
def test_where_there_is_no_choice_nothing_is_set_and_nothing_held(tmp_path, device, visible):
    with (
        one_gpu(tmp_path, device, {VISIBLE: visible}) as first,
        one_gpu(tmp_path, device, {VISIBLE: visible}) as second,
    ):
        assert first.variables == second.variables == {} and first.locks == ()
    assert list(tmp_path.iterdir()) == []


def test_two_jobs_take_two_gpus_and_a_third_waits_for_the_first_that_is_free(tmp_path, monkeypatch):
    monkeypatch.setattr(gpus, "SECONDS_BETWEEN_LOOKS", 0.01)
    environment, taken = {VISIBLE: "4,7"}, []

    def third() -> None:
        with one_gpu(tmp_path, "cuda", environment) as gpu:
            taken.append(gpu.variables[VISIBLE])

    waiting = threading.Thread(target=third)
    with one_gpu(tmp_path, "cuda", environment) as first:
        with one_gpu(tmp_path, "cuda", environment) as second:
            assert {first.variables[VISIBLE], second.variables[VISIBLE]} == {"4", "7"}
            waiting.start()
            time.sleep(0.2)
            assert taken == []
        waiting.join(timeout=30)
        assert taken == [second.variables[VISIBLE]]


def test_a_gpu_stays_taken_while_a_command_of_the_job_outlives_it(tmp_path):
    environment = {VISIBLE: "0,1"}
    with one_gpu(tmp_path, "cuda", environment) as gpu:
        program = "import sys; print('started', flush=True); sys.stdin.read()"
        command = subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            pass_fds=gpu.locks,
        )
        assert command.stdout.readline() == "started\n"
    with one_gpu(tmp_path, "cuda", environment) as next_one:
        assert next_one.variables != gpu.variables
    command.communicate()
    with one_gpu(tmp_path, "cuda", environment) as last:
        assert last.variables == gpu.variables
