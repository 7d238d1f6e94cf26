"""Which texts may name a case or end a file: both become parts of paths."""

from __future__ import annotations

from pathlib import Path

from dataset_conversion.supervision.files import name_some
from noise_synthesis.safe_io.errors import InputError

MOST_BYTES = 200
"""Of a case name; file systems allow 255 for a name with channel, ending and a temporary prefix."""


SEGMENTATION = "_seg"
"""End of the file names that nnU-Net gives preprocessed labels."""

_WRITTEN_IN_LOWER_CASE = (".nii.gz", ".nii", ".mha", ".mhd")


def refuse_bad_names(names: list[str], where: str) -> None:
    """Raise ``InputError`` if a text cannot name a case; ``where`` begins the line."""
    bad = [repr(name) for name in names if not is_case_name(name)]
    if bad:
        raise InputError(
            f"{where}: {name_some(bad)} cannot name a case; expected 1 to {MOST_BYTES} bytes without slash, backslash, "
            "control character or leading dot"
        )
    overlooked = sorted(name for name in names if name.endswith(SEGMENTATION))
    if overlooked:
        first = overlooked[0]
        other = first.removesuffix(SEGMENTATION)
        other = other if other and other not in names else f"{other}-seg"
        raise InputError(
            f"{where}: {name_some(overlooked)} cannot name a case: nnU-Net takes a name that ends in {SEGMENTATION} "
            f"for a segmentation, and overlooks it; rename the files, {first} to {other} for example"
        )


def refuse_endings(folder: Path, ending: str) -> None:
    """Raise ``InputError`` if nnU-Net overlooks files of a raw dataset by their ending, or could not write such ones.

    Upper and lower case differ for nnU-Net; `SimpleITK` writes some formats in lower case only.
    """
    if ending.lower() in _WRITTEN_IN_LOWER_CASE and ending != ending.lower():
        raise InputError(
            f"{folder / 'dataset.json'}: 'file_ending' is {ending!r}, which no prediction can be saved with; rename "
            f"the files to end in {ending.lower()}, and correct the entry"
        )
    for part in (folder / "imagesTr", folder / "labelsTr"):
        names = [path.name for path in part.glob("[!.]*")]
        other = [name for name in names if name.lower().endswith(ending.lower()) and not name.endswith(ending)]
        if other:
            raise InputError(
                f"{part}: {name_some(other)}: nnU-Net overlooks files that do not end in {ending}, upper and lower "
                "case included; rename them"
            )


def is_case_name(name: str) -> bool:
    """Whether a text is one part of a path, visible, printable and not too long."""
    try:
        length = len(name.encode())
    except UnicodeEncodeError:  # half of a surrogate pair, as JSON can hold and a file name cannot
        return False
    return 0 < length <= MOST_BYTES and not name.startswith(".") and name.isprintable() and not set(name) & {"/", "\\"}


def is_file_ending(text: object) -> bool:
    """Whether a text such as ``.nii.gz`` ends file names: a dot and more, nothing that leads elsewhere."""
    return isinstance(text, str) and text.startswith(".") and is_case_name(text[1:]) and ".." not in text
