"""``mlbseg doctor`` in sound and in broken environments."""

from __future__ import annotations

from nnunetv2_mlbseg.cli import doctor


def problems(findings) -> list[doctor.Finding]:
    return [finding for finding in findings if finding.remedy]


def test_three_folders_that_can_be_written_to_are_fine(nnunet_folders):
    assert problems(doctor.paths()) == []


def test_each_unusable_folder_is_a_problem_with_its_own_remedy(nnunet_folders, monkeypatch, tmp_path):
    monkeypatch.delenv("nnUNet_raw")
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path / "nowhere"))
    monkeypatch.setattr(doctor, "is_writable", lambda folder: False)
    unset, missing, closed = problems(doctor.paths())
    assert unset.text == "nnUNet_raw is not set" and "export nnUNet_raw=" in unset.remedy
    assert f"mkdir -p {tmp_path / 'nowhere'}" in missing.remedy
    assert closed.text.endswith("cannot be written to")


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
    for name in ("torch_pair", "paths", "devices", "trainer"):
        monkeypatch.setattr(doctor, name, lambda: iter(()))
    assert doctor.run(None) == 0
    assert capsys.readouterr().out == "OK       fine\n\nNo problem found.\n"
    monkeypatch.setattr(doctor, "paths", lambda: iter([doctor.Finding("broken", "mend it")]))
    assert doctor.run(None) == 1
    assert "PROBLEM  broken\n         -> mend it\n\n1 problem(s) found.\n" in capsys.readouterr().out
