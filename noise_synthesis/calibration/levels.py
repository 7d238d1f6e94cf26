"""The paper's noise levels: names for a mean Dice between corrupted and true labels (section 4.1)."""

from __future__ import annotations

from noise_synthesis.safe_io.errors import InputError

LEVELS: dict[str, float] = {"L1": 0.4148, "L2": 0.6206, "L3": 0.8031}
DEFAULT_LEVEL = "L2"


def parse_level(text: str | float) -> float:
    """Return the target Dice that ``text`` stands for: a level's name or a number between 0 and 1, both excluded.

    Raises:
        InputError: neither a known name nor such a number.
    """
    named = LEVELS.get(str(text).strip().upper())
    if named is not None:
        return named
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 < value < 1:
        raise InputError(f"noise level: got {text!r}, expected {', '.join(LEVELS)} or a Dice between 0 and 1")
    return value
