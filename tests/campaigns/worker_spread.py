"""Kill trainings with augmentation in worker processes: are they no further off than another seed is?

    python tests/campaigns/worker_spread.py --out FOLDER

Such trainings draw other batches after a resume, so bytes cannot be compared. Two undisturbed trainings per seed and
three killed ones are trained. Exit code 1 if steps or logged epochs differ, or if the killed ones lie further from the
undisturbed ones of their seed (root mean square over all weights) than 1.5 times what those lie from another seed's.
"""

from __future__ import annotations

import itertools
import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "support")]

import comparing  # noqa: E402
import forked_training  # noqa: E402
import torch  # noqa: E402
from forked_training import ForkedTraining  # noqa: E402
from prepared import campaign_parser, copied, prepared_in  # noqa: E402
from training_support import Workspace  # noqa: E402

WORKERS = {"nnUNet_n_proc_DA": "1"}
MOST = 1.5


def main() -> int:
    """Run and judge."""
    args = campaign_parser(__doc__).parse_args()
    forked_training.preload()
    template = prepared_in(args.out / "template", args.template)
    found: dict[str, Any] = {}
    for seed, number in itertools.product((1, 2), (0, 1)):
        found[f"seed {seed}, {number}"] = _train(template, args.out, seed, None)
    for number, words in enumerate(("Epoch 1", "Epoch 3", "Epoch 4")):
        found[f"killed {number}"] = _train(template, args.out, 1, words)
    shape = {(final["mlbseg"]["ema_step"], len(final["logging"]["train_losses"])) for final in found.values()}
    same = [_distance(found["seed 1, 0"], found["seed 1, 1"])]
    other = [_distance(found[f"seed 1, {i}"], found[f"seed 2, {j}"]) for i, j in itertools.product((0, 1), (0, 1))]
    killed = [_distance(found[f"killed {i}"], found[f"seed 1, {j}"]) for i, j in itertools.product(range(3), (0, 1))]
    result = {"steps and epochs": sorted(shape), "same seed": same, "other seed": other, "killed": killed}
    print(json.dumps(result, indent=1))
    return 1 if len(shape) != 1 or max(killed) > MOST * max(other) else 0


def _train(template: Workspace, out: Path, seed: int, kill_after: str | None) -> dict[str, Any]:
    place = out / f"{seed}_{time.monotonic_ns()}"
    workspace, log = copied(template, place), place / "log"
    settings = {**WORKERS, "MLBSEG_CONFIG": json.dumps({"seed": seed})}
    arguments: tuple[str, ...] = ()
    if kill_after is not None:
        training = ForkedTraining(workspace, log=log, settings=settings)
        assert training.wait_for(kill_after) and training.send_after(0.1, signal.SIGKILL)
        training.wait()
        arguments = ("--c",)
    training = ForkedTraining(workspace, *arguments, log=log, settings=settings)
    assert training.wait() == 0, training.output()[-3000:]
    return comparing.final(workspace)


def _distance(a: dict[str, Any], b: dict[str, Any]) -> float:
    pairs = [(value, b["student_weights"][name]) for name, value in a["student_weights"].items()]
    return float(torch.cat([(x - y).flatten() for x, y in pairs]).square().mean().sqrt())


if __name__ == "__main__":
    sys.exit(main())
