"""How much memory a trial may take, held by the machine itself.

limit_memory(8 << 30)
"""

MEMORY_LIMIT_VARIABLE = "CLIPEXP_TRIAL_MEMORY_BYTES"


def limit_memory(num_bytes: int) -> None:
    """Have allocations beyond a limit fail in this process: on its CUDA device if it has one, else of its own data."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.set_per_process_memory_fraction(min(1.0, num_bytes / torch.cuda.mem_get_info()[1]))
        return
    import resource

    resource.setrlimit(resource.RLIMIT_DATA, (num_bytes, num_bytes))
