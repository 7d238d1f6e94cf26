"""The one exception that every command turns into a single clear line."""

from __future__ import annotations


class InputError(ValueError):
    """Something the user gave cannot be used.

    The message is one line that names the file or case, what was found and what was expected.
    """
