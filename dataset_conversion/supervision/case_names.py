"""Which texts may name a case or end a file: both become parts of paths."""

from __future__ import annotations

from dataset_conversion.supervision.files import name_some
from noise_synthesis.safe_io.errors import InputError

MOST_BYTES = 200
"""Of a case name; file systems allow 255 for a name with channel, ending and a temporary prefix."""


def refuse_bad_names(names: list[str], where: str) -> None:
    """Raise ``InputError`` if a text cannot name a case; ``where`` begins the line."""
    bad = [repr(name) for name in names if not is_case_name(name)]
    if bad:
        raise InputError(
            f"{where}: {name_some(bad)} cannot name a case; expected 1 to {MOST_BYTES} bytes without slash, backslash, "
            "control character or leading dot"
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
