"""One team's server for all tests of it: it starts in some tens of seconds. Tests use names of their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.server.stack import NGINX, Stack


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    if NGINX is None:
        pytest.skip("no nginx on this machine; scripts/test installs it where it may")
    with Stack(tmp_path_factory.mktemp("stack")) as stack:
        yield stack
