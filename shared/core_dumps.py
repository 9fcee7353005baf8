"""What a crash leaves behind: no image of a memory that holds keys and tokens."""

import resource


def forbid() -> None:
    """Let neither this process nor its children be dumped when they crash."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
