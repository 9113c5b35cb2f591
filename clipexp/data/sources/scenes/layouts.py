"""Where the groups of a scene stand, and what that is called.

    LAYOUTS["left"].full.format("a cat", "two dogs")  # a cat to the left of two dogs

All lengths are shares of the picture's side. Cells of a layout lie apart, but for a ring and its middle.
"""

from dataclasses import dataclass

MARGIN = 0.02


@dataclass(frozen=True)
class Cell:
    """What room a group has. is_ring: its things stand in a circle around the middle."""

    top: float
    left: float
    bottom: float
    right: float
    is_ring: bool = False

    @property
    def height(self) -> float:
        """Share of the picture's."""
        return self.bottom - self.top

    @property
    def width(self) -> float:
        """Share of the picture's."""
        return self.right - self.left


@dataclass(frozen=True)
class Layout:
    """An arrangement of groups.

    cells: one a group. relations: (one, relation, other) by the groups' numbers, each said one way around only. full,
    turned, listed: three ways to say it, with {0}, {1}, {2} for the groups.
    """

    cells: tuple[Cell, ...]
    relations: tuple[tuple[int, str, int], ...]
    full: str
    turned: str
    listed: str


_LOW, _HIGH, _END = MARGIN, 1 - MARGIN, 0.49
_LEFT, _RIGHT = Cell(_LOW, _LOW, _HIGH, _END), Cell(_LOW, 1 - _END, _HIGH, _HIGH)
_TOP, _BOTTOM = Cell(_LOW, _LOW, _END, _HIGH), Cell(1 - _END, _LOW, _HIGH, _HIGH)
_CORNERS = {
    "top left": Cell(_LOW, _LOW, _END, _END),
    "top right": Cell(_LOW, 1 - _END, _END, _HIGH),
    "bottom left": Cell(1 - _END, _LOW, _HIGH, _END),
    "bottom right": Cell(1 - _END, 1 - _END, _HIGH, _HIGH),
}
_THIRDS = ((_LOW, 0.33), (0.345, 0.655), (0.67, _HIGH))
_COLUMNS = tuple(Cell(_LOW, low, _HIGH, high) for low, high in _THIRDS)
_ROWS = tuple(Cell(low, _LOW, high, _HIGH) for low, high in _THIRDS)
_CENTRE = Cell(0.35, 0.35, 0.65, 0.65)
_RING = Cell(_LOW, _LOW, _HIGH, _HIGH, is_ring=True)
_IN_LINE = ((0, "left of", 1), (1, "left of", 2), (0, "left of", 2))


def _solo(cell: Cell, words: str) -> Layout:
    return Layout((cell,), (), f"{{0}} {words}", f"{words}, {{0}}", f"{{0}} {words}")


LAYOUTS: dict[str, Layout] = {
    "middle": _solo(Cell(_LOW, _LOW, _HIGH, _HIGH), "in the middle"),
    "on the left": _solo(Cell(0.25, _LOW, 0.75, _END), "on the left"),
    "on the right": _solo(Cell(0.25, 1 - _END, 0.75, _HIGH), "on the right"),
    "at the top": _solo(Cell(_LOW, 0.25, _END, 0.75), "at the top"),
    "at the bottom": _solo(Cell(1 - _END, 0.25, _HIGH, 0.75), "at the bottom"),
    **{name: _solo(cell, f"in the {name} corner") for name, cell in _CORNERS.items()},
    "left": Layout(
        (_LEFT, _RIGHT),
        ((0, "left of", 1),),
        "{0} to the left of {1}",
        "{1} to the right of {0}",
        "{0} on the left and {1} on the right",
    ),
    "right": Layout(
        (_RIGHT, _LEFT),
        ((1, "left of", 0),),
        "{0} to the right of {1}",
        "{1} to the left of {0}",
        "{0} on the right and {1} on the left",
    ),
    "above": Layout(
        (_TOP, _BOTTOM),
        ((0, "above", 1),),
        "{0} above {1}",
        "{1} below {0}",
        "{0} at the top and {1} at the bottom",
    ),
    "below": Layout(
        (_BOTTOM, _TOP),
        ((1, "above", 0),),
        "{0} below {1}",
        "{1} above {0}",
        "{0} at the bottom and {1} at the top",
    ),
    "surrounded": Layout(
        (_CENTRE, _RING),
        ((1, "around", 0),),
        "{0} surrounded by {1}",
        "{1} around {0}",
        "{0} in the middle and {1} all around",
    ),
    "row": Layout(
        _COLUMNS,
        _IN_LINE,
        "{0}, {1} and {2} from left to right",
        "{2}, {1} and {0} from right to left",
        "{1} between {0} on the left and {2} on the right",
    ),
    "column": Layout(
        _ROWS,
        tuple((one, "above", other) for one, _, other in _IN_LINE),
        "{0}, {1} and {2} from top to bottom",
        "{2}, {1} and {0} from bottom to top",
        "{1} between {0} at the top and {2} at the bottom",
    ),
    "two above": Layout(
        (_CORNERS["top left"], _CORNERS["top right"], _BOTTOM),
        ((0, "left of", 1), (0, "above", 2), (1, "above", 2)),
        "{0} to the left of {1}, both above {2}",
        "{2} below {0} on the left and {1} on the right",
        "{0} at the top left, {1} at the top right and {2} at the bottom",
    ),
    "two below": Layout(
        (_TOP, _CORNERS["bottom left"], _CORNERS["bottom right"]),
        ((1, "left of", 2), (0, "above", 1), (0, "above", 2)),
        "{1} to the left of {2}, both below {0}",
        "{0} above {1} on the left and {2} on the right",
        "{0} at the top, {1} at the bottom left and {2} at the bottom right",
    ),
}
