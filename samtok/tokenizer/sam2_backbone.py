"""The SAM 2.1 model that a mask tokenizer is built around. The only file that imports sam2.

Modules carry the public package's names, so that published weights load with strict keys. Our
mask encoder sits where the published one does, between the mask decoder and the object pointers.
"""

from __future__ import annotations

from typing import Any

import torch
from sam2.modeling.backbones.hieradet import Hiera
from sam2.modeling.backbones.image_encoder import FpnNeck, ImageEncoder
from sam2.modeling.memory_attention import MemoryAttention, MemoryAttentionLayer
from sam2.modeling.memory_encoder import CXBlock, Fuser, MaskDownSampler, MemoryEncoder
from sam2.modeling.position_encoding import PositionEmbeddingSine
from sam2.modeling.sam.mask_decoder import MaskDecoder
from sam2.modeling.sam.prompt_encoder import PromptEncoder
from sam2.modeling.sam.transformer import RoPEAttention, TwoWayTransformer
from sam2.modeling.sam2_base import SAM2Base
from sam2.modeling.sam2_utils import MLP
from torch import nn

from samtok.tokenizer.config import TokenizerConfig, TrunkConfig
from samtok.tokenizer.image_pass import (
    channels_first,
    divides_evenly,
    double_size,
    project,
    project_twice,
    run_block,
)
from samtok.tokenizer.mask_encoder import MaskEncoder

_MEMORY_CHANNELS = 64
_NUM_MEMORY_FRAMES = 7
_MASK_PROMPT_CHANNELS = 16


class Sam2(SAM2Base):
    """SAM 2.1 with a mask encoder beside its mask decoder.

    Args:
        config: shape of the model.
    """

    def __init__(self, config: TokenizerConfig) -> None:
        self._config = config  # SAM2Base's constructor calls _build_sam_heads, which reads it
        video = config.video_modules
        super().__init__(
            image_encoder=_build_image_encoder(config.trunk, config.d_model),
            memory_attention=_build_memory_attention(config.d_model) if video else None,
            memory_encoder=_build_memory_encoder(config.d_model) if video else None,
            num_maskmem=_NUM_MEMORY_FRAMES if video else 0,
            image_size=config.image_size,
            directly_add_no_mem_embed=True,
            no_obj_embed_spatial=video,
            use_high_res_features_in_sam=True,
            iou_prediction_use_sigmoid=True,
            use_obj_ptrs_in_encoder=video,
            proj_tpos_enc_in_obj_ptrs=video,
            pred_obj_scores=video,
            pred_obj_scores_mlp=video,
            fixed_no_obj_ptr=video,
            use_multimask_token_for_obj_ptr=True,
            use_mlp_for_obj_ptr_proj=True,
        )

    def _build_sam_heads(self) -> None:
        """Build prompt encoder, mask decoder and mask encoder; the order fixes the key order."""
        config = self._config
        dim = config.d_model
        self.sam_image_embedding_size = config.embedding_size
        self.sam_prompt_embed_dim = dim
        self.sam_prompt_encoder = PromptEncoder(
            embed_dim=dim,
            image_embedding_size=(config.embedding_size, config.embedding_size),
            input_image_size=(config.image_size, config.image_size),
            mask_in_chans=_MASK_PROMPT_CHANNELS,
        )
        self.sam_mask_decoder = MaskDecoder(
            num_multimask_outputs=config.num_mask_candidates,
            transformer=_build_two_way_transformer(config),
            transformer_dim=dim,
            iou_head_depth=3,
            iou_head_hidden_dim=config.iou_head_dim,
            use_high_res_features=self.use_high_res_features_in_sam,
            iou_prediction_use_sigmoid=self.iou_prediction_use_sigmoid,
            pred_obj_scores=self.pred_obj_scores,
            pred_obj_scores_mlp=self.pred_obj_scores_mlp,
            use_multimask_token_for_obj_ptr=self.use_multimask_token_for_obj_ptr,
        )
        self.sam_mask_encoder = MaskEncoder(dim, _build_two_way_transformer(config))
        if config.video_modules:
            self.obj_ptr_proj = MLP(dim, dim, dim, 3)
            self.obj_ptr_tpos_proj = nn.Linear(dim, self.mem_dim)

    def resize_input(self, config: TokenizerConfig) -> None:
        """Take images of another config's side; it is the same otherwise."""
        side, size = config.embedding_size, config.image_size
        self.image_size, self.sam_image_embedding_size = size, side
        prompts = self.sam_prompt_encoder
        prompts.input_image_size, prompts.image_embedding_size = (size, size), (side, side)
        prompts.mask_input_size = (config.low_res_size, config.low_res_size)

    def embed_image(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """One backbone pass.

        Args:
            images: float32, shape (B, 3, L, L), normalised.

        Returns:
            Image embedding (B, C, L/16, L/16) with the no-memory embedding added, and the two
            finer maps after the decoder's projections, (B, C/8, L/4, L/4) and (B, C/4, L/8, L/8).
        """
        finest, finer, coarse, coarsest = self.image_encoder.trunk.compute_maps(images)
        # The neck lists its projections from the coarsest map on, and mixes the two coarsest only.
        first, second, third, fourth = (conv.conv for conv in self.image_encoder.neck.convs)
        decoder = self.sam_mask_decoder
        image = project(second, coarse) + double_size(project(first, coarsest)) + self.no_mem_embed
        fine = project_twice(fourth, decoder.conv_s0, finest)
        middle = project_twice(third, decoder.conv_s1, finer)
        return channels_first(image), channels_first(fine), channels_first(middle)


class _Trunk(Hiera):
    """Hiera whose pass over an image costs little beside the work itself."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._positions: tuple[tuple[Any, ...], torch.Tensor] | None = None

    def compute_maps(self, images: torch.Tensor) -> list[torch.Tensor]:
        """What :meth:`forward` computes, channels last.

        Args:
            images: float32, shape (B, 3, L, L).

        Returns:
            The map of each stage, finest first; shape (B, H, W, C).
        """
        tokens = self.patch_embed(images)
        tokens = (tokens + self._get_pos_embed(tokens.shape[1:3])).contiguous()
        maps = []
        for index, block in enumerate(self.blocks):
            # Windows that need padding are left to the public block.
            tokens = run_block(block, tokens) if divides_evenly(block, tokens) else block(tokens)
            if index in self.stage_ends:
                maps.append(tokens)
        return maps

    def _get_pos_embed(self, hw: tuple[int, int]) -> torch.Tensor:
        """Interpolated once per set of weights, not per image.

        On small images that interpolation costs as much as several blocks.
        """
        if torch.is_grad_enabled():
            return super()._get_pos_embed(hw)
        sources = (self.pos_embed, self.pos_embed_window)
        key = (tuple(hw), *((s.data_ptr(), s._version, s.device, s.dtype) for s in sources))
        if self._positions is None or self._positions[0] != key:
            self._positions = (key, super()._get_pos_embed(hw).contiguous())
        return self._positions[1]


class _NoPositions(nn.Module):
    """Stands in for the neck's sine encoding, which only SAM 2's video memory reads."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features.new_empty(0)


def _build_image_encoder(trunk: TrunkConfig, d_model: int) -> ImageEncoder:
    neck = FpnNeck(
        position_encoding=_NoPositions(),
        d_model=d_model,
        backbone_channel_list=trunk.channels,
        fpn_top_down_levels=[2, 3],
        fpn_interp_model="nearest",
    )
    hiera = _Trunk(
        embed_dim=trunk.embed_dim,
        num_heads=trunk.num_heads,
        stages=trunk.stages,
        global_att_blocks=trunk.global_att_blocks,
        window_pos_embed_bkg_spatial_size=trunk.window_pos_embed_bkg_spatial_size,
        window_spec=trunk.window_spec,
    )
    return ImageEncoder(trunk=hiera, neck=neck, scalp=1)


def _build_two_way_transformer(config: TokenizerConfig) -> TwoWayTransformer:
    return TwoWayTransformer(
        depth=2,
        embedding_dim=config.d_model,
        num_heads=config.transformer_num_heads,
        mlp_dim=config.transformer_mlp_dim,
    )


def _build_memory_attention(d_model: int) -> MemoryAttention:
    attention = {
        "rope_theta": 10000.0,
        "feat_sizes": (64, 64),
        "embedding_dim": d_model,
        "num_heads": 1,
        "downsample_rate": 1,
        "dropout": 0.1,
    }
    layer = MemoryAttentionLayer(
        activation="relu",
        dim_feedforward=2048,
        dropout=0.1,
        pos_enc_at_attn=False,
        self_attention=RoPEAttention(**attention),
        d_model=d_model,
        pos_enc_at_cross_attn_keys=True,
        pos_enc_at_cross_attn_queries=False,
        cross_attention=RoPEAttention(**attention, rope_k_repeat=True, kv_in_dim=_MEMORY_CHANNELS),
    )
    return MemoryAttention(d_model=d_model, pos_enc_at_input=True, layer=layer, num_layers=4)


def _build_memory_encoder(d_model: int) -> MemoryEncoder:
    return MemoryEncoder(
        out_dim=_MEMORY_CHANNELS,
        position_encoding=PositionEmbeddingSine(num_pos_feats=_MEMORY_CHANNELS, warmup_cache=False),
        mask_downsampler=MaskDownSampler(embed_dim=d_model, kernel_size=3, stride=2, padding=1),
        fuser=Fuser(CXBlock(dim=d_model, kernel_size=7, padding=3), num_layers=2),
        in_dim=d_model,
    )
