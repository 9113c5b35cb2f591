"""`clipexp data prepare`: prepares a spec's data, and says what came of it and what is left of work cut off.

sys.exit(prepare_on_console(load_spec("experiments/quickstart.yaml").spec))
"""

from pathlib import Path

from clipexp.console import make_console, preparing_progress
from clipexp.data.manifest import MANIFEST_FILE
from clipexp.data.prepare import describe, partial_folder, prepare
from clipexp.errors import SourceError, StoreError
from clipexp.space import folder_bytes, mb
from clipexp.spec.run import RunSpec

EXIT_INTERRUPTED = 130


def prepare_on_console(spec: RunSpec) -> int:
    """Prepare, and give the process's exit code: 0, or 130 after Ctrl-C.

    Raises:
        SourceError, StoreError: as `prepare`, and what of the work stays.
    """
    console = make_console()
    folder = Path(spec.data.store)
    was_there = (folder / MANIFEST_FILE).exists()
    try:
        with preparing_progress(console) as report:
            store = prepare(spec.data, spec.model.context_length, report)
    except (SourceError, StoreError) as error:
        raise type(error)(f"{error}{_stays(spec)}") from error
    except KeyboardInterrupt:
        console.print(f"stopped{_stays(spec)}", markup=False, soft_wrap=True)
        return EXIT_INTERRUPTED
    if was_there:
        store.verify()
    state = "is there already, every byte as it was" if was_there else "prepared"
    console.print(f"{folder} {state}: {describe(store.manifest)}", markup=False, soft_wrap=True)
    console.print(f"licence: {store.manifest.licence}", markup=False, soft_wrap=True)
    for left in sorted(folder.parent.glob(f"{folder.name}.partial*")):
        size = mb(folder_bytes(left))
        console.print(
            f"{left} ({size}) is left of a preparing with other settings or versions; remove it if none is to go on",
            markup=False,
            soft_wrap=True,
        )
    return 0


def _stays(spec: RunSpec) -> str:
    """What is done already, for one who wants to go on, or not."""
    partial = partial_folder(spec.data)
    if not partial.exists():
        return ""
    size = mb(folder_bytes(partial))
    return f"; what is done so far stays in {partial} ({size}), and the same command goes on from there"
