"""Take the disk away at every writing step of a training and of the commands, give it back, and go on.

    python tests/campaigns/disk_faults.py --out FOLDER             every fault this machine allows, at every step
    python tests/campaigns/disk_faults.py --out FOLDER --short     a few that need no privileges

Faults: ``full`` and ``read-only`` are a small memory file system (need root), ``denied`` takes the permission bits away
(as root the process becomes another user), ``missing`` moves the folder away, ``size limit`` lets no file
grow beyond 64 bytes. Demanded: one line that explains, no traceback; every checkpoint of before is whole; the
training continues with ``--c`` to the weights of an undisturbed one.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "support")]

import comparing  # noqa: E402
import forked_training  # noqa: E402
import torch  # noqa: E402
from conversion_sources import make_nnunet, tree  # noqa: E402
from forked_training import ForkedTraining  # noqa: E402
from prepared import campaign_parser, copied, prepared_in  # noqa: E402
from training_support import SUPERVISION, Workspace  # noqa: E402

from nnunetv2_mlbseg.cases.label_store import LabelStore  # noqa: E402
from nnunetv2_mlbseg.cases.prediction import CasePredictor  # noqa: E402
from nnunetv2_mlbseg.cli.main import main as mlbseg  # noqa: E402
from nnunetv2_mlbseg.progress import checkpoint  # noqa: E402
from nnunetv2_mlbseg.trainers.mlbseg import nnUNetTrainerMLBSeg  # noqa: E402

MOST_BYTES = 64
DISK_BYTES = 24 * 2**20
NOBODY = 65534

# Steps of a training: what is wrapped, and the how-manieth call meets the fault.
STEPS: dict[str, tuple[Any, str, int]] = {
    "start": (nnUNetTrainerMLBSeg, "on_train_start", 1),
    "first checkpoint": (checkpoint, "write", 1),
    "checkpoint after the warm-up": (checkpoint, "write", 4),
    "first generated label": (LabelStore, "save", 1),
    "second generated label": (LabelStore, "save", 2),
    "exported label": (CasePredictor, "export", 2),
    "manifest": (LabelStore, "mark_complete", 2),
    "checkpoint in bootstrapping": (checkpoint, "write", 5),
    "last checkpoint": (nnUNetTrainerMLBSeg, "on_train_end", 1),
    "validation": (nnUNetTrainerMLBSeg, "perform_actual_validation", 1),
}
SHORT = {
    "size limit": ("first checkpoint", "exported label", "checkpoint in bootstrapping"),
    "missing": ("second generated label",),
}
# nnU-Net makes a missing folder anew at these steps, and everything goes on in it.
UNNOTICED = (("missing", "start"), ("missing", "validation"))
COMMANDS: dict[str, Callable[[Path], list[str]]] = {
    "convert": lambda root: ["convert", "nnunet", str(root / "source"), "-d", "7", "--name", "New", "--clean", "2"],
    "split": lambda root: [
        "split",
        str(root / "source"),
        "-d",
        "7",
        "--name",
        "New",
        "--clean",
        "c[0-2]",
        "--noisy",
        "rest",
    ],
    "noise": lambda root: ["noise", str(root / "source" / "labelsTr"), str(root / "disk" / "noisy"), "--level", "L3"],
    "evaluate": lambda root: [
        *("evaluate", str(root / "source" / "labelsTr"), str(root / "source" / "labelsTr")),
        *("--json", str(root / "disk" / "scores.json"), "--csv", str(root / "disk" / "scores.csv")),
    ],
}


class Fault:
    """A way to lose a folder for writing, and to get it back.

    Args:
        disk: The folder; for ``full`` and ``read-only`` the place where a file system is mounted.
    """

    def __init__(self, kind: str, disk: Path):
        self.kind, self.disk = kind, disk

    @contextlib.contextmanager
    def mounted(self) -> Iterator[None]:
        """Have the small file system there, if this fault needs one."""
        if self.kind not in ("full", "read-only"):
            yield
            return
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(self.disk)], check=True)
        try:
            yield
        finally:
            subprocess.run(["umount", "-l", str(self.disk)], check=True)

    def strike(self) -> None:
        """Lose it, from within the process that writes."""
        if self.kind == "full":
            with contextlib.suppress(OSError), (self.disk / "filler").open("wb", buffering=0) as file:
                while True:
                    file.write(b"\0" * 4096)
        elif self.kind == "read-only":
            subprocess.run(["mount", "-o", "remount,ro", str(self.disk)], check=True)
        elif self.kind == "missing":
            os.rename(self.disk, self.disk.with_name("elsewhere"))
        elif self.kind == "denied":
            for folder in (self.disk, *filter(Path.is_dir, self.disk.rglob("*"))):
                folder.chmod(0o555)
            if os.geteuid() == 0:
                os.seteuid(NOBODY)
        else:
            _print_through_a_pipe()
            resource.setrlimit(resource.RLIMIT_FSIZE, (MOST_BYTES, resource.RLIM_INFINITY))

    def end(self) -> None:
        """Give it back, from outside."""
        if self.kind == "full":
            (self.disk / "filler").unlink(missing_ok=True)
        elif self.kind == "read-only":
            subprocess.run(["mount", "-o", "remount,rw", str(self.disk)], check=True)
        elif self.kind == "missing" and self.disk.with_name("elsewhere").exists():
            shutil.rmtree(self.disk, ignore_errors=True)  # nnU-Net may have made an empty one
            os.rename(self.disk.with_name("elsewhere"), self.disk)
        elif self.kind == "denied":
            for folder in (self.disk, *filter(Path.is_dir, self.disk.rglob("*"))):
                folder.chmod(0o755)


def _print_through_a_pipe() -> None:
    """What is printed goes to a file, which the limit would meet as well; another process shall write it."""
    sys.stdout.flush()
    sys.stderr.flush()
    writer = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    assert writer.stdin is not None
    for number in (1, 2):
        os.dup2(writer.stdin.fileno(), number)


def possible_faults(scratch: Path) -> list[str]:
    """Those that this machine allows."""
    found = ["size limit", "missing", "denied"]
    place = scratch / "mount"
    place.mkdir(exist_ok=True)
    tried = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)], capture_output=True)
    if tried.returncode == 0:
        subprocess.run(["umount", str(place)], check=True)
        found += ["full", "read-only"]
    return found


def training_faults(out: Path, faults: dict[str, tuple[str, ...]], given: Path | None) -> dict[str, str]:
    """Run every fault at its steps; return what went wrong, by fault and step."""
    wrong: dict[str, str] = {}
    short = {"warmup_epochs": 1, "epochs": 2, "iterations_per_epoch": 2, "val_iterations_per_epoch": 1}
    template = prepared_in(out / "template", given, **short)
    undisturbed = copied(template, out / "undisturbed")
    training = ForkedTraining(undisturbed, log=out / "undisturbed.log", validate=True)
    assert training.wait() == 0, training.output()[-3000:]
    for kind, steps in faults.items():
        for step in steps:
            try:
                found = _one_training(template, undisturbed, out, kind, step)
            except Exception as error:  # reported, and the next one has its turn
                found = f"{type(error).__name__}: {error}"
            print(f"training, {kind}, {step}: {found or 'as demanded'}", flush=True)
            if found:
                wrong[f"training, {kind}, {step}"] = found
    return wrong


def _one_training(template: Workspace, undisturbed: Workspace, out: Path, kind: str, step: str) -> str | None:
    shutil.rmtree(out / "disturbed", ignore_errors=True)
    workspace = copied(template, out / "disturbed")
    fault = Fault(kind, workspace.root / "results")
    if kind == "denied" and os.geteuid() == 0:
        out.chmod(0o755)
        subprocess.run(["chmod", "-R", "a+rX", str(workspace.root)], check=True)
    log = out / "disturbed.log"
    log.unlink(missing_ok=True)
    with fault.mounted():
        ForkedTraining(workspace, log=log, inside=_planted(fault, step), validate=True).wait()
        fault.end()
        time.sleep(0.3)  # for the last words to get through a pipe
        said = log.read_text()
        lines = [line for line in said.splitlines() if line.startswith("mlbseg: error: ")]
        if len(lines) != 1 or "Traceback" in said:
            return f"expected one line, got {lines}: {said[-1500:]}"
        for path in workspace.fold_folder().glob("checkpoint_*.pth"):
            checkpoint.read(path, torch.device("cpu"))
        labels = LabelStore(workspace.fold_folder() / "generated_labels")
        for case in labels.complete():
            labels.load(case)
        training = ForkedTraining(workspace, "--c", log=log, validate=True)
        if training.wait() != 0:
            return f"does not continue: {training.output()[-1500:]}"
        return "; ".join(comparing.differences(undisturbed, workspace, validated=True)) or None


def _planted(fault: Fault, step: str) -> forked_training.Inside:
    owner, name, nth = STEPS[step]

    def plant() -> None:
        original, calls = getattr(owner, name), []

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            calls.append(1)
            if len(calls) == nth:
                fault.strike()
            return original(*args, **kwargs)

        setattr(owner, name, wrapped)

    return plant


def command_faults(out: Path, kinds: list[str]) -> dict[str, str]:
    """Run the commands that write onto a disk that is lost; return what went wrong."""
    wrong = {}
    for kind in kinds:
        for name in COMMANDS:
            root = out / "commands"
            shutil.rmtree(root, ignore_errors=True)
            (root / "disk").mkdir(parents=True)
            make_nnunet(root / "source", [f"c{i}" for i in range(6)], shape=(4, 16, 16))
            if kind == "missing" and name != "evaluate":
                continue  # these make the folder
            found = _one_command(root, Fault(kind, root / "disk"), COMMANDS[name](root))
            print(f"mlbseg {name}, {kind}: {found or 'as demanded'}", flush=True)
            if found:
                wrong[f"mlbseg {name}, {kind}"] = found
    return wrong


def _one_command(root: Path, fault: Fault, arguments: list[str]) -> str | None:
    before = tree(root / "source")
    with fault.mounted():
        code, said = _forked_command(root, arguments, fault)
        fault.end()
        lines = [line for line in said.replace("\r", "\n").splitlines() if "mlbseg: error: " in line]
        if code != 2 or len(lines) != 1 or "Traceback" in said:
            return f"expected exit code 2 and one line, got {code}: {said[-1500:]}"
        if tree(root / "source") != before:
            return "the source was changed"
        left = [path.name for path in (root / "disk").iterdir() if not path.name.startswith(".")]
        if left:
            return f"left behind: {left}"
        code, said = _forked_command(root, arguments, None)
        return None if code == 0 else f"does not work afterwards: {said[-1500:]}"


def _forked_command(root: Path, arguments: list[str], fault: Fault | None) -> tuple[int, str]:
    said = root / "said"
    said.unlink(missing_ok=True)
    if fault is not None and fault.kind == "denied":
        subprocess.run(["chmod", "-R", "a+rX", str(root)], check=True)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            file = os.open(said, os.O_WRONLY | os.O_CREAT)
            os.dup2(file, 1)
            os.dup2(file, 2)
            sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
            os.environ.update(nnUNet_raw=str(root / "disk"))
            if fault is not None:
                fault.strike()
            code = mlbseg([*arguments, *([] if arguments[0] == "evaluate" else ["-np", "1"])])
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            with contextlib.suppress(OSError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    time.sleep(0.3)
    return code, said.read_text()


def main() -> int:
    """Run it; return 1 if anything went otherwise than demanded."""
    parser = campaign_parser(__doc__)
    parser.add_argument("--short", action="store_true")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    forked_training.preload()
    kinds = possible_faults(args.out)
    faults = SHORT if args.short else {kind: tuple(s for s in STEPS if (kind, s) not in UNNOTICED) for kind in kinds}
    wrong = training_faults(args.out, faults, args.template)
    wrong |= command_faults(args.out, ["size limit", "missing"] if args.short else kinds)
    result = {"faults": list(faults), "steps": sum(map(len, faults.values())), "not as demanded": wrong}
    (args.out / "result.json").write_text(json.dumps(result, indent=1))
    print(json.dumps(result, indent=1))
    return 1 if wrong else 0


if __name__ == "__main__":
    assert SUPERVISION.unlabeled, "the steps of label generation need unlabeled cases"
    sys.exit(main())
