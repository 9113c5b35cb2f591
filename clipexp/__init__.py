"""clipexp: a lab for CLIP. Write an experiment as a spec, run it, watch it in MLflow, read what was learned.

    import clipexp

    record = clipexp.run(clipexp.load_spec("experiments/quickstart.yaml"))
    clipexp.runs()                     # a pandas DataFrame, newest first
    clipexp.report([record.run_id])    # the path of reports/NAME/report.md
    clipexp.sweep("studies/quick.yaml").trials    # a search with Optuna, and its report

Importing this loads nothing heavy: torch, MLflow and pandas come with the first call that needs them.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clipexp.listing import runs
    from clipexp.reporting.write import report
    from clipexp.runner import run
    from clipexp.spec.load import load_spec
    from clipexp.study.telling import sweep

__version__ = "0.1.0"
__all__ = ["load_spec", "report", "run", "runs", "sweep"]

_HOME_BY_NAME = {
    "load_spec": "clipexp.spec.load",
    "report": "clipexp.reporting.write",
    "run": "clipexp.runner",
    "runs": "clipexp.listing",
    "sweep": "clipexp.study.telling",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME_BY_NAME:
        raise AttributeError(f"module 'clipexp' has no attribute {name!r}; it has {', '.join(__all__)}")
    import importlib

    return getattr(importlib.import_module(_HOME_BY_NAME[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
