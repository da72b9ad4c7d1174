"""Shape of a mask tokenizer, and the named sizes.

A config says everything needed to build the network; the weights are kept apart
(:mod:`samtok.tokenizer.checkpoint`). Sizes follow the public SAM 2.1 model definitions.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Final

from samtok.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class TrunkConfig:
    """The Hiera image trunk (SAM 2.1's ``image_encoder.trunk``)."""

    embed_dim: int = 96
    """Channels of the first stage; doubles at each of the three stage changes."""
    num_heads: int = 1
    """Attention heads of the first stage; doubles with the channels."""
    stages: tuple[int, int, int, int] = (1, 2, 7, 2)
    """Blocks per stage, at strides 4, 8, 16 and 32."""
    global_att_blocks: tuple[int, ...] = (5, 7, 9)
    """Indices of the blocks that attend to the whole map rather than to windows."""
    window_pos_embed_bkg_spatial_size: tuple[int, int] = (7, 7)
    """Rows and columns of the learned background positional embedding."""
    window_spec: tuple[int, int, int, int] = (8, 4, 14, 7)
    """Window side per stage, in tokens."""

    def __post_init__(self) -> None:
        first_blocks = [sum(self.stages[:i]) for i in (1, 2, 3)]
        wrong = sorted(set(self.global_att_blocks) & set(first_blocks))
        if wrong or any(not 0 < block < sum(self.stages) for block in self.global_att_blocks):
            raise ConfigError(
                f"global_att_blocks is {self.global_att_blocks}; with stages {self.stages} allowed "
                f"are blocks 1..{sum(self.stages) - 1} except the pooling ones {first_blocks}"
            )

    @property
    def channels(self) -> list[int]:
        """Channels of the four stages, coarsest first, as the neck expects them."""
        return [self.embed_dim * 2**stage for stage in (3, 2, 1, 0)]


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenizerConfig:
    """Everything needed to build a mask tokenizer."""

    image_size: int = 1024
    """Side L of the square network input, in pixels; a multiple of 32."""
    trunk: TrunkConfig = field(default_factory=TrunkConfig)
    """The image trunk."""
    d_model: int = 256
    """Channels C of image embedding, prompts and mask embedding; a multiple of 8."""
    transformer_mlp_dim: int = 2048
    """Hidden units of the two-way transformers' MLPs."""
    transformer_num_heads: int = 8
    """Attention heads of the two-way transformers; divides ``d_model / 2``."""
    iou_head_dim: int = 256
    """Hidden units of the decoder's IoU head."""
    num_mask_candidates: int = 3
    """Candidate masks per decoded code pair; the one of highest predicted IoU is kept."""
    video_modules: bool = True
    """Keep SAM 2's memory and object-score modules. Masks never pass through them; the published
    weights contain them, and strict loading needs the keys."""
    codebook_size: int = 256
    """Entries K per codebook."""
    codebook_depth: int = 2
    """Codebooks D, i.e. words per mask."""
    ema_decay: float = 0.99
    """Decay of the codebooks' running statistics, in (0, 1)."""
    ema_epsilon: float = 1e-5
    """Laplace smoothing of the codebooks' cluster sizes."""

    def __post_init__(self) -> None:
        if self.image_size < 32 or self.image_size % 32:
            raise ConfigError(
                f"image_size is {self.image_size}; it must be a positive multiple of 32"
            )
        if self.d_model % 8 or (self.d_model // 2) % self.transformer_num_heads:
            raise ConfigError(
                f"d_model is {self.d_model}; it must be a multiple of 8, and half of it a multiple "
                f"of transformer_num_heads ({self.transformer_num_heads})"
            )
        if self.codebook_size < 2 or self.codebook_depth < 1 or self.num_mask_candidates < 1:
            raise ConfigError(
                "codebook_size must be at least 2, codebook_depth and num_mask_candidates at "
                f"least 1; received {self.codebook_size}, {self.codebook_depth} and "
                f"{self.num_mask_candidates}"
            )
        if not 0.0 < self.ema_decay < 1.0:
            raise ConfigError(f"ema_decay is {self.ema_decay}; it must lie between 0 and 1")

    @property
    def low_res_size(self) -> int:
        """Side of mask prompts and of low-resolution mask logits, in cells: L / 4."""
        return self.image_size // 4

    @property
    def embedding_size(self) -> int:
        """Side of the image embedding, in cells: L / 16."""
        return self.image_size // 16

    @property
    def embedding_shapes(self) -> dict[str, tuple[int, int, int]]:
        """(channels, rows, columns) of an image's three maps, by their names in ImageEmbeddings."""
        side, channels = self.embedding_size, self.d_model
        return {
            "image": (channels, side, side),
            "fine": (channels // 8, 4 * side, 4 * side),
            "middle": (channels // 4, 2 * side, 2 * side),
        }

    def to_dict(self) -> dict[str, Any]:
        """The config as plain JSON types; :func:`config_from_dict` reads it back."""
        return dataclasses.asdict(self)


def config_from_dict(values: dict[str, Any]) -> TokenizerConfig:
    """Build a config from :meth:`TokenizerConfig.to_dict`'s form.

    Args:
        values: field names to JSON values; missing fields take their defaults.

    Returns:
        The config.

    Raises:
        ConfigError: a key is unknown, or a value is out of its range.
    """
    return TokenizerConfig(**_fields_of(TokenizerConfig, values, "tokenizer config"))


def _fields_of(cls: type, values: dict[str, Any], where: str) -> dict[str, Any]:
    """Check the keys of `values` against dataclass `cls`; turn lists into tuples."""
    known = {f.name for f in dataclasses.fields(cls)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise ConfigError(f"{where} has unknown keys {unknown}; known are {sorted(known)}")
    fields = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    trunk = values.get("trunk")
    if isinstance(trunk, dict):
        fields["trunk"] = TrunkConfig(**_fields_of(TrunkConfig, trunk, f"{where}: trunk"))
    return fields


PRESETS: Final[dict[str, TokenizerConfig]] = {
    "tiny": TokenizerConfig(
        image_size=256,
        trunk=TrunkConfig(
            embed_dim=24,
            stages=(1, 1, 2, 1),
            global_att_blocks=(3,),
            window_spec=(8, 8, 8, 8),
        ),
        d_model=96,
        transformer_mlp_dim=256,
        transformer_num_heads=4,
        iou_head_dim=64,
        num_mask_candidates=1,
        video_modules=False,
        ema_decay=0.995,  # steps of 40 masks rather than 1,024: an average over as many more
    ),
    "hiera_t": TokenizerConfig(),
    "hiera_s": TokenizerConfig(
        trunk=TrunkConfig(stages=(1, 2, 11, 2), global_att_blocks=(7, 10, 13))
    ),
    "hiera_b+": TokenizerConfig(
        trunk=TrunkConfig(
            embed_dim=112,
            num_heads=2,
            stages=(2, 3, 16, 3),
            global_att_blocks=(12, 16, 20),
            window_pos_embed_bkg_spatial_size=(14, 14),
        )
    ),
    "hiera_l": TokenizerConfig(
        trunk=TrunkConfig(
            embed_dim=144,
            num_heads=2,
            stages=(2, 6, 36, 4),
            global_att_blocks=(23, 33, 43),
            window_spec=(8, 4, 16, 8),
        )
    ),
}
"""Named sizes: the packaged ``tiny``, and SAM 2.1's four backbones at 1024 x 1024."""
