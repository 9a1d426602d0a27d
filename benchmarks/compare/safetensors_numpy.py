# SPDX-License-Identifier: MIT
"""Reads and writes safetensors files with numpy alone: 8 bytes of length, a JSON header, the numbers."""
import json
import math
import os

import numpy as np

_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "U8": "|u1"}


def save(path, tensors, metadata=None):
    """Writes {name: array} in the given order; metadata is {str: str}."""
    names = {np.dtype(v): k for k, v in _TYPES.items()}
    header, at = {"__metadata__": metadata} if metadata else {}, 0
    for name, a in tensors.items():
        header[name] = {"dtype": names[a.dtype], "shape": list(a.shape), "data_offsets": [at, at + a.nbytes]}
        at += a.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(len(text).to_bytes(8, "little") + text)
        for a in tensors.values():
            f.write(np.ascontiguousarray(a).tobytes())


def read(path):
    """Yields (name, array) one by one: who copies them elsewhere never holds all of them twice. Left out are
    those that segnet's checkpoints keep for going on with the training."""
    with open(path, "rb") as f:
        size = int.from_bytes(f.read(8), "little")
        if size > os.path.getsize(path):
            raise ValueError(f"{path}: not a safetensors file, or cut short")
        header = json.loads(f.read(size))
        header.pop("__metadata__", None)
        for name, entry in header.items():
            if name.startswith("training."):
                continue
            f.seek(8 + size + entry["data_offsets"][0])
            yield name, np.fromfile(f, _TYPES[entry["dtype"]], math.prod(entry["shape"])).reshape(entry["shape"])
