"""A study's figures to zoom and hover over: one page that needs no network, and figures for the dashboard.

write_pages(memory_study(evidence), "val/loss", folder)  # [folder / "study.html"]
"""

import html
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipexp.study.insight import MIN_FOR_IMPORTANCE, importance_evaluator

if TYPE_CHECKING:
    from optuna import Study

PAGE = "study.html"
TITLES = {
    "history": "Optimisation history",
    "intermediate": "Objective over samples seen",
    "importances": "Parameter importances",
    "slices": "Slices",
    "contour": "Contour",
    "parallel": "Parallel coordinates",
}


def interactive_figures(study: "Study", value_name: str) -> dict[str, Any]:
    """Plotly figures by name (see TITLES), but for those that the study has too few trials for.

    Args:
        study: from a storage, or `memory_study(evidence)`, whose values are written as people write them.
        value_name: what the objective is called.
    """
    import optuna.visualization as vis
    from optuna.importance import get_param_importances
    from optuna.trial import TrialState

    finished = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
    if not finished:
        return {}
    figures: dict[str, Any] = {"history": vis.plot_optimization_history(study, target_name=value_name)}
    if any(trial.intermediate_values for trial in study.get_trials(deepcopy=False)):
        figures["intermediate"] = vis.plot_intermediate_values(study)
        figures["intermediate"].update_layout(xaxis_title="samples seen", yaxis_title=value_name)
    paths = sorted(finished[0].params)
    if len(paths) > 1 and len(finished) >= MIN_FOR_IMPORTANCE and len({trial.value for trial in finished}) > 1:
        _, evaluator = importance_evaluator(len(finished))
        figures["importances"] = vis.plot_param_importances(study, evaluator=evaluator, target_name=value_name)
        paths = list(get_param_importances(study, evaluator=evaluator))
    figures["slices"] = vis.plot_slice(study, params=paths, target_name=value_name)
    if len(paths) > 1:
        figures["contour"] = vis.plot_contour(study, params=paths[:2], target_name=value_name)
    figures["parallel"] = vis.plot_parallel_coordinate(study, params=paths, target_name=value_name)
    for name, figure in figures.items():
        figure.update_layout(title=TITLES[name])
    return figures


def write_pages(study: "Study", value_name: str, folder: Path) -> list[Path]:
    """Write a page of all figures; returns its path, or nothing where there is nothing to show."""
    figures = interactive_figures(study, value_name)
    return [write_page(figures, study.study_name, folder)] if figures else []


def write_page(figures: Mapping[str, Any], title: str, folder: Path) -> Path:
    """Write figures on one page, plotly's code being part of it (5 MB), to `study.html` in a folder."""
    parts = [
        figure.to_html(full_html=False, include_plotlyjs=number == 0, div_id=f"clipexp-{name}")
        for number, (name, figure) in enumerate(figures.items())
    ]
    head = f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title></head>'
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / PAGE
    tmp = path.with_name(f"{PAGE}.tmp")
    tmp.write_text("\n".join([head, "<body>", *parts, "</body></html>"]) + "\n")
    tmp.replace(path)
    return path
