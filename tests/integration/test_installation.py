"""``pip install`` is all it takes: nnU-Net's variable is set in every new process, and uninstalling leaves nothing.

Oracle: fresh virtual environments and what a child process of theirs sees.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import venv
from pathlib import Path

import pytest

from nnunetv2_mlbseg.extension_path import VARIABLE

pytestmark = pytest.mark.integration

REPOSITORY = Path(__file__).resolve().parents[2]
SHOW_VARIABLE = f"import os; print(os.environ.get({VARIABLE!r}, 'unset'))"
IN_A_SPAWNED_PROCESS = f"""
import multiprocessing, os
if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(pool.apply(os.getenv, ({VARIABLE!r}, "unset")))
"""


def clean_environment(**more: str) -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if k not in (VARIABLE, "PYTHONPATH")} | more


def run(python: Path, *args: str, **more: str) -> str:
    """What ``python args`` prints on stdout; anything on stderr is a failure (the ``.pth`` file must be silent)."""
    result = subprocess.run([python, *args], env=clean_environment(**more), capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A copy of the sources, so that building leaves nothing in the repository."""
    copy = tmp_path / "source"
    copy.mkdir()
    for name in ("nnunetv2_mlbseg", "dataset_conversion", "noise_synthesis"):
        shutil.copytree(REPOSITORY / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, copy)
    return copy


@pytest.fixture
def python(tmp_path: Path) -> Path:
    venv.create(tmp_path / "venv", with_pip=True, symlinks=True)
    return tmp_path / "venv" / "bin" / "python"


def site_packages(python: Path) -> Path:
    return Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"))


@pytest.mark.parametrize("editable", [False, True], ids=["wheel", "editable"])
def test_an_installation_sets_the_variable_and_uninstalling_unsets_it(python, source, tmp_path, editable):
    run(python, "-m", "pip", "install", "-q", "--no-deps", *(["-e"] if editable else []), str(source))
    plugin = (source if editable else site_packages(python)) / "nnunetv2_mlbseg" / "nnunet_plugin"
    script = tmp_path / "spawn.py"
    script.write_text(IN_A_SPAWNED_PROCESS)

    assert run(python, "-c", SHOW_VARIABLE) == str(plugin)
    assert run(python, str(script)) == str(plugin)
    own = os.pathsep.join(["/first", "/second"])
    assert run(python, "-c", SHOW_VARIABLE, **{VARIABLE: own}) == f"{own}{os.pathsep}{plugin}"
    assert run(python, "-c", SHOW_VARIABLE, **{VARIABLE: f"{plugin}"}) == str(plugin)

    run(python, "-m", "pip", "uninstall", "-q", "-y", "nnunetv2_mlbseg")
    assert run(python, "-c", SHOW_VARIABLE) == "unset"
    assert not [path.name for path in site_packages(python).iterdir() if "mlbseg" in path.name]


def test_every_file_is_installed_and_the_start_up_line_does_nothing_once_they_are_gone(python, source):
    files = {path.relative_to(source) for path in source.glob("*/**/*") if path.is_file()}  # data files as well
    run(python, "-m", "pip", "install", "-q", "--no-deps", str(source))
    assert not [str(path) for path in files if not (site_packages(python) / path).is_file()]
    shutil.rmtree(site_packages(python) / "nnunetv2_mlbseg")
    result = subprocess.run(
        [python, "-c", SHOW_VARIABLE], env=clean_environment(), capture_output=True, text=True, check=True
    )
    assert (result.stdout.strip(), result.stderr) == ("unset", "")


def test_starting_python_costs_next_to_nothing(python, source):
    run(python, "-m", "pip", "install", "-q", "--no-deps", str(source))
    report = subprocess.run(
        [python, "-X", "importtime", "-c", "pass"], env=clean_environment(), capture_output=True, text=True, check=True
    ).stderr
    ours = [line for line in report.splitlines() if "nnunetv2_mlbseg" in line]
    assert len(ours) == 2, ours  # the package and the one module; no dependency is imported
    assert sum(int(line.split("|")[0].split(":")[1]) for line in ours) < 50_000  # microseconds
    assert "torch" not in report
