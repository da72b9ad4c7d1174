"""A tokenizer of random weights that takes milliseconds per image."""

from samtok.tokenizer import TokenizerConfig, TrunkConfig

SMALL_SHAPE = TokenizerConfig(
    image_size=64,
    trunk=TrunkConfig(
        embed_dim=8, stages=(1, 1, 2, 1), global_att_blocks=(3,), window_spec=(8, 8, 4, 2)
    ),
    d_model=32,
    transformer_mlp_dim=32,
    transformer_num_heads=2,
    iou_head_dim=16,
    num_mask_candidates=1,
    video_modules=False,
)
