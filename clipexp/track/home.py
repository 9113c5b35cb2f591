"""Where runs are kept: the folders below `mlruns/` in the working directory.

home().journals / run_id
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from clipexp.errors import TrackingError

EXPERIMENT = "clipexp"


@dataclass(frozen=True)
class Home:
    """The folder `mlruns/`: database, artifacts, checkpoints and journals."""

    root: Path

    @property
    def database(self) -> Path:
        """MLflow's SQLite file."""
        return self.root / "mlflow.db"

    @property
    def artifacts(self) -> Path:
        """Files that belong to runs, as MLflow keeps them."""
        return self.root / "artifacts"

    @property
    def checkpoints(self) -> Path:
        """A folder a run id."""
        return self.root / "checkpoints"

    @property
    def journals(self) -> Path:
        """A folder a run id."""
        return self.root / "journals"

    @property
    def leases(self) -> Path:
        """Who carries out which spec."""
        return self.root / "leases"

    @property
    def verified(self) -> Path:
        """Notes on prepared sets of which every byte was checked."""
        return self.root / "verified"

    @property
    def tracking_uri(self) -> str:
        """MLflow's store where no other is named."""
        return f"sqlite:///{self.database.resolve()}"

    def make(self) -> None:
        """Create the folders. Raises TrackingError if `mlruns/` can't be written."""
        try:
            for folder in (self.root, self.artifacts, self.checkpoints, self.journals, self.leases):
                folder.mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryFile(dir=folder):  # without a name: others may be probing at this moment
                    pass
        except OSError as error:
            raise TrackingError(
                f"can't write to {self.root.resolve()} ({error.strerror}); make it writable (chmod u+w), or work in"
                " another folder"
            ) from error


def home() -> Home:
    """The working directory's own."""
    return Home(Path("mlruns"))
