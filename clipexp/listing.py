"""Runs as a table, for people who think in DataFrames.

clipexp.runs()[["name", "status", "metrics.val/loss"]]
"""

from typing import TYPE_CHECKING

from clipexp.track.mlflow_store import connect, tracking_uri
from clipexp.track.records import list_runs

if TYPE_CHECKING:
    import pandas as pd


def runs(tracking: str | None = None) -> "pd.DataFrame":
    """All runs, newest first: a row a run, with `run_id`, `name`, `spec_hash`, `status`, `params.*` and `metrics.*`.

    Args:
        tracking: MLflow's URI; the working directory's `mlruns/` where neither it nor MLFLOW_TRACKING_URI is set.

    Raises:
        TrackingError: the store can't be reached.
    """
    import pandas as pd

    rows = []
    for record in list_runs(connect(tracking_uri(tracking))):
        row = record.listing()
        params, metrics = row.pop("params"), row.pop("metrics")
        row |= {f"params.{key}": value for key, value in params.items()}
        row |= {f"metrics.{key}": value for key, value in metrics.items()}
        rows.append(row)
    return pd.DataFrame(rows)
