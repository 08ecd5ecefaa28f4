"""How large the arrays of a network can be: what a file says beyond that is not unpacked.

A few kilobytes of a zip or HDF5 file can stand for gigabytes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

MOST_NUMBERS = 2**24
"""Of one array: seven times the largest convolution of the networks here, 3·3·512·512. Fully connected
layers, which are larger, are left out anyway."""
MOST_IN_ALL = 2**28


def may_be_wanted(shape: Sequence[int]) -> bool:
    """Whether an array of this shape can be filters, a bias or statistics of a network."""
    return len(shape) <= 4 and all(size > 0 for size in shape) and math.prod(shape) <= MOST_NUMBERS


def bounded(arrays: Mapping[str, np.ndarray]) -> None:
    """Raises:
      ValueError: the arrays are more than any network has.
    """
    if sum(array.size for array in arrays.values()) > MOST_IN_ALL:
        raise ValueError(f"it holds more than {MOST_IN_ALL:,} numbers, which no network here has")
