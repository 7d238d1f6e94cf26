"""``mlbseg audit --open-in``: a case of an audit in a viewer, to look at it and to draw its label anew."""

from __future__ import annotations

import argparse
import shlex

from noise_synthesis.safe_io.errors import InputError


def open_in(args: argparse.Namespace, name: str, case: str) -> int:
    """Prepare a case for a viewer, print its command line, and start it if it is there."""
    from dataset_conversion.raw.folder import find_dataset
    from nnunetv2_mlbseg.audit.audited_case import audited_case
    from nnunetv2_mlbseg.audit.redrawn import begin_drawing, folder_of_redrawn
    from nnunetv2_mlbseg.audit.viewers import VIEWERS, start

    if name not in VIEWERS:
        raise InputError(f"--open-in {name}: no such viewer, expected {' or '.join(VIEWERS)}")
    viewer, raw = VIEWERS[name], find_dataset(args.dataset).absolute()
    shown = audited_case(raw, args.out, case, args.corrected)
    others = {"the raw dataset": raw, "the folder of --corrected": args.corrected}
    folder = folder_of_redrawn(args.out, args.reannotated, others)
    redrawn, new = begin_drawing(shown.case, shown.begin, folder, shown.format)
    files = args.out.absolute() / "viewers"
    files.mkdir(exist_ok=True)
    command = viewer.command(shown, redrawn, files)
    print(shown.about)
    begins = f"begins as a copy of {shown.begin}" if new else "goes on with what is saved there"
    print(f"Draw {shown.case} in {redrawn} (save by {viewer.how}); it {begins}.")
    print(shlex.join(command))
    if not start(command):
        print(f"{viewer.name} was not started: {viewer.program} is not on PATH. The line above starts it.")
    later = ["mlbseg", "audit", args.dataset, "--apply", "SELECTION.json", "--reannotated", str(folder)]
    print(f"When all are drawn: {shlex.join(later)}")
    return 0
