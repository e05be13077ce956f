"""The C library's heap, where large temporaries of a CPU run come from: the one owner of its knobs."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache

# Of glibc's malloc.h. Blocks above 32 MiB cannot be kept.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_MIB = 2**20


@cache
def give_large_blocks_back() -> None:
    """From now on memory of 4 MiB or more is the system's again as soon as it is freed, where the C library is glibc.

    By itself glibc takes to keeping blocks of up to 32 MiB in its heap, and aligned ones, as torch asks for, do not fit
    into the holes that equal ones leave: a loop over large temporaries grew from 0.2 to 2.4 GB.
    """
    if sys.platform.startswith("linux"):
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(_MMAP_THRESHOLD, 4 * _MIB)


@contextmanager
def freed_memory_kept() -> Generator[None]:
    """Within it the process keeps freed memory, so that the tensors of a training step find pages that are mapped.

    The system maps and clears each page that a process touches for the first time. glibc returns what is free at the
    end of its heap after every update, so that each pays for its pages again: about 4 % of a small step. Afterwards
    what is free is returned. Other C libraries are left as they are.
    """
    library = ctypes.CDLL(None)
    if not (hasattr(library, "mallopt") and hasattr(library, "malloc_trim")):
        yield
        return
    library.mallopt(_TRIM_THRESHOLD, 2**31 - 1)
    library.mallopt(_MMAP_THRESHOLD, 32 * _MIB)
    try:
        yield
    finally:
        library.mallopt(_TRIM_THRESHOLD, 64 * _MIB)  # where glibc's own adaptation ends
        library.malloc_trim(0)
