"""What would be published: a source distribution with every file, a wheel built from it, and one version everywhere.

Oracle: the list of tracked files, and twine's own check. That an installation works is in ``test_installation``.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from email import message_from_string
from email.message import Message
from pathlib import Path

import pytest
import yaml

from nnunetv2_mlbseg import __version__

REPOSITORY = next(folder for folder in Path(__file__).resolve().parents if (folder / "setup.py").is_file())
PACKAGES = ("nnunetv2_mlbseg", "dataset_conversion", "noise_synthesis")
LEFT_BY_TOOLS = (".git", "__pycache__", "*.egg-info", "build", "dist", "site", ".venv", "venv", ".*_cache")
# A few of each kind of file that is no Python: the list of tracked files alone would not miss them.
DATA_FILES = (
    *(f"{package}/py.typed" for package in PACKAGES),
    "dataset_conversion/la_train.list",
    "dataset_conversion/la_evaluation.list",
    *(f"nnunetv2_mlbseg/audit/report_page/{name}" for name in ("page.html", "style.css", "main.js")),
    "nnunetv2_mlbseg/study/Snakefile",
    "nnunetv2_mlbseg/study/paper_numbers.json",
    *(f"nnunetv2_mlbseg/study/held_out/{name}.txt" for name in ("la", "promise12")),
    *(
        f"nnunetv2_mlbseg/study/studies/{name}.yaml"
        for name in ("small", "small_3d", "recipes", "paper_la", "paper_promise12")
    ),
)
RELATIVE_LINK = re.compile(r"\]\((?!https?://|mailto:|#)")


@dataclass(frozen=True)
class Release:
    """The two files that would be published, and what the first was made from (paths below its root)."""

    tracked: frozenset[str]
    sdist: Path
    wheel: Path


def tracked_files(folder: Path) -> list[Path]:
    """Paths of the files that git tracks; in a copy without history, of all but what tools leave behind."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=folder, capture_output=True, text=True, check=False)
    if listed.returncode == 0 and listed.stdout:
        return [Path(name) for name in listed.stdout.split("\0") if name and (folder / name).is_file()]
    paths = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    return [path for path in paths if not any(Path(part).match(p) for part in path.parts for p in LEFT_BY_TOOLS)]


def run(*arguments: str | Path) -> str:
    done = subprocess.run([sys.executable, "-m", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def release(tmp_path_factory) -> Release:
    """Built in a clean copy: the source distribution first, then the wheel from what that unpacks to."""
    copy, dist = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("dist")
    tracked = tracked_files(REPOSITORY)
    for path in tracked:
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / path, copy / path)
    run("build", "--outdir", dist, copy)
    names = sorted(path.name for path in dist.iterdir())
    assert names == [f"nnunetv2_mlbseg-{__version__}-py3-none-any.whl", f"nnunetv2_mlbseg-{__version__}.tar.gz"]
    return Release(frozenset(path.as_posix() for path in tracked), dist / names[1], dist / names[0])


def wheel_names(release: Release) -> set[str]:
    with zipfile.ZipFile(release.wheel) as archive:
        return set(archive.namelist())


def metadata_of(release: Release) -> Message:
    with zipfile.ZipFile(release.wheel) as archive:
        return message_from_string(archive.read(f"nnunetv2_mlbseg-{__version__}.dist-info/METADATA").decode())


@pytest.mark.integration
def test_an_index_would_accept_both_files(release):
    said = run("twine", "check", "--strict", release.sdist, release.wheel)
    assert said.count("PASSED") == 2


@pytest.mark.integration
def test_the_source_distribution_holds_every_tracked_file(release):
    with tarfile.open(release.sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    assert release.tracked - held == set()
    assert {"docs/images/demo.png", "tests/conftest.py", "CITATION.cff", "LICENSE"} <= held
    assert [name for name in held if name.endswith(".pyc")] == []


@pytest.mark.integration
def test_the_wheel_holds_every_file_of_the_packages_and_the_start_up_line(release):
    ours = {name for name in release.tracked if name.split("/")[0] in PACKAGES}
    assert set(DATA_FILES) <= ours
    assert (ours | {"nnunetv2_mlbseg.pth"}) - wheel_names(release) == set()


@pytest.mark.integration
def test_the_wheel_holds_nothing_else(release):
    roots = {name.split("/")[0] for name in wheel_names(release)}
    assert roots == {*PACKAGES, "nnunetv2_mlbseg.pth", f"nnunetv2_mlbseg-{__version__}.dist-info"}


@pytest.mark.integration
def test_the_metadata_says_what_it_is_and_needs(release):
    metadata = metadata_of(release)
    assert (metadata["Version"], metadata["License-Expression"]) == (__version__, "Apache-2.0")
    assert metadata["Requires-Python"] == ">=3.10"
    required = {re.split(r"[<>=!~; ]", line)[0] for line in metadata.get_all("Requires-Dist")}
    assert {"nnunetv2", "torch", "pydantic"} <= required
    assert {"study", "test", "dev", "docs"} <= set(metadata.get_all("Provides-Extra"))
    assert "Typing :: Typed" in metadata.get_all("Classifier")


@pytest.mark.integration
def test_the_description_on_an_index_leads_nowhere_that_is_missing_there(release):
    """A relative link or picture of the README has nothing to lead to on an index."""
    description = metadata_of(release).get_payload()
    assert RELATIVE_LINK.search((REPOSITORY / "README.md").read_text(encoding="utf-8")), "the oracle sees links"
    assert RELATIVE_LINK.findall(description) == []
    assert "pip install . && mlbseg demo" in description


def test_the_version_is_one():
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text(encoding="utf-8"))
    changelog = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.findall(r"^## \[(\d[^]]*)\]", changelog, flags=re.MULTILINE)[0]
    assert (citation["version"], newest) == (__version__, __version__)


def test_the_citation_names_both_papers_with_their_authors():
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text(encoding="utf-8"))
    first_authors = [reference["authors"][0].get("family-names") for reference in citation["references"]]
    assert citation["cff-version"] == "1.2.0"
    assert first_authors[:2] == ["Isensee", "Wei"]
