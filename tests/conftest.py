"""One thread (the tensors of a test are small), examples that are the same on every run, and children to be killed."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import settings

torch.set_num_threads(1)

settings.register_profile("sfumato", derandomize=True, deadline=None, max_examples=40, database=None)
settings.load_profile("sfumato")


@pytest.fixture(scope="session")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Starts command lines at the cost of a fork; one for all tests, as it costs seconds itself."""
    from train.nursery import Nursery

    with Nursery(tmp_path_factory.mktemp("nursery")) as nursery:
        yield nursery
