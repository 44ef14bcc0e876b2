"""One thread (the tensors of a test are small) and examples that are the same on every run."""

import torch
from hypothesis import settings

torch.set_num_threads(1)

settings.register_profile("sfumato", derandomize=True, deadline=None, max_examples=40, database=None)
settings.load_profile("sfumato")
