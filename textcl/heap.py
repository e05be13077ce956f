"""The C library's heap, where large temporaries of a CPU run come from: the one owner of its knobs.

The policy: a run keeps freed memory, blocks of up to 32 MiB, and changes no threshold while it goes on. Where it walks
a table that is too large to be held at once it returns what is free before each part of the table; the pages that it
needs again are mapped once, and not at every use of a block.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Generator
from contextlib import contextmanager

# Of glibc's malloc.h. Blocks above 32 MiB cannot be kept.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_MIB = 2**20


def return_freed_memory() -> None:
    """Give what is free in the heap back to the system, where the C library is glibc.

    A loop over large temporaries calls it in each round: aligned blocks, as torch asks for, do not fit into the holes
    that equal ones leave, so that the heap would grow by its largest round again and again.
    """
    if sys.platform.startswith("linux"):
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


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
