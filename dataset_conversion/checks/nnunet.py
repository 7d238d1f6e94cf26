"""nnU-Net's own integrity check, run in a process of its own so that what it prints joins the report."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from dataset_conversion.checks.report import PROBLEM, WARNING, Finding
from dataset_conversion.supervision.files import SPLITS_FILE

# Its worker processes would each import torch, which takes longer than reading many a dataset: threads instead.
_CODE = """
import sys
from multiprocessing.pool import ThreadPool
from types import SimpleNamespace
from nnunetv2.experiment_planning import verify_dataset_integrity as nnunet
nnunet.multiprocessing = SimpleNamespace(get_context=lambda method: SimpleNamespace(Pool=ThreadPool))
nnunet.verify_dataset_integrity(sys.argv[1], int(sys.argv[2]))
"""
_BEGINNING = re.compile(r"(Error|ERROR|Warning|WARNING|Images contain NaN|Segmentation contains NaN)")
_EXCEPTION = re.compile(r"^[A-Za-z_.]*(Error|Exception|Interrupt)\b")


def nnunet_integrity(folder: Path, processes: int) -> list[Finding]:
    """Run ``verify_dataset_integrity`` on a raw dataset and return what it complains about; empty if it is content."""
    # A value of 0 is for training only: it makes this part of nnU-Net stop with an error of its own.
    environment = {key: value for key, value in os.environ.items() if key != "nnUNet_n_proc_DA"}
    done = subprocess.run(
        [sys.executable, "-c", _CODE, str(folder), str(processes)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    findings = list(parse_complaints(done.stdout))
    if done.returncode != 0:
        findings.append(Finding("nnU-Net", PROBLEM, f"nnU-Net's integrity check failed: {_exception(done.stderr)}"))
    return findings


def encodings(folder: Path) -> Iterator[Finding]:
    """Name JSON that is read here but not by nnU-Net, which takes UTF-8 without a byte order mark only."""
    for name, severity in (("dataset.json", PROBLEM), (SPLITS_FILE, WARNING)):
        path = folder / name
        if path.is_file() and path.read_bytes()[:1] not in (b"{", b"["):
            try:
                json.loads(path.read_bytes().decode("utf-8"))
            except ValueError:
                message = f"{name}: nnU-Net itself cannot read it; save it as UTF-8 without a byte order mark"
                yield Finding("nnU-Net", severity, message)


def parse_complaints(output: str) -> Iterator[Finding]:
    """Turn what nnU-Net prints into findings: each begins with Error, Warning or a NaN remark, a blank line ends it."""
    block: list[str] = []
    for line in [*output.splitlines(), ""]:
        if _BEGINNING.match(line):
            yield from _finding(block)
            block = [line.strip()]
        elif block and line.strip():
            block.append(line.strip())
        else:
            yield from _finding(block)
            block = []


def _finding(block: list[str]) -> Iterator[Finding]:
    if block:
        severity = WARNING if block[0].lower().startswith("warning") else PROBLEM
        yield Finding("nnU-Net", severity, " ".join(block))


def _exception(stderr: str) -> str:
    """The last exception's text, without the traceback."""
    lines = [line for line in stderr.splitlines() if line.strip()]
    start = next((i for i in range(len(lines) - 1, -1, -1) if _EXCEPTION.match(lines[i])), max(len(lines) - 1, 0))
    return " ".join(line.strip() for line in lines[start:])[:500] or "no message"
