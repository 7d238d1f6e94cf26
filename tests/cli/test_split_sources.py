"""``mlbseg split --source``: who drew which noisy label."""

from __future__ import annotations

import pytest
from conversion_sources import make_nnunet, read

from nnunetv2_mlbseg.cli.main import main

NAMES = [f"{site}{number}" for site in "ABC" for number in range(4)]
ROLES = ("--clean", "A*", "--noisy", "B*", "C0", "C1", "--unlabeled", "C2", "--exclude", "C3")


@pytest.fixture
def raw(nnunet_folders, tmp_path):
    make_nnunet(tmp_path / "nnUNet_raw" / "Dataset030_Own", NAMES)
    return tmp_path / "nnUNet_raw"


def split(*arguments: object) -> int:
    return main(["split", "30", "-d", "31", *ROLES, *map(str, arguments), "-np", "1"])


def test_sources_by_pattern_file_and_name(raw, tmp_path):
    (tmp_path / "model.txt").write_text("C0\nC3\n")
    given = ("--source", "reader 2", "B[01]", "B3", "--source", "old", tmp_path / "model.txt", "--source", "old", "C1")
    assert split(*given) == 0
    expected = {"B0": "reader 2", "B1": "reader 2", "B3": "reader 2", "C0": "old", "C1": "old"}
    assert read(raw / "Dataset031_Own" / "supervision" / "sources.json") == expected, "C3 is left out, B2 unknown"
    assert main(["check", "31", "--skip-nnunet"]) == 0


def test_without_sources_there_is_no_file(raw):
    assert split() == 0
    assert not (raw / "Dataset031_Own" / "supervision" / "sources.json").exists()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("reader2", "B9"), "--source reader2 B9: no such file, and no case whose name matches this pattern"),
        (("reader2", "A1", "B1"), "--source reader2: source of a case that is clean: A1; only noisy labels have a"),
        (("reader2", "C2"), "--source reader2: source of a case that is unlabeled: C2; only noisy labels have a"),
        (("reader2",), "--source reader2: no case given, expected its cases: names, a file that lists them, or"),
        ((" ", "B1"), "--source ' ': expected a name in one line, then the cases of this source"),
        (("a", "B[01]", "--source", "b", "B[12]"), "--source a and --source b both take B1; a label has one"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(raw, capsys, given, said):
    assert split("--source", *given) == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert error.startswith(f"mlbseg: error: {said}")
    assert [path.name for path in raw.iterdir()] == ["Dataset030_Own"]
