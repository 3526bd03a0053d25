"""All tests run with one torch thread: another number gives other bits."""

import torch

torch.set_num_threads(1)
