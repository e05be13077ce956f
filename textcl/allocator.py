"""Memory of the C library: kept for the next update instead of being returned to the system and asked for again."""

from __future__ import annotations

import ctypes
from collections.abc import Generator
from contextlib import contextmanager

# Of glibc's malloc.h. Blocks above 32 MiB cannot be kept.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_MIB = 2**20


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
