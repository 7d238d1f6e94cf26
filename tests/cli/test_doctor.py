"""``mlbseg doctor`` in sound and in broken environments."""

from __future__ import annotations

from dataset_conversion.raw import parallel
from nnunetv2_mlbseg.cli import doctor


def problems(findings) -> list[doctor.Finding]:
    return [finding for finding in findings if finding.remedy]


def test_three_folders_that_can_be_written_to_are_fine(nnunet_folders):
    assert problems(doctor.paths()) == []


def test_each_unusable_folder_is_a_problem_with_its_own_remedy(nnunet_folders, monkeypatch, tmp_path):
    monkeypatch.delenv("nnUNet_raw")
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path / "no where"))
    monkeypatch.setattr(doctor, "is_writable", lambda folder: False)
    unset, missing, closed = problems(doctor.paths())
    assert closed.text.startswith("nnUNet_results=")
    assert unset.text == "nnUNet_raw is not set" and "export nnUNet_raw=" in unset.remedy
    assert f"mkdir -p '{tmp_path / 'no where'}'" in missing.remedy
    assert closed.text.endswith("cannot be written to")


def test_raw_datasets_that_cannot_be_written_to_are_enough_to_train(nnunet_folders, monkeypatch):
    monkeypatch.setattr(doctor, "is_writable", lambda folder: not folder.endswith("raw"))
    first, *others = doctor.paths()
    assert first.lines()[0].startswith("ADVICE   nnUNet_raw=") and "by its path" in first.advice
    assert problems([first, *others]) == []


def processes_with(monkeypatch, cores, **variables) -> list[list[str]]:
    """What the doctor says of the numbers of processes."""
    monkeypatch.setattr(parallel, "cores", lambda: cores)
    for name in ("nnUNet_def_n_proc", "nnUNet_n_proc_DA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return [finding.lines() for finding in doctor.processes()]


def test_more_processes_than_cores_are_worth_a_word(monkeypatch):
    assert processes_with(monkeypatch, 2) == [
        [
            "ADVICE   nnUNet_def_n_proc is not set, so that nnU-Net starts 8 processes on 2 cores: slow, and each "
            "takes memory",
            "         -> export nnUNet_def_n_proc=2",
        ]
    ]
    assert processes_with(monkeypatch, 2, nnUNet_def_n_proc="2") == [["OK       nnUNet_def_n_proc: 2 processes"]]
    assert processes_with(monkeypatch, 16) == [["OK       nnUNet_def_n_proc: 8 processes"]]
    (three,) = processes_with(monkeypatch, 2, nnUNet_def_n_proc="3")
    assert three[0].startswith("ADVICE   nnUNet_def_n_proc is 3 on 2 cores")


def test_numbers_of_processes_with_which_nnunet_fails_are_problems(monkeypatch):
    for value in ("0", "two", ""):
        ((first, remedy),) = processes_with(monkeypatch, 4, nnUNet_def_n_proc=value)
        assert first.startswith(f"PROBLEM  nnUNet_def_n_proc is {value!r}, expected") and remedy.endswith("_proc=4")
    _, (text, remedy) = processes_with(monkeypatch, 8, nnUNet_n_proc_DA="0")
    assert text == "PROBLEM  nnUNet_n_proc_DA is 0, with which nnU-Net's planning fails"
    assert remedy.endswith("give it to trainings alone: nnUNet_n_proc_DA=0 nnUNetv2_train ...")
    _, (text, _) = processes_with(monkeypatch, 8, nnUNet_n_proc_DA="-1")
    assert text.startswith("PROBLEM  nnUNet_n_proc_DA is '-1', expected")
    assert len(processes_with(monkeypatch, 8, nnUNet_n_proc_DA="3")) == 1


def test_a_folder_is_tried_out_by_writing(tmp_path):
    assert doctor.is_writable(str(tmp_path))
    assert not doctor.is_writable("/proc")


def test_an_old_or_missing_package_is_a_problem():
    assert doctor.installed("numpy", lambda version, prereleases: True, ">=1").remedy is None
    old = doctor.installed("numpy", lambda version, prereleases: False, ">=99")
    assert old.text.endswith("needed: >=99") and old.remedy == 'run pip install "numpy>=99"'
    missing = doctor.installed("no-such-package-here", lambda *_: True, ">=2")
    assert missing == doctor.Finding(
        "no-such-package-here is not installed", 'run pip install "no-such-package-here>=2"'
    )


def test_the_report_counts_problems_and_sets_the_exit_code(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "versions", lambda: iter([doctor.Finding("fine")]))
    for name in ("torch_pair", "paths", "devices", "processes", "trainer"):
        monkeypatch.setattr(doctor, name, lambda: iter(()))
    assert doctor.run(None) == 0
    assert capsys.readouterr().out == "OK       fine\n\nNo problem found.\n"
    monkeypatch.setattr(doctor, "paths", lambda: iter([doctor.Finding("broken", "mend it")]))
    assert doctor.run(None) == 1
    assert "PROBLEM  broken\n         -> mend it\n\n1 problem(s) found.\n" in capsys.readouterr().out
