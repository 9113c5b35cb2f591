"""Long series with as few points as a picture can show: the least and the greatest of each column of pixels.

thinned = thin(samples_seen, loss, num_columns=500)
thinned.x, thinned.y     # at most two points a column, and each spike is among them
thinned.starts           # where the line begins anew after values that are no numbers
thinned.gaps             # where those lie
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Thinned:
    """Points to draw, in order.

    x, y: float64 (points,), finite. starts: bool (points,), whether no line leads from the point before. gaps: float64
    (gaps,), the places of values that are not finite, at most one a column.
    """

    x: Floats
    y: Floats
    starts: NDArray[np.bool_]
    gaps: Floats


def thin(x: Floats, y: Floats, num_columns: int) -> Thinned:
    """Points with the least and the greatest value of each of so many columns; x rises, y may hold NaN and infinity."""
    is_finite = np.isfinite(y)
    gaps = _one_a_column(x[~is_finite], num_columns, x)
    part = np.cumsum(~is_finite)[is_finite]  # one number for each stretch without a gap
    x, y = x[is_finite], y[is_finite]
    starts = np.ones(len(x), bool)
    starts[1:] = part[1:] != part[:-1]
    if len(x) <= 2 * num_columns:
        return Thinned(x, y, starts, gaps)
    column = _columns(x, num_columns, x) + part * (num_columns + 1)
    kept = _extremes(column, y)
    kept[[0, -1]] = True
    chosen = np.flatnonzero(kept)
    begins = np.ones(len(chosen), bool)
    begins[1:] = part[chosen[1:]] != part[chosen[:-1]]
    return Thinned(x[chosen], y[chosen], begins, gaps)


def _columns(x: Floats, num_columns: int, whole: Floats) -> NDArray[np.int64]:
    low, high = whole[0], whole[-1]
    share = (x - low) / (high - low) if high > low else np.zeros(len(x))
    return np.minimum(share * num_columns, num_columns - 1).astype(np.int64)


def _extremes(column: NDArray[np.int64], y: Floats) -> NDArray[np.bool_]:
    """Whether a point is the first least or the last greatest of its column; columns don't fall."""
    order = np.lexsort((y, column))
    ordered = column[order]
    is_first = np.ones(len(y), bool)
    is_first[1:] = ordered[1:] != ordered[:-1]
    is_last = np.ones(len(y), bool)
    is_last[:-1] = is_first[1:]
    kept = np.zeros(len(y), bool)
    kept[order[is_first | is_last]] = True
    return kept


def _one_a_column(x: Floats, num_columns: int, whole: Floats) -> Floats:
    if not len(x):
        return x
    _, first = np.unique(_columns(x, num_columns, whole), return_index=True)
    return x[first]
