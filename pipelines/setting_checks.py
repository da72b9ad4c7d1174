"""Checks of numbers among the settings of jobs; every message names the flag."""

from __future__ import annotations

from samtok.errors import ConfigError


def at_least(lowest: int, name: str, value: float | None) -> None:
    """Refuse a number below `lowest`; None is no number.

    Raises:
        ConfigError: names the flag, the value and what is allowed.
    """
    if value is not None and value < lowest:
        raise ConfigError(f"--{_flag(name)} is {value}; at least {lowest} is needed")


def above_zero(name: str, value: float) -> None:
    """Refuse 0 and what is below it.

    Raises:
        ConfigError: names the flag, the value and what is allowed.
    """
    if not value > 0:  # NaN neither
        raise ConfigError(f"--{_flag(name)} is {value}; it must be above 0")


def divides(part: str, part_value: int, whole: str, whole_value: int) -> None:
    """Refuse a whole that is no multiple of its part.

    Raises:
        ConfigError: names both flags and values.
    """
    if whole_value % part_value:
        raise ConfigError(
            f"--{_flag(whole)} is {whole_value} and --{_flag(part)} {part_value}; the first must "
            "be a multiple of the second"
        )


def _flag(name: str) -> str:
    return name.replace("_", "-")
