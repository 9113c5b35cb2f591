"""Groups of runs against one another: differences with intervals, verdicts, and what can't be compared. No torch here."""
