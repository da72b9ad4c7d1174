"""Multimodal language models that read and write masks."""

from samtok.mllm.chat import ChatAnswer, chat
from samtok.mllm.generation import GenerationConfig, generate
from samtok.mllm.model import MaskTokenizerReference, Mllm, load_mllm, load_processor, save_mllm
from samtok.mllm.vocabulary import (
    MaskTokenIds,
    extend_vocabulary,
    load_extended,
    mask_token_ids,
)

__all__ = [
    "ChatAnswer",
    "GenerationConfig",
    "MaskTokenIds",
    "MaskTokenizerReference",
    "Mllm",
    "chat",
    "extend_vocabulary",
    "generate",
    "load_extended",
    "load_mllm",
    "load_processor",
    "mask_token_ids",
    "save_mllm",
]
