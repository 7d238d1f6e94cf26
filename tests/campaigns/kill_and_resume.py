"""Kill trainings with SIGKILL, and stop them with SIGTERM, at random moments; resume them with ``--c``, and compare
with one that nobody disturbed.

    python tests/campaigns/kill_and_resume.py --out FOLDER              the full campaign: 70 kills, some minutes
    python tests/campaigns/kill_and_resume.py --out FOLDER --kills 6    a short one

The state is kept in FOLDER: started again, the campaign goes on where it stopped (``--minutes`` ends a slice). The
result is FOLDER/result.json; exit code 1 if any run differs from the undisturbed one.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import re
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "support")]

import comparing  # noqa: E402
import forked_training  # noqa: E402
import torch  # noqa: E402
from forked_training import ForkedTraining, Inside  # noqa: E402
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer  # noqa: E402
from prepared import campaign_parser, copied, prepared_in  # noqa: E402
from training_support import Workspace  # noqa: E402

from nnunetv2_mlbseg.progress import checkpoint  # noqa: E402
from nnunetv2_mlbseg.runtime.stop_request import EXIT_CODE as STOPPED  # noqa: E402

# Stages by what is printed when they begin and when they are over.
STAGES = {
    "start": ("", "Epoch 0"),
    "warm-up": ("Stage: warm-up", "Generating labels"),
    "label generation": ("Generating labels", "Stage: bootstrapping"),
    "bootstrapping": ("Stage: bootstrapping", "Training done."),
}
MOMENTS = (*STAGES, "checkpoint", "online validation", "final validation")
MOST_KILLS_A_RUN = 3


def main() -> int:
    """Run a slice of the campaign; return the exit code."""
    args = _arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    campaign = Campaign(args.out, args.seed, args.template)
    until = time.monotonic() + 60 * args.minutes
    while campaign.kills < args.kills and time.monotonic() < until:
        campaign.one_run(min(MOST_KILLS_A_RUN, args.kills - campaign.kills))
        campaign.save()
    print(json.dumps(campaign.summary(), indent=1))
    return 1 if campaign.state["differences"] or campaign.kills == 0 else 0


class Campaign:
    """The reference run, the runs so far, and what is next."""

    def __init__(self, folder: Path, seed: int, template: Path | None):
        self.folder, self.result = folder, folder / "result.json"
        self.template = Workspace(folder / "template")
        forked_training.preload()
        if self.result.is_file():
            self.state: dict[str, Any] = json.loads(self.result.read_text())
        else:
            shutil.rmtree(self.template.root, ignore_errors=True)
            self.template = prepared_in(self.template.root, template)
            self.state = {"seed": seed, "runs": 0, "kills": [], "terms": [], "differences": []}
            self.state["durations_s"] = self._undisturbed()
            self.save()
        self.undisturbed = Workspace(folder / "undisturbed")

    @property
    def kills(self) -> int:
        return len(self.state["kills"])

    def save(self) -> None:
        """Write the state so that a killed campaign can go on."""
        self.result.with_suffix(".new").write_text(json.dumps(self.state, indent=1))
        os.replace(self.result.with_suffix(".new"), self.result)

    def summary(self) -> dict[str, Any]:
        """The figures."""
        counts = Counter(kill["moment"] for kill in self.state["kills"])
        stops = self.state["terms"]
        return {
            "runs": self.state["runs"],
            "kills": self.kills,
            "kills by moment": counts,
            "stops": len(stops),
            "stops by moment": Counter(stop["moment"] for stop in stops),
            "longest stop, s": max((stop["until_end_s"] for stop in stops), default=None),
            "differences": self.state["differences"],
        }

    def _undisturbed(self) -> dict[str, float]:
        """Train once to the end; return how long every stage took."""
        workspace = copied(self.template, self.folder / "undisturbed")
        training = ForkedTraining(workspace, log=self.folder / "undisturbed.log", validate=True)
        seen, began = {"": 0.0}, time.monotonic()
        marks = {mark for pair in STAGES.values() for mark in pair} | {"Mean Validation Dice"}
        while len(seen) < len(marks):
            ended = not training.send_after(forked_training.POLL_S, 0)
            text = training.output()
            for mark in marks - set(seen):
                if mark in text:
                    seen[mark] = time.monotonic() - began
            if ended and len(seen) < len(marks):
                raise RuntimeError(text[-3000:])
        assert training.wait() == 0
        durations = {stage: seen[end] - seen[begin] for stage, (begin, end) in STAGES.items()}
        return {**durations, "final validation": seen["Mean Validation Dice"] - seen["Training done."]}

    def one_run(self, kills: int) -> None:
        """Train from the beginning, with that many kills and one SIGTERM on the way, to the end; compare."""
        number = self.state["runs"]
        rng = random.Random(1000 * self.state["seed"] + number)
        workspace = copied(self.template, self.folder / "disturbed")
        log = self.folder / "disturbed.log"
        log.unlink(missing_ok=True)
        moments = [MOMENTS[(number * MOST_KILLS_A_RUN + i) % len(MOMENTS)] for i in range(kills)]
        signals = [(moment, signal.SIGKILL) for moment in moments]
        signals.append((rng.choice([*STAGES, "final validation"]), signal.SIGTERM))
        arguments: tuple[str, ...] = ()
        for moment, what in sorted(signals, key=lambda pair: MOMENTS.index(pair[0])):
            ended = self._disturb(workspace, log, arguments, moment, what, rng)
            arguments = ("--c",)
            if ended is not None:
                listed = self.state["kills" if what == signal.SIGKILL else "terms"]
                listed.append({"run": number, "moment": moment, **ended})
            self._check_newest(workspace, number, moment)
        validated = any(moment == "final validation" for moment, _ in signals)
        last = ForkedTraining(workspace, *arguments, log=log, validate=validated)
        if last.wait() != 0:
            self.state["differences"].append(f"run {number}: resuming failed: {last.output()[-1500:]}")
        else:
            found = comparing.differences(self.undisturbed, workspace, validated)
            self.state["differences"] += [f"run {number} ({', '.join(moments)}): {line}" for line in found]
        self.state["runs"] += 1
        if self.state["differences"]:
            shutil.copytree(workspace.root / "results", self.folder / f"differs_{number}", dirs_exist_ok=True)
            shutil.copy(log, self.folder / f"differs_{number}.log")
        shutil.rmtree(workspace.root)

    def _disturb(
        self,
        workspace: Workspace,
        log: Path,
        arguments: tuple[str, ...],
        moment: str,
        what: signal.Signals,
        rng: random.Random,
    ) -> dict[str, Any] | None:
        """Start a training and send it a signal at a moment; None if it ended before."""
        inside: Inside | None = None
        sent = time.monotonic()
        if moment == "checkpoint":
            inside = kill_in_checkpoint(rng.randint(1, 3), rng.choice(("cut", "before", "after")), rng.random())
        elif moment == "online validation":
            inside = kill_in_validation(rng.randint(1, 3))
        training = ForkedTraining(workspace, *arguments, log=log, inside=inside, validate=moment == "final validation")
        if inside is not None:
            training.wait()
        else:
            begin = "Training done." if moment == "final validation" else STAGES[moment][0]
            delay = rng.random() * self.state["durations_s"][moment]
            if training.wait_for(begin):
                training.send_after(delay, what)
            sent = time.monotonic()
            training.wait()
        expected = -signal.SIGKILL if what == signal.SIGKILL else STOPPED
        if training.code not in (expected, -what, 0):
            self.state["differences"].append(f"{what.name} in {moment}: exit code {training.code}: {training.output()}")
        if training.code not in (expected, -what):
            return None
        epochs = re.findall(r"Epoch (\d+)", training.output())
        seconds = round(time.monotonic() - sent, 3)
        return {"epoch": int(epochs[-1]) if epochs else None, "code": training.code, "until_end_s": seconds}

    def _check_newest(self, workspace: Workspace, number: int, moment: str) -> None:
        """No checkpoint that ``--c`` or a user would pick up may be damaged."""
        for path in sorted(workspace.fold_folder().glob("checkpoint_*.pth")):
            try:
                checkpoint.read(path, torch.device("cpu"))
            except Exception as error:  # whatever it is, the campaign shall report it and go on
                self.state["differences"].append(f"run {number}, killed in {moment}: {path.name}: {error}")


def kill_in_checkpoint(nth: int, where: str, share: float) -> Inside:
    """SIGKILL within the nth writing of a checkpoint: after a share of its bytes, before or after the renaming."""

    def plant() -> None:
        save, replace, calls = torch.save, os.replace, Counter[str]()

        def cut_save(content: Any, file: Any) -> None:
            calls["save"] += 1
            if calls["save"] != nth or where != "cut":
                return save(content, file)
            whole = io.BytesIO()
            save(content, whole)
            file.write(whole.getvalue()[: int(share * whole.tell())])
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)

        def marked_replace(source: Any, target: Any) -> None:
            last = str(target).endswith(".pth") and calls["save"] == nth
            if last and where == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            replace(source, target)
            if last and where == "after":
                os.kill(os.getpid(), signal.SIGKILL)

        torch.save, os.replace = cut_save, marked_replace

    return plant


def kill_in_validation(nth: int) -> Inside:
    """SIGKILL after the nth batch of nnU-Net's online validation."""

    def plant() -> None:
        step: Callable[..., Any] = nnUNetTrainer.validation_step
        calls = Counter[str]()

        def counted(self: nnUNetTrainer, batch: dict) -> dict:
            calls["step"] += 1
            if calls["step"] == nth:
                os.kill(os.getpid(), signal.SIGKILL)
            return step(self, batch)

        nnUNetTrainer.validation_step = counted

    return plant


def _arguments() -> argparse.Namespace:
    parser = campaign_parser(__doc__)
    parser.add_argument("--kills", type=int, default=70)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
