"""Do memory and open files grow over a long training?

    python tests/campaigns/long_run.py --out FOLDER        2,000 iterations: 500 of warm-up, 1,500 of bootstrapping

Prints the resident memory and the number of open files of the training process at every epoch's end; exit code 1 if the
last epoch has more than 3 % more memory, or more open files, than the second one of its stage.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "support")]

import forked_training  # noqa: E402
from forked_training import ForkedTraining  # noqa: E402
from prepared import campaign_parser, prepared_in  # noqa: E402

LARGEST_GROWTH = 0.03
EPOCHS = {"warmup_epochs": 5, "epochs": 15, "iterations_per_epoch": 100, "val_iterations_per_epoch": 2}


def main() -> int:
    """Run and judge."""
    args = campaign_parser(__doc__).parse_args()
    forked_training.preload()
    workspace = prepared_in(args.out / "workspace", args.template, **EPOCHS)
    training = ForkedTraining(workspace, log=args.out / "log")
    found: dict[int, dict[str, Any]] = {}
    while not training._ended():
        time.sleep(0.05)
        done = len(re.findall(r"Epoch time", training.output()))
        if done and done not in found and training.code is None:
            found[done] = {"epoch": done - 1, **_measure(training.pid)}
    assert training.code == 0, training.output()[-3000:]
    rows = [found[key] for key in sorted(found)]
    for row in rows:
        print(json.dumps(row))
    early = next(row for row in rows if row["epoch"] >= EPOCHS["warmup_epochs"] + 1)
    growth = rows[-1]["memory_mib"] / early["memory_mib"] - 1
    more_files = rows[-1]["open_files"] - early["open_files"]
    print(f"memory {growth:+.1%}, open files {more_files:+d} from epoch {early['epoch']} to {rows[-1]['epoch']}")
    return 1 if growth > LARGEST_GROWTH or more_files > 0 else 0


def _measure(pid: int) -> dict[str, Any]:
    status = Path(f"/proc/{pid}/status").read_text()
    memory = int(re.search(r"VmRSS:\s+(\d+) kB", status)[1])  # type: ignore[index]
    return {"memory_mib": round(memory / 1024, 1), "open_files": len(os.listdir(f"/proc/{pid}/fd"))}


if __name__ == "__main__":
    sys.exit(main())
