"""Multimodal language models that read and write masks."""

from samtok.mllm.model import MaskTokenizerReference, Mllm, load_mllm, load_processor, save_mllm
from samtok.mllm.vocabulary import MaskTokenIds, extend_vocabulary, mask_token_ids

__all__ = [
    "MaskTokenIds",
    "MaskTokenizerReference",
    "Mllm",
    "extend_vocabulary",
    "load_mllm",
    "load_processor",
    "mask_token_ids",
    "save_mllm",
]
