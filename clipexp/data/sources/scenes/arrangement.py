"""How a group's things are set in their cell.

    boxes = arrange(cell, num=3, size="small", dice=Dice(rng))  # three boxes within the cell

A group stands in rows of slots, one a thing, or on a ring. Slots lie apart and a thing stays within its own, so none
hides another.
"""

import functools
import math
from dataclasses import dataclass

from clipexp.data.sources.scenes.dice import Dice
from clipexp.data.sources.scenes.layouts import Cell

# Shares of the picture's side. The ranges lie apart: what is called large is never as small as what is not.
SIZES = {"small": (0.14, 0.18), "": (0.22, 0.38), "large": (0.44, 0.66)}
RING_NUMS = (4, 5, 6)
_RING_RADIUS, _RING_SIDE = 0.37, 0.22
_MAX_SHIFT = 0.08  # of a group from its cell's middle, so that `left of` stays plain
_LEAST_FILL = 0.4  # things use at least so much of the range that they have
_MAX_SLACK = 1.3  # slots are at most so much wider than their things, so that a group stays together
_ROWS_BY_NUM = (
    ((1,),),
    ((2,), (1, 1)),
    ((3,), (1, 1, 1), (1, 2), (2, 1)),
    ((2, 2), (4,), (1, 1, 1, 1)),
    ((2, 3), (3, 2), (2, 1, 2), (5,), (1, 1, 1, 1, 1)),
    ((3, 3), (2, 2, 2)),
)


@dataclass(frozen=True)
class Box:
    """A square that one thing stands in."""

    top: float
    left: float
    side: float


@functools.cache
def sizes_for(cell: Cell, num: int) -> tuple[str, ...]:
    """The names of the sizes in which `num` things fit into a cell, the least first; empty: too many."""
    room = _RING_SIDE if cell.is_ring else _slot(cell, _rows(cell, num)[0])
    return tuple(name for name, (least, _) in SIZES.items() if least <= room)


def arrange(cell: Cell, num: int, size: str, dice: Dice) -> tuple[Box, ...]:
    """Boxes for `num` things of one size; the size is one of `sizes_for(cell, num)`."""
    return _in_ring(num, size, dice) if cell.is_ring else _in_rows(cell, num, size, dice)


def _slot(cell: Cell, rows: tuple[int, ...]) -> float:
    """The side of the square that each thing has in rows of so many."""
    return min(cell.height / len(rows), cell.width / max(rows))


def _rows(cell: Cell, num: int) -> list[tuple[int, ...]]:
    """The rows in which things may be the largest, or nearly."""
    best = max(_slot(cell, rows) for rows in _ROWS_BY_NUM[num - 1])
    return [rows for rows in _ROWS_BY_NUM[num - 1] if _slot(cell, rows) >= 0.999 * best]


def _in_rows(cell: Cell, num: int, size: str, dice: Dice) -> tuple[Box, ...]:
    rows = dice.pick(_rows(cell, num))
    room = _slot(cell, rows)
    least, most = SIZES[size]
    side = dice.between(least + _LEAST_FILL * (min(most, room) - least), min(most, room))
    slot = min(room, side * _MAX_SLACK)
    top = _shifted(cell.top, cell.height - slot * len(rows), dice)
    left = _shifted(cell.left, cell.width - slot * max(rows), dice)
    return tuple(
        Box(
            top + slot * row + dice.between(0, slot - side),
            left + slot * (column + (max(rows) - in_row) / 2) + dice.between(0, slot - side),
            side,
        )
        for row, in_row in enumerate(rows)
        for column in range(in_row)
    )


def _shifted(start: float, free: float, dice: Dice) -> float:
    """Where a block begins that leaves so much of its cell free."""
    reach = min(free / 2, _MAX_SHIFT)
    return start + free / 2 + dice.between(-reach, reach)


def _in_ring(num: int, size: str, dice: Dice) -> tuple[Box, ...]:
    least, most = SIZES[size]
    side = dice.between(least, min(most, _RING_SIDE))
    turn = dice.between(0, 2 * math.pi)
    angles = (turn + 2 * math.pi * i / num for i in range(num))
    return tuple(
        Box(
            0.5 - _RING_RADIUS * math.cos(angle) - side / 2,
            0.5 + _RING_RADIUS * math.sin(angle) - side / 2,
            side,
        )
        for angle in angles
    )
