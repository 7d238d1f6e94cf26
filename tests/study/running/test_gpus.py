"""Which GPU each of several trainings at once gets. No GPU is needed: CUDA_VISIBLE_DEVICES says what there is."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading

import pytest

from nnunetv2_mlbseg.study.running import gpus
from nnunetv2_mlbseg.study.running.gpus import SCHEDULED, VISIBLE, lock_folder, one_gpu, visible_gpus
from noise_synthesis.safe_io.errors import InputError


@pytest.fixture(autouse=True)
def lock_files(tmp_path, monkeypatch):
    """A folder of its own for the locks, and what lies in it."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.delenv(SCHEDULED, raising=False)
    return lambda: sorted(path.name for path in tmp_path.rglob("*.lock"))


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ("0,1", ["0", "1"]),
        (" 3 ", ["3"]),
        ("", []),
        ("-1", []),
        ("0,-1,1", ["0"]),
        ("GPU-8932f937, GPU-a1b2c3d4", ["GPU-8932f937", "GPU-a1b2c3d4"]),
    ],
)
def test_the_variable_says_which_there_are(value, names):
    assert visible_gpus({VISIBLE: value}) == names


def test_without_the_variable_all_that_torch_counts(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 3)
    assert visible_gpus({}) == ["0", "1", "2"]


@pytest.mark.parametrize(("device", "visible"), [("cpu", "0,1"), ("mps", "0,1"), ("cuda", "2"), ("cuda", "")])
def test_where_there_is_no_choice_nothing_is_set_and_nothing_held(lock_files, device, visible):
    with (
        one_gpu(device, {VISIBLE: visible}) as first,
        one_gpu(device, {VISIBLE: visible}) as second,
    ):
        assert first.variables == second.variables == {} and first.locks == ()
    assert lock_files() == []


def test_two_jobs_take_two_gpus_and_a_third_waits_for_the_first_that_is_free(monkeypatch, capsys):
    looked = threading.Event()
    monkeypatch.setattr(gpus.time, "sleep", lambda seconds: looked.set() or threading.Event().wait(0.01))
    environment, taken = {VISIBLE: "4,7"}, []

    def third() -> None:
        with one_gpu("cuda", environment) as gpu:
            taken.append(gpu.variables[VISIBLE])

    waiting = threading.Thread(target=third)
    with one_gpu("cuda", environment) as first:
        with one_gpu("cuda", environment) as second:
            assert {first.variables[VISIBLE], second.variables[VISIBLE]} == {"4", "7"}
            waiting.start()
            assert looked.wait(timeout=30) and taken == [], "it looked in vain"
        waiting.join(timeout=30)
        assert taken == [second.variables[VISIBLE]]
    assert capsys.readouterr().out.startswith("waits for a GPU: other jobs hold all of 4, 7 (locks in ")


def test_a_gpu_stays_taken_while_a_command_of_the_job_outlives_it():
    environment = {VISIBLE: "0,1"}
    with one_gpu("cuda", environment) as gpu:
        program = "import sys; print('started', flush=True); sys.stdin.read()"
        command = subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            pass_fds=gpu.locks,
        )
        assert command.stdout.readline() == "started\n"
    with one_gpu("cuda", environment) as next_one:
        assert next_one.variables != gpu.variables
    command.communicate()
    with one_gpu("cuda", environment) as last:
        assert last.variables == gpu.variables


def test_scheduled_jobs_whose_numbers_mean_other_gpus_do_not_wait_for_each_other():
    first, second = ({VISIBLE: "0,1", SCHEDULED: number} for number in ("17", "18"))
    with one_gpu("cuda", first) as one, one_gpu("cuda", second) as other:
        assert one.variables == other.variables == {VISIBLE: "0"}


def test_a_lock_folder_of_someone_else_is_refused(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f"mlbseg_gpus_{os.getuid()}").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="belongs to another user; set TMPDIR"):
        lock_folder()


def test_a_file_system_without_locks_is_no_gpu_that_is_taken(monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    with (
        pytest.raises(InputError, match=r"cannot lock files \(No locks available\)"),
        one_gpu("cuda", {VISIBLE: "0,1"}),
    ):
        pass
