"""Multimodal language models that read and write masks."""

from samtok.mllm.model import MaskTokenizerReference, Mllm, load_mllm, load_processor, save_mllm

__all__ = ["MaskTokenizerReference", "Mllm", "load_mllm", "load_processor", "save_mllm"]
