"""Data: where pairs come from, how they are prepared once, and how they are fed. No torch outside `augment`."""
