"""`clipexp dashboard`: Optuna's dashboard on a study.

show_dashboard("quick", storage=None, port=None, open_browser=False)
"""

import click

from clipexp.errors import StudyError
from clipexp.study.dashboard import serve
from clipexp.study.storage import JOURNAL_FILE, open_storage
from clipexp.track.home import home


def show_dashboard(study: str | None, storage: str | None, port: int | None, open_browser: bool) -> None:
    """Serve until Ctrl-C.

    Args:
        study: its name, or its YAML file; by default the one that was carried out last.
        storage: where Optuna keeps it, if not in the journal file of its own.
        port: on loopback; by default a free one.
        open_browser: whether to open the page.

    Raises:
        StudyError: there is no such study, or the port is taken.
    """
    import optuna

    name = _name(study, storage)
    folder = home().root / "studies" / name
    if storage is None and not (folder / JOURNAL_FILE).exists():
        raise StudyError(f"there is no study {name} here; studies here: {', '.join(_names()) or 'none yet'}")
    with open_storage(storage, folder, is_driver=False) as opened:
        found = opened.storage
        try:
            loaded = optuna.load_study(study_name=name, storage=found)
        except KeyError as error:
            known = ", ".join(optuna.get_all_study_names(found)) or "none yet"
            raise StudyError(f"the storage has no study {name}; studies there: {known}") from error
        click.echo("links to runs lead to MLflow's UI: clipexp ui")
        serve(loaded, folder / "artifacts", port, open_browser=open_browser)


def _name(study: str | None, storage: str | None) -> str:
    if study is None:
        if storage is not None or not _names():
            raise StudyError("name a study: clipexp dashboard NAME; `clipexp sweep` makes them")
        return _names()[0]
    if study.endswith((".yaml", ".yml")):
        from clipexp.spec.study_load import load_study

        return load_study(study).spec.name
    return study


def _names() -> list[str]:
    """The studies here, the one that was carried out last first."""
    journals = (home().root / "studies").glob(f"*/{JOURNAL_FILE}")
    return [path.parent.name for path in sorted(journals, key=lambda path: path.stat().st_mtime, reverse=True)]
