"""A folder for servers that run as another user: pytest's own is closed to everybody else."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def folder() -> Iterator[Path]:
    """An empty folder that other users may pass through."""
    path = Path(tempfile.mkdtemp(prefix="amana-test-"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path)
