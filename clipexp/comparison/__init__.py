"""Groups of runs against one another: differences with intervals, verdicts, and what can't be compared. No torch here.

groups = groups_of(records, "val/loss", strips)
rank(groups).sentences()
compare(groups[0], groups[1]).sentence()
"""

from clipexp.comparison.comparing import compare, direction_of
from clipexp.comparison.group import Conditions, Group, Replicate, groups_of
from clipexp.comparison.noise import Prior, prior_of
from clipexp.comparison.ranking import rank
from clipexp.comparison.verdict import Difference, Direction, Ranking, Standing, Unfairness, Verdict

__all__ = [
    "Conditions",
    "Difference",
    "Direction",
    "Group",
    "Prior",
    "Ranking",
    "Replicate",
    "Standing",
    "Unfairness",
    "Verdict",
    "compare",
    "direction_of",
    "groups_of",
    "prior_of",
    "rank",
]
