"""The mask tokenizer: image and mask in, two codes out, and back."""

from samtok.tokenizer.config import PRESETS, TokenizerConfig, TrunkConfig
from samtok.tokenizer.embeddings import ImageEmbeddings
from samtok.tokenizer.mask_tokenizer import SAMTok

__all__ = ["PRESETS", "ImageEmbeddings", "SAMTok", "TokenizerConfig", "TrunkConfig"]
