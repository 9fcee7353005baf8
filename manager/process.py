"""Small facts about operating-system processes that Python's library does not offer."""

import ctypes
import gc
import os
import signal

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(parent: int, with_signal: signal.Signals) -> None:
    """Ask Linux to signal this process when its parent ends, however it ends.

    Raises OSError. Exits at once if the parent `parent` was gone before the request could be made.
    """
    if _libc.prctl(_PR_SET_PDEATHSIG, int(with_signal)) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        os._exit(1)


def spare_what_is_loaded() -> None:
    """Never look for garbage again among what is there now: it would hold some request up for a tenth of a second."""
    gc.collect()
    gc.freeze()
