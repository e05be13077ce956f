"""The C library's heap, where large temporaries of a CPU run come from."""

from __future__ import annotations

import ctypes
import sys
from functools import cache

_MMAP_THRESHOLD = -3  # M_MMAP_THRESHOLD of glibc's malloc.h
_LARGE = 4 * 2**20


@cache
def give_large_blocks_back() -> None:
    """From now on memory of 4 MiB or more is the system's again as soon as it is freed, where the C library is glibc.

    By itself glibc takes to keeping blocks of up to 32 MiB in its heap, and aligned ones, as torch asks for, do not fit
    into the holes that equal ones leave: a loop over large temporaries grew from 0.2 to 2.4 GB.
    """
    if sys.platform.startswith("linux"):
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(_MMAP_THRESHOLD, _LARGE)
