"""The parts of a model that learn or stay as they are.

Both families have a vision tower with one or more mergers in it, which are the projector, a
language model, and a table of embeddings with a head, which may be the same weight.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from samtok.mllm.training.config import SftConfig

_PROJECTOR = "merger"


def split_parts(model: Any) -> dict[str, list[nn.Module]]:
    """Modules of each part: ``vision``, ``projector``, ``llm`` and ``tables``; none is in two."""
    visual = dict(model.model.visual.named_children())
    language = dict(model.model.language_model.named_children())
    table = model.get_input_embeddings()
    return {
        "vision": [module for name, module in visual.items() if _PROJECTOR not in name],
        "projector": [module for name, module in visual.items() if _PROJECTOR in name],
        "llm": [module for module in language.values() if module is not table],
        "tables": [table, model.get_output_embeddings()],
    }


def list_learning_parts(config: SftConfig) -> list[str]:
    """Parts that learn besides the tables, by their weights or by adapters."""
    frozen = {
        "vision": config.freeze_vision,
        "projector": config.freeze_projector,
        "llm": config.freeze_llm,
    }
    return [part for part, is_frozen in frozen.items() if not is_frozen]


def choose_trainable(model: Any, config: SftConfig) -> None:
    """Say which of the model's own weights learn; adapters are no concern of this."""
    parts = split_parts(model)
    learning = list_learning_parts(config) if not config.lora_rank else []
    for part, modules in parts.items():
        for module in modules:
            module.requires_grad_(part == "tables" or part in learning)


def list_layers(model: Any) -> list[nn.Module]:
    """The transformer layers of vision tower and language model."""
    return [*model.model.visual.blocks, *model.model.language_model.layers]
