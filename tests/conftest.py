"""What the tests share: real scans where they exist, folders for nnU-Net, and a way to run installed commands."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

REPOSITORY = Path(__file__).resolve().parent.parent
REAL_DATA = REPOSITORY.parent / "shared" / "data"

# Small tensors: threads would only wait for each other. Commands that tests start choose for themselves.
torch.set_num_threads(1)

CompletedText = subprocess.CompletedProcess[str]


def _real_folder(*parts: str) -> Path:
    folder = REAL_DATA.joinpath(*parts)
    if not folder.is_dir():
        pytest.skip(f"real scans are not here: {folder}")
    return folder


@pytest.fixture(scope="session")
def la_source() -> Path:
    """Folder of LA scans in the UA-MT h5 layout, 144 x 144 slices."""
    return _real_folder("la2018", "144x144")


@pytest.fixture(scope="session")
def promise12_source() -> Path:
    """Folder of PROMISE12 scans, flat, ``.mhd`` with ``.zraw``."""
    return _real_folder("promise12")


@pytest.fixture
def nnunet_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Point nnU-Net's three variables at fresh folders; return an environment for child processes."""
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        folder = tmp_path / name
        folder.mkdir()
        monkeypatch.setenv(name, str(folder))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return dict(os.environ)


@pytest.fixture
def sure_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that has learned nothing is nowhere sure, and MLB-Seg's strong views would count nothing."""
    monkeypatch.setattr("nnunetv2_mlbseg.methods.mlbseg.method.CERTAINTY", 0.5)


@pytest.fixture
def run_command() -> Callable[..., CompletedText]:
    """Run a console script of the current interpreter: ``run_command("mlbseg", "check", 501, env=...)``.

    The caller looks at ``returncode``, ``stdout`` and ``stderr``; nothing is raised on failure.
    """

    def run(name: str, *args: object, env: dict[str, str] | None = None, timeout: float = 600) -> CompletedText:
        script = Path(sys.executable).parent / name
        command = [str(script), *map(str, args)]
        return subprocess.run(command, env=env, timeout=timeout, capture_output=True, text=True, check=False)

    return run
