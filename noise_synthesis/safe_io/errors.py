"""The one exception that every command turns into a single clear line."""

from __future__ import annotations


class InputError(ValueError):
    """Something the user gave cannot be used.

    The message is one line that names the file or case, what was found and what was expected.
    """


def describe_os_error(error: OSError) -> str:
    """The file, if it is known, and what the system says."""
    what = error.strerror or str(error) or type(error).__name__
    return f"{error.filename}: {what}" if error.filename else what
