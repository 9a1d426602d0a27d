# SPDX-License-Identifier: MIT
"""To be imported before torch, whose matrix products may run on OpenBLAS.

Debian 12's OpenBLAS (0.3.21) takes processors that are newer than itself for generic ones and picks kernels
without AVX. Where the processor has the instructions of its SkylakeX kernels, they are named here; a value
set by the user stands. With another BLAS the variable means nothing.
"""
import os
from pathlib import Path

try:
    _flags = set(Path("/proc/cpuinfo").read_text().partition("\nflags")[2].partition("\n")[0].split())
except OSError:
    _flags = set()
if {"avx512f", "avx512dq", "avx512bw", "avx512vl", "avx512cd"} <= _flags:
    os.environ.setdefault("OPENBLAS_CORETYPE", "SkylakeX")
