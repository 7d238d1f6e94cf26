"""The reference pages that docs/generate.py writes are what the code says now, on every machine."""

from __future__ import annotations

import os
import sys

import pytest
from conftest import REPOSITORY

DOCS = REPOSITORY / "docs"
sys.path.insert(0, str(DOCS))
import generate  # noqa: E402 (docs is no package)


@pytest.mark.parametrize("name", generate.PAGES)
def test_a_generated_page_is_current(name):
    assert generate.stale([name]) == [], "run python docs/generate.py"


def test_generated_pages_depend_neither_on_the_terminal_nor_on_the_machine(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2}, raising=False)
    for name in ("reference/commands.md", "reference/trainers.md"):
        assert generate.PAGES[name]() == (DOCS / name).read_text("utf-8")


def test_the_check_names_a_stale_page_and_writing_mends_it(tmp_path, monkeypatch, capsys):
    made = {"a.md": lambda: "new\n", "b.md": lambda: "same\n"}
    monkeypatch.setattr(generate, "PAGES", made)
    monkeypatch.setattr(generate, "DOCS", tmp_path)
    (tmp_path / "a.md").write_text("old\n")
    (tmp_path / "b.md").write_text("same\n")
    assert generate.main(["--check"]) == 1
    assert capsys.readouterr().out == "docs/a.md is not what the code says now: run python docs/generate.py\n"
    assert generate.main([]) == 0
    assert generate.main(["--check"]) == 0
