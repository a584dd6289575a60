"""Keep freed memory in the process between forward passes."""

import ctypes
import os
import platform
from functools import cache

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # numbers of glibc's malloc.h
VARIABLE = "MALLOC_TRIM_THRESHOLD_"  # by which glibc itself is told


@cache
def keep_freed_memory() -> None:
    """Tell glibc not to hand freed activations back to the kernel, which would clear each page again on next use.

    Nearly doubles CPU inference with small convolutional networks; no effect on other C libraries. Memory stays at its
    highest use until the process ends. Nothing is changed where the environment has MALLOC_TRIM_THRESHOLD_.
    """
    if platform.libc_ver()[0] != "glibc" or VARIABLE in os.environ:
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(M_MMAP_MAX, 0)
    libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
