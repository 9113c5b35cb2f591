"""Random choices, quick to draw one by one.

    dice = Dice([seed, idx])
    dice.pick(("cat", "dog"))

numpy's generators take microseconds for a single number; here they are drawn in a row.
"""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

_IN_A_ROW = 64
T = TypeVar("T")


class Dice:
    """A stream of choices that depends on its seed alone."""

    def __init__(self, seed: Sequence[int]) -> None:
        self._rng = np.random.default_rng(seed)
        self._left: list[float] = []

    def share(self) -> float:
        """From 0 to below 1."""
        if not self._left:
            self._left = self._rng.random(_IN_A_ROW).tolist()
        return self._left.pop()

    def between(self, low: float, high: float) -> float:
        """Any number from `low` to `high`."""
        return low + (high - low) * self.share()

    def pick(self, options: Sequence[T]) -> T:
        """One of the options, each as likely."""
        return options[int(self.share() * len(options))]
