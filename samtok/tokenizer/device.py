"""The one place that chooses device and dtype.

Weights stay float32 everywhere. On CUDA the backbone, mask encoder and mask decoder run under
bfloat16 autocast; prompts, quantizer and losses stay float32 (as the published code does).
The CUDA path has not been run on a GPU yet.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from samtok.errors import ConfigError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def choose_device(device: str | torch.device = "auto") -> torch.device:
    """Turn ``"auto"`` into the first CUDA device, or the CPU where there is none.

    Raises:
        ConfigError: a CUDA device is asked for and none is available.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    chosen = torch.device(device)
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            f"device is {device!r}, but torch sees no CUDA device; use 'cpu' or 'auto'"
        )
    return chosen


def choose_dtype(dtype: str | torch.dtype, device: torch.device) -> torch.dtype:
    """Turn ``"auto"`` into bfloat16 on CUDA devices that have it, else float32.

    Raises:
        ConfigError: `dtype` is neither of the two.
    """
    if dtype == "auto":
        has_bfloat16 = device.type == "cuda" and torch.cuda.is_bf16_supported()
        return torch.bfloat16 if has_bfloat16 else torch.float32
    chosen = DTYPES.get(dtype) if isinstance(dtype, str) else dtype
    if chosen is None or chosen not in DTYPES.values():
        raise ConfigError(f"dtype is {dtype!r}; allowed are 'auto', {', '.join(map(repr, DTYPES))}")
    return chosen


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager:
    """The context in which backbone, mask encoder and mask decoder run."""
    if dtype == torch.float32:
        return nullcontext()
    return torch.autocast(device.type, dtype=dtype)
