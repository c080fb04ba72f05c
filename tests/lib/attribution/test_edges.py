"""Cases that one exact input shows, and a random one only by chance."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lib.attribution import saliency
from lib.attribution.rules import percentile

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("positive", [50_001, 50_000, 49_999])
def test_a_percentile_at_the_end_of_the_zeros(positive):
    """The median of 100,001 values is the one at index 50,000: the first positive one, or the last
    zero, or the last zero but one."""
    values = torch.zeros(1, 100_001)
    values[0, :positive] = torch.linspace(2, 1, positive)
    values = values[:, torch.randperm(100_001, generator=torch.Generator().manual_seed(0))]
    found = percentile(values, 50.0)
    assert found.item() == pytest.approx(np.percentile(values.numpy(), 50), abs=1e-6)
    assert found.item() == (1.0 if positive == 50_001 else 0.0)


def test_numbers_from_the_middle_of_numpys_block_are_seen():
    """Of 624 numbers that NumPy makes at once one is taken: the block stays, the place in it
    moves."""
    before = np.random.get_state()
    try:
        np.random.seed(0)
        np.random.rand()
        with pytest.raises(ValueError, match="draws random numbers"):
            saliency(lambda z: z.sum((2, 3)) * (1 + np.random.rand()), torch.ones(1, 3, 4, 4), 0)
    finally:
        np.random.set_state(before)
