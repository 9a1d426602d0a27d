#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Reads FOLDER/ours with Python's safetensors and writes FOLDER/theirs; called by safetensors_test.cpp."""
import sys

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

folder = sys.argv[1]
expected = {
    "codes": np.array([0, 7, 255], np.uint8),
    "half": np.array([1, -2], np.float16),
    "conv/weight": np.array([[1, 2, 3], [-4, 5, 1e-38]], np.float32),
    "none": np.zeros((0, 4), np.float32),
    "counts": np.array([-1, 1 << 40], np.int64),
    "scalar": np.array(3.141592653589793, np.float64),
}
with safe_open(folder + "/ours", framework="numpy") as file:
    assert file.metadata() == {"network": "7-2-7-1"}, file.metadata()
    assert set(file.keys()) == set(expected) | {"brain"}, file.keys()
    assert file.get_slice("brain").get_shape() == [1, 2]
    for name, value in expected.items():
        found = file.get_tensor(name)
        assert found.dtype == value.dtype and found.shape == value.shape, (name, found.dtype, found.shape)
        assert np.array_equal(found, value), (name, found)
save_file(expected, folder + "/theirs", metadata={"from": "python"})
