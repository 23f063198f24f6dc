"""Units of length and time: how files spell them, and pixel sizes brought to one of them. Knows no single format."""

from __future__ import annotations

from collections.abc import Mapping

PM = {"pm": 1, "Å": 10**2, "nm": 10**3, "µm": 10**6, "mm": 10**9, "cm": 10**10, "m": 10**12}
LONG_NAMES = {
    "pm": "picometer",
    "Å": "angstrom",
    "nm": "nanometer",
    "µm": "micrometer",
    "mm": "millimeter",
    "cm": "centimeter",
    "m": "meter",
}
SPELLINGS = {
    **{unit: unit for unit in PM},
    **{long_name: unit for unit, long_name in LONG_NAMES.items()},
    **dict.fromkeys(("um", "μm", "micron", "microns", "\\u00b5m", "\\u00B5m"), "µm"),
    **dict.fromkeys(("A", "\u212b"), "Å"),
}

TIMES = {"us": "microsecond", "µs": "microsecond", "ms": "millisecond", "s": "second", "min": "minute", "h": "hour"}
SHORT_TIMES = {long_name: short for short, long_name in TIMES.items()}  # as OME-XML spells them


def unit_of(spelling: object) -> str:
    """The short name of a unit of length, as in ``PM`` and OME-XML; empty for anything else, such as ``"pixel"``."""
    return SPELLINGS.get(str(spelling), "")


def common_steps(steps: Mapping[str, float], units: Mapping[str, object]) -> tuple[dict[str, float], str]:
    """Pixel sizes in the unit of X.

    Parameters
    ----------
    steps : dict of str to float
        By axis, each in its own unit.
    units : dict of str to object
        By axis, as the file spells them.

    Returns
    -------
    dict of str to float
        Z, Y and X in the unit of X, without those whose unit is no length; T and C as they are. Empty without a unit.
    str
        The unit of X, short; empty when it is no length.
    """
    unit = unit_of(units.get("X"))
    if not unit:
        return {}, ""
    found = {}
    for axis, step in steps.items():
        own = unit_of(units.get(axis)) if axis in "ZYX" else unit
        if own:
            found[axis] = step * PM[own] / PM[unit]
    return found, unit
