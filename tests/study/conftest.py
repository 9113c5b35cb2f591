"""What tests of studies share: both storages."""

from collections.abc import Iterator

import pytest

from tests.study.postgres import MISSING, Server, binaries


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """A server for this session, or this worker's."""
    if binaries() is None:
        pytest.skip(MISSING)
    with Server.started() as server:
        yield server


@pytest.fixture
def postgres_uri(postgres_server: Server) -> str:
    """An empty database."""
    return postgres_server.fresh_database()


@pytest.fixture(params=["journal", "postgresql"])
def storage_uri(request: pytest.FixtureRequest) -> str | None:
    """What `--storage` would be: a test that takes it runs with each storage."""
    if request.param == "journal":
        return None
    uri: str = request.getfixturevalue("postgres_uri")
    return uri
