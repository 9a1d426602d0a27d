# SPDX-License-Identifier: MIT
"""random_stream of segnet/core/random.hpp in numpy: bit for bit the same numbers."""
import numpy as np

_MASK = (1 << 64) - 1


def mix64(x):
    """Of an int, or element by element of a uint64 array."""
    one = isinstance(x, int)
    x = np.array([x], np.uint64) if one else x
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    x = x ^ (x >> np.uint64(31))
    return int(x[0]) if one else x


def uniform(keys, count, low=0.0, high=1.0):
    """The first `count` doubles of random_stream{keys...}.uniform(low, high)."""
    state = 0x853C49E6748FEA9B
    for key in keys:
        state = mix64((state + 0x9E3779B97F4A7C15 + mix64((key + 0x632BE59BD9B4E019) & _MASK)) & _MASK)
    steps = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    bits = mix64(np.uint64(state) + steps) >> np.uint64(11)
    return low + (high - low) * (bits.astype(np.float64) * 2.0**-53)
