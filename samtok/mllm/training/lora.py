"""LoRA adapters (arXiv 2106.09685) by peft: put in, merged, or written beside the weights.

Embeddings and head learn in full beside the adapters, as new words need their own rows; they are
saved with the model's own weights. peft is an extra (`samtok[lora]`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from samtok.mllm.training.config import SftConfig
from samtok.mllm.training.parts import list_learning_parts, split_parts
from samtok.mllm.vocabulary import list_tables

if TYPE_CHECKING:
    from peft import PeftModel


def add_adapters(model: Any, config: SftConfig) -> PeftModel:
    """Put adapters on all linear layers of the parts that learn; in place.

    Args:
        model: of its own weights only embeddings and head learn afterwards.
        config: rank, alpha, dropout, frozen parts, and the seed of the first weights.

    Returns:
        peft's view of the model, for :func:`merge_adapters` and :func:`save_adapters`.
    """
    from peft import LoraConfig, get_peft_model

    parts = split_parts(model)
    wanted = {
        id(layer)
        for part in list_learning_parts(config)
        for module in parts[part]
        for layer in module.modules()
        if isinstance(layer, nn.Linear)
    }
    names = [name for name, layer in model.named_modules() if id(layer) in wanted]
    with torch.random.fork_rng(devices=[]):  # the same adapters on every process
        torch.manual_seed(config.seed)
        adapted = get_peft_model(
            model,
            LoraConfig(
                r=config.lora_rank,
                lora_alpha=config.lora_alpha,
                lora_dropout=config.lora_dropout,
                target_modules=names,
            ),
        )
    for table in list_tables(model):
        table.requires_grad_(True)
    return adapted


def merge_adapters(adapted: PeftModel) -> Any:
    """Add the adapters to the weights; in place, and nothing of LoRA remains."""
    return adapted.merge_and_unload()


def save_adapters(adapted: PeftModel, folder: Path) -> Any:
    """Write the adapters alone, and take them out of the model.

    transformers puts them back where `folder` also holds the weights they belong to.

    Returns:
        The model without adapters.
    """
    adapted.save_pretrained(str(folder), save_embedding_layers=False)
    return adapted.unload()
