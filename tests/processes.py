"""Functions run by several processes that train together."""

import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def run_together(function, num_processes, folder):
    """What each process makes of ``function(rank, num_processes)``, in the order of ranks.

    Args:
        function: of a module, so that the processes find it.
        num_processes: that share a gloo group, with one thread each.
        folder: for what they give.
    """
    mp.spawn(_run, (num_processes, str(folder), function), nprocs=num_processes)
    return [
        torch.load(folder / f"{num_processes}-{rank}.pt", weights_only=True)
        for rank in range(num_processes)
    ]


def _run(rank, num_processes, folder, function):
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/meeting-{num_processes}",
        rank=rank,
        world_size=num_processes,
    )
    torch.save(function(rank, num_processes), f"{folder}/{num_processes}-{rank}.pt")
    dist.destroy_process_group()
