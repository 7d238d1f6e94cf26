"""The output folder: there when complete, never half, and nobody's data deleted."""

from __future__ import annotations

from pathlib import Path

import pytest

from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.output_folder import complete_folder


def fill(target: Path, text: str = "new", force: bool = False) -> None:
    with complete_folder(target, "mark.json", force) as folder:
        assert folder.parent == target.parent and folder.name.startswith(".")
        (folder / "mark.json").write_text(text)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_folder_appears_when_complete(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "out"
    with complete_folder(target, "mark.json") as folder:
        (folder / "a").write_text("x")
        assert not target.exists()
    assert (target / "a").read_text() == "x"
    assert names(target.parent) == ["out"]


def test_a_failure_leaves_nothing_behind_and_the_old_folder_in_place(tmp_path: Path) -> None:
    fill(tmp_path / "out", "old")
    with pytest.raises(RuntimeError), complete_folder(tmp_path / "out", "mark.json", force=True) as folder:
        (folder / "half").write_text("x")
        raise RuntimeError
    assert names(tmp_path) == ["out"] and (tmp_path / "out" / "mark.json").read_text() == "old"


def test_what_a_killed_run_left_is_cleared_away(tmp_path: Path) -> None:
    left = tmp_path / ".out.partial"
    left.mkdir()
    (left / "half").write_text("x")
    fill(tmp_path / "out")
    assert names(tmp_path) == ["out"] and names(tmp_path / "out") == ["mark.json"]


def test_nothing_is_replaced_without_force(tmp_path: Path) -> None:
    fill(tmp_path / "out", "old")
    with pytest.raises(InputError, match="exists already; choose another name, or replace it with --force"):
        fill(tmp_path / "out")
    fill(tmp_path / "out", "new", force=True)
    assert (tmp_path / "out" / "mark.json").read_text() == "new"
    assert names(tmp_path) == ["out"]


def test_force_replaces_an_empty_folder_but_no_folder_of_someone_elses(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    fill(tmp_path / "empty", force=True)
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.tex").write_text("x")
    (tmp_path / "file").write_text("x")
    for name in ("precious", "file"):
        with pytest.raises(InputError, match=r"--force replaces only a folder that holds mark\.json"):
            fill(tmp_path / name, force=True)
    assert (tmp_path / "precious" / "thesis.tex").read_text() == "x"


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match=r"file/out: cannot be written \(Not a directory|File exists"):
        fill(tmp_path / "file" / "out")
