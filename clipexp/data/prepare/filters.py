"""Filters: which pairs of a source are wanted, and why the others are not.

    wanted(pair, FilterSpec(min_side_px=64))  # the pair and what of it is left out

What they leave out is counted under the filter's name; it is no fault of the source.
"""

import dataclasses

from clipexp.data.picture import picture_size
from clipexp.data.sources import Drop, Pair
from clipexp.spec.data import FilterSpec


def wanted(pair: Pair, filters: FilterSpec) -> tuple[Pair | None, list[Drop]]:
    """A pair with those of its captions that are wanted, or None; and a Drop for everything left out.

    Raises:
        UnreadablePictureError: it has to be measured, and can't be.
    """
    reason = _reason_by_size(pair, filters)
    if reason:
        return None, [_left_out(pair, reason)]
    reasons = [_reason_by_length(caption, filters) for caption in pair.captions]
    captions = tuple(caption for caption, reason in zip(pair.captions, reasons, strict=True) if not reason)
    if not captions:
        return None, [_left_out(pair, reasons[0])]
    drops = [_left_out(pair, f"one of its captions: {reason}") for reason in reasons if reason]
    return dataclasses.replace(pair, captions=captions), drops


def _left_out(pair: Pair, reason: str) -> Drop:
    return Drop(pair.key, reason, pair.origin, is_fault=False)


def _reason_by_size(pair: Pair, filters: FilterSpec) -> str:
    if filters.min_side_px is None and filters.max_aspect is None:
        return ""
    width_px, height_px = picture_size(pair.image) if isinstance(pair.image, bytes) else pair.image.shape[1::-1]
    short, long = sorted((width_px, height_px))
    if filters.min_side_px is not None and short < filters.min_side_px:
        return f"filters.min_side_px: a side below {filters.min_side_px} px"
    if filters.max_aspect is not None and long > filters.max_aspect * short:
        return f"filters.max_aspect: longer than {filters.max_aspect:g} times its width"
    return ""


def _reason_by_length(caption: str, filters: FilterSpec) -> str:
    if filters.min_caption_chars is not None and len(caption) < filters.min_caption_chars:
        return f"filters.min_caption_chars: fewer than {filters.min_caption_chars} characters"
    if filters.max_caption_chars is not None and len(caption) > filters.max_caption_chars:
        return f"filters.max_caption_chars: more than {filters.max_caption_chars} characters"
    return ""
