"""An axis: from where to where it reaches, where a value stands on it, and what is written at its ticks.

axis = axis_from_zero(6.9)
axis.share(3.45)  # about 0.46 of the way up
axis.ticks()      # [(0.0, "0"), (2.0, "2"), ...]
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clipexp.plots.looks import scientific

HEADROOM = 1.08  # so that no marker at the top is cut off
NUM_TICKS = 5
NICE = (1, 2, 2.5, 5, 10)


@dataclass(frozen=True)
class Axis:
    """From `low` to `high`, which differ; a logarithmic one is above 0."""

    low: float
    high: float
    is_log: bool = False

    def share(self, values: "NDArray[np.float64] | float") -> "NDArray[np.float64]":
        """How far along the axis values stand: 0 at its low end, 1 at its high one."""
        given = np.asarray(values, np.float64)
        if not self.is_log:
            return (given - self.low) / (self.high - self.low)
        lowest = math.log(self.low)
        return (np.log(np.maximum(given, self.low)) - lowest) / (math.log(self.high) - lowest)

    def ticks(self) -> list[tuple[float, str]]:
        """Round numbers along the axis, with what is written there."""
        if self.is_log:
            powers = range(math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9) + 1)
            every = max(-(-len(powers) // NUM_TICKS), 1)
            return [(10.0**power, _power(power)) for power in powers[::every]]
        step = _nice_step((self.high - self.low) / NUM_TICKS)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [(idx * step, tick_label(idx * step, step)) for idx in range(first, last + 1)]


def axis_from_zero(highest: float) -> Axis:
    """From zero to a little above the highest value."""
    return Axis(0.0, HEADROOM * highest if highest > 0 else 1.0)


def axis_around(low: float, high: float, room: float = 0.0) -> Axis:
    """From the lowest to the highest value, with room beyond both as a share of what lies between."""
    if high <= low:
        around = abs(low) * 0.05 or 1.0
        return Axis(low - around, high + around)
    return Axis(low - room * (high - low), high + room * (high - low))


def log_axis(values: "NDArray[np.float64]") -> Axis:
    """A logarithmic axis over whole powers of ten around the values above 0, of which there is at least one."""
    above = values[np.isfinite(values) & (values > 0)]
    low, high = math.floor(math.log10(above.min())), math.ceil(math.log10(above.max()))
    return Axis(10.0**low, 10.0 ** max(high, low + 1), is_log=True)


def tick_label(value: float, step: float) -> str:
    """A number at a tick, as short as the ticks' distance allows: `0.25`, `40k`, `3e-4`."""
    if abs(value) < step / 1e6:
        return "0"
    for unit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= 10 * unit or (unit > 1e3 and abs(value) >= unit):
            return f"{value / unit:g}{letter}" if step >= unit else f"{value / unit:.{_decimals(step / unit)}f}{letter}"
    if step < 1e-3:
        return scientific(value)
    return f"{value:,.{_decimals(step)}f}"


def _nice_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(nice * power for nice in NICE if nice * power >= 0.999 * rough)


def _decimals(step: float) -> int:
    """How many digits after the point tell ticks of a distance apart."""
    return next((digits for digits in range(6) if abs(round(step, digits) - step) < 1e-9), 6)


def _power(power: int) -> str:
    return f"{10**power:,}" if 0 <= power <= 3 else f"{10.0**power:g}" if -3 <= power < 0 else f"1e{power}"
