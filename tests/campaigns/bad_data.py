"""Spoil datasets in ways that hypothesis draws, run the commands on them, and see that nothing goes wrong silently.

    python tests/campaigns/bad_data.py                  the full campaign: 600 cases
    python tests/campaigns/bad_data.py --cases 40       a short one
    python tests/campaigns/bad_data.py --seed 7         other cases

Demanded of every command on every case: it ends within a minute; no exception but a clear line with exit code 2; the
source stays as it was; a command that fails leaves nothing, one that succeeds a dataset in which ``mlbseg check``
still names what is harmful; sound oddities go through unharmed.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import hashlib
import io
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "support")]

from conversion_sources import make_nnunet  # noqa: E402
from corruptions import HARMFUL, SOUND  # noqa: E402
from hypothesis import HealthCheck, Phase, given, seed, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from dataset_conversion.supervision.files import Supervision, write_splits, write_supervision  # noqa: E402
from nnunetv2_mlbseg.cases.role_copies import refresh_copies  # noqa: E402
from nnunetv2_mlbseg.cases.roles import read_fold  # noqa: E402
from nnunetv2_mlbseg.cli.main import main as mlbseg  # noqa: E402
from noise_synthesis.safe_io.errors import InputError  # noqa: E402

LONGEST_S = 60
CASES = ("c1", "c2", "n1", "u1", "v1")
LABELLED_ONLY = "v1"  # without a role: it validates
ROLE_HARM = ("path_as_case", "case_in_two_roles", "case_twice", "validates_and_trains", "key_twice")
IGNORE = 2


def base_dataset(folder: Path) -> Path:
    """Five small cases with every role, an ignore label and one fold."""
    make_nnunet(folder, CASES, shape=(4, 12, 14))
    description = json.loads((folder / "dataset.json").read_text())
    description["labels"]["ignore"] = IGNORE
    (folder / "dataset.json").write_text(json.dumps(description))
    write_supervision(folder, Supervision(("c1", "c2"), ("n1",), ("u1",)))
    write_splits(folder, [{"train": ["c1", "c2", "n1", "u1"], "val": [LABELLED_ONLY]}])
    _ignore_everything(folder / "labelsTr" / "u1.nii.gz")
    return folder


def _ignore_everything(path: Path) -> None:
    from corruptions import change

    change(path, lambda voxels: voxels * 0 + IGNORE)


class Example:
    """One spoilt dataset and what the commands make of it."""

    def __init__(self, base: Path, root: Path, what: str, case: str, number: int):
        self.raw, self.what, self.case = root / "raw", what, case
        for name in ("raw", "preprocessed", "results"):
            (root / name).mkdir(parents=True)
            os.environ[f"nnUNet_{name}"] = str(root / name)
        self.folder = self.raw / "Dataset001_Base"
        shutil.copytree(base, self.folder)
        self.harmful = what in HARMFUL
        (HARMFUL.get(what) or SOUND[what])(self.folder, case, random.Random(number))
        self.before = _tree(self.raw)

    def run_all(self) -> Counter[str]:
        """Run every command; return how they ended."""
        ends = Counter[str]()
        ends["check " + self._check(self.folder)] += 1
        ends["roles " + self._roles()] += 1
        ends["split " + self._split()] += 1
        ends["convert " + self._convert()] += 1
        ends["noise " + self._noise()] += 1
        return ends

    def _check(self, folder: Path) -> str:
        code, out, _ = self._command("check", str(folder), "--skip-nnunet", "-np", "1", "--json")
        report = json.loads(out)
        noted = [f for f in (*report["problems"], *report["warnings"]) if f["kind"] != "unused"]
        if self.harmful:
            assert noted, f"check says nothing about {self.what} of {self.case}"
        else:
            problems = [finding for finding in noted if finding["severity"] == "problem"]
            assert not problems, f"check complains about {self.what}: {problems}"
        assert code == (0 if report["ok"] else 1)
        return "problems" if code else "warnings" if noted else "nothing"

    def _roles(self) -> str:
        """What the trainer does with role files and splits."""
        preprocessed = self.raw.parent / "preprocessed" / "Dataset001_Base"
        preprocessed.mkdir()
        try:
            with deadline(LONGEST_S):
                refresh_copies(self.folder, preprocessed)
                read_fold(preprocessed, 0, self._names())
        except InputError as error:
            _one_line(str(error))
            return "refused"
        assert self.what not in ROLE_HARM, f"the trainer accepts {self.what}"
        return "accepted"

    def _names(self) -> list[str]:
        names = {path.name[: -len("_0000.nii.gz")] for path in (self.folder / "imagesTr").iterdir()}
        return sorted(name for name in names if not name.startswith("."))

    def _split(self) -> str:
        target = self.raw / "Dataset002_Split"
        clean = self.raw.parent / "clean.txt"
        clean.write_text("\n".join(name for name in self._names() if name not in CASES[2:]))
        chosen = ("--clean", str(clean), "--evaluation", LABELLED_ONLY, "--noisy", "rest", "-np", "1")
        shutil.move(self.folder / "supervision", self.raw.parent / "supervision")
        code, _, _ = self._command("split", str(self.folder), "-d", "2", "--name", "Split", *chosen)
        shutil.move(self.raw.parent / "supervision", self.folder / "supervision")
        return self._ended(code, target)

    def _convert(self) -> str:
        source = self.raw / "Dataset003_Plain"
        shutil.copytree(self.folder, source, symlinks=True, ignore=_not_pipes_nor_roles)
        for pipe in filter(Path.is_fifo, self.folder.rglob("*")):
            os.mkfifo(source / pipe.relative_to(self.folder))
        target = self.raw / "Dataset004_Converted"
        options = ("--clean", "2", "--noisy-ratio", "0.5", "--evaluation", str(self._evaluation()), "-np", "1")
        code, _, _ = self._command("convert", "nnunet", str(source), "-d", "4", "--name", "Converted", *options)
        shutil.rmtree(source)
        return self._ended(code, target)

    def _evaluation(self) -> Path:
        path = self.raw.parent / "evaluation.txt"
        path.write_text("c2\n" if self.case != "c2" else "c1\n")
        return path

    def _noise(self) -> str:
        target = self.raw.parent / "noisy"
        code, _, _ = self._command("noise", str(self.folder / "labelsTr"), str(target), "--level", "0.8", "-np", "1")
        return self._ended(code, target, is_dataset=False)

    def _ended(self, code: int, target: Path, is_dataset: bool = True) -> str:
        """A failure leaves nothing; a success leaves something that still shows its harm."""
        assert _tree(self.raw, without=target.name) == self.before, "the source was changed, or something was left"
        if code != 0:
            assert code == 2, f"exit code {code}"
            assert not target.exists(), f"{target.name} was left after a failure"
            return "refused"
        if is_dataset:
            self._nothing_got_out(target)
            if self.what not in ROLE_HARM and self._harm_is_in_files():
                self._check(target)
        shutil.rmtree(target)
        return "done"

    def _harm_is_in_files(self) -> bool:
        """Whether the harm lies in image or label files, which the new dataset takes over."""
        return self.harmful and self.what not in (
            "broken_json",
            "strange_entry",
            "hidden_name",
            "missing",
            "huge_values",
        )

    def _nothing_got_out(self, target: Path) -> None:
        names = {path.name for path in (target / "imagesTr").iterdir()}
        expected = {f"{name}_0000.nii.gz" for name in self._names()}
        assert names == expected, f"cases {names}, expected {expected}"

    def _command(self, *arguments: str) -> tuple[int, str, str]:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), deadline(LONGEST_S):
            try:
                code = mlbseg(arguments)
            except SystemExit as end:
                code = int(end.code or 0)
        if code == 2:
            lines = [line for line in err.getvalue().replace("\r", "\n").splitlines() if "mlbseg: error:" in line]
            assert len(lines) == 1, f"expected one line that explains, got {err.getvalue()[-2000:]}"
            _one_line(lines[0])
        return code, out.getvalue(), err.getvalue()


def _one_line(text: str) -> None:
    assert "\n" not in text and "Traceback" not in text and 10 < len(text) < 4000, text[:2000]


@contextlib.contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Turn a hang into a failure."""

    def late(number: int, frame: Any) -> None:
        raise AssertionError(f"no end within {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    faulthandler.dump_traceback_later(2 * seconds, exit=True, file=sys.__stderr__)  # for a wait that no signal ends
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.cancel_dump_traceback_later()
        signal.signal(signal.SIGALRM, before)


def _not_pipes_nor_roles(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if name == "supervision" or (Path(folder) / name).is_fifo()]


def _tree(folder: Path, without: str | None = None) -> dict[str, str]:
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if (without and name.split(os.sep)[0] == without) or "Dataset003_Plain" in name:
            continue
        if path.is_symlink():
            found[name] = os.readlink(path)
        else:
            found[name] = hashlib.md5(path.read_bytes()).hexdigest() if path.is_file() else "-"
    return found


def campaign(cases: int, number: int) -> dict[str, Any]:
    """Run it; raises AssertionError with the smallest failing case that hypothesis found."""
    counts, ends, began = Counter[str](), Counter[str](), time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        base = base_dataset(Path(scratch) / "base")

        @seed(number)
        @settings(
            max_examples=cases,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.generate, Phase.shrink),
        )
        @given(
            st.sampled_from(sorted({**HARMFUL, **SOUND})),
            st.sampled_from(CASES[:3]),
            st.integers(min_value=0, max_value=2**32),
        )
        def one(what: str, case: str, draw: int) -> None:
            with tempfile.TemporaryDirectory(dir=scratch) as root:
                ends.update(Example(base, Path(root), what, case, draw).run_all())
            counts[what] += 1

        one()
    return {
        "cases": counts.total(),
        "seconds": round(time.monotonic() - began, 1),
        "kinds": len(counts),
        "by kind": dict(sorted(counts.items())),
        "ends": dict(sorted(ends.items())),
    }


def main() -> int:
    """Run the campaign as a command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cases", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    print(json.dumps(campaign(args.cases, args.seed), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
