"""ITK-SNAP and 3D Slicer: what each needs to show a case of an audit, and the command that starts it."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from matplotlib import colormaps

from nnunetv2_mlbseg.audit.audited_case import AuditedCase
from noise_synthesis.safe_io.files import write_text

SCRIPT = Path(__file__).with_name("slicer_script.py")
MARK = 'SCENE = "{}"'
LABELS_HEAD = """################################################
# ITK-SnAP Label Description File
# File format:
# IDX   -R-  -G-  -B-  -A--  VIS MSH  LABEL
################################################
"""

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Viewer:
    """A program.

    Attributes:
        program: What is looked for on PATH.
        name: As its makers write it.
        how: How a person saves a label in it.
        command: (case, the label to draw in, a folder for what it reads) -> its command line.
    """

    program: str
    name: str
    how: str
    command: Callable[[AuditedCase, Path, Path], list[str]]


def colours(classes: Mapping[int, str]) -> dict[int, Colour]:
    """A colour (red, green, blue, 0 to 1) for each class but the background."""
    strong = colormaps["tab20"](range(0, 20, 2))
    pale = colormaps["tab20"](range(1, 20, 2))
    palette = [tuple(float(part) for part in colour[:3]) for colour in (*strong, *pale)]
    foreground = sorted(set(classes) - {0})
    return {value: palette[number % len(palette)] for number, value in enumerate(foreground)}  # type: ignore[misc]


def label_descriptions(classes: Mapping[int, str]) -> str:
    """Names and colours of the classes as the text file that ITK-SNAP reads."""
    lines = ['    0     0    0    0        0  0  0    "Clear Label"']
    for value, colour in colours(classes).items():
        red, green, blue = (round(255 * part) for part in colour)
        name = classes[value].replace('"', "'")
        lines.append(f'{value:5d} {red:5d} {green:4d} {blue:4d}        1  1  1    "{name}"')
    return LABELS_HEAD + "\n".join(lines) + "\n"


def in_itksnap(shown: AuditedCase, redrawn: Path, folder: Path) -> list[str]:
    """Further channels, labels and suspicion are layers; the label to draw in is the segmentation."""
    labels = folder / f"{shown.case}_labels.txt"
    write_text(labels, label_descriptions(shown.classes))
    main, *channels = map(str, shown.images)
    layers = [*channels, *map(str, shown.labels.values()), str(shown.suspicion)]
    return ["itksnap", "-g", main, "-o", *layers, "-l", str(labels), "-s", str(redrawn)]


def in_slicer(shown: AuditedCase, redrawn: Path, folder: Path) -> list[str]:
    """A script loads everything, every label as a segmentation with the names of the classes."""
    script = folder / f"{shown.case}_slicer.py"
    scene = {
        "case": shown.case,
        "images": [{"name": f"{shown.case} {number}", "path": str(one)} for number, one in enumerate(shown.images)],
        "labels": [{"name": name, "path": str(path)} for name, path in shown.labels.items()],
        "suspicion": str(shown.suspicion),
        "redrawn": str(redrawn),
        "classes": [
            {"value": value, "name": shown.classes[value], "colour": colour}
            for value, colour in colours(shown.classes).items()
        ],
    }
    text = SCRIPT.read_text(encoding="utf-8")
    write_text(script, text.replace(MARK, f"SCENE = {json.dumps(scene)!r}"))
    return ["Slicer", "--python-script", str(script)]


def start(command: list[str]) -> bool:
    """Start a program that goes on when we end; False where it is not on PATH."""
    program = shutil.which(command[0])
    if program is None:
        return False
    nothing = subprocess.DEVNULL
    subprocess.Popen([program, *command[1:]], stdin=nothing, stdout=nothing, stderr=nothing, start_new_session=True)
    return True


VIEWERS = {
    "itksnap": Viewer("itksnap", "ITK-SNAP", "Segmentation > Save", in_itksnap),
    "slicer": Viewer("Slicer", "3D Slicer", "Ctrl+Shift+S", in_slicer),
}
