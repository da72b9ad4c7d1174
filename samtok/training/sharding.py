"""Data-parallel wrappers, and whole tensors of weights that are dealt out to processes.

DDP keeps every weight on every process; FSDP2 deals them out as DTensors, row by row. Checkpoints
hold whole tensors either way, so that a training may go on with another number of processes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from samtok.training.collectives import num_processes


def replicate(module: nn.Module, device: torch.device) -> nn.Module:
    """Wrap for DDP; the module itself with one process.

    Buffers are left alone: codebooks are kept equal by their own sums.
    """
    if num_processes() == 1:
        return module
    ids = [device] if device.type == "cuda" else None
    return DistributedDataParallel(module, device_ids=ids, forward_sync_buffers=False)


def shard(module: nn.Module, layers: Iterable[nn.Module], device: torch.device) -> nn.Module:
    """Deal a module's weights out to the processes, in place; gathered layer by layer when used.

    Args:
        module: on its device; the same on every process.
        layers: submodules that are gathered one at a time; the rest stays together.
        device: kind of device.
    """
    mesh = init_device_mesh(device.type, (num_processes(),))
    for layer in layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(module, mesh=mesh)
    return module


def without_sync(module: nn.Module, *, waits: bool) -> AbstractContextManager:
    """The context of a backward pass whose gradients are not summed over processes yet.

    Args:
        module: of :func:`replicate` or :func:`shard`.
        waits: False sums them, with all that waited.
    """
    if isinstance(module, FSDPModule):
        module.set_requires_gradient_sync(not waits)
    if isinstance(module, DistributedDataParallel) and waits:
        return module.no_sync()
    return nullcontext()


@contextmanager
def whole_weights(module: nn.Module) -> Iterator[None]:
    """The context in which parts of a dealt-out module can be called by themselves.

    Every process takes part, and makes the same calls.
    """
    if not isinstance(module, FSDPModule):
        yield
        return
    module.unshard()
    yield
    module.reshard()


def whole(value: Any) -> Any:
    """A tree of dicts, lists and tensors with every dealt-out tensor made whole.

    Every process takes part and gets the result.
    """
    if isinstance(value, DTensor):
        return value.full_tensor()
    if isinstance(value, dict):
        return {key: whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [whole(item) for item in value]
    return value


def deal_out(value: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """A whole tensor dealt out as a weight is; itself where the weight is not dealt out."""
    if not isinstance(weight, DTensor) or isinstance(value, DTensor):
        return value
    if value.shape != weight.shape:  # e.g. a number of steps
        return value
    return distribute_tensor(value, weight.device_mesh, weight.placements)
