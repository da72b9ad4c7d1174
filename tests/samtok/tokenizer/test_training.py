"""The training loop on a very small model and hand-made pictures: learns, repeats, resumes."""

import dataclasses

import numpy as np
import pytest
import torch

from samtok.errors import CheckpointError, ConfigError
from samtok.tokenizer import TokenizerConfig, TrunkConfig
from samtok.tokenizer.kmeans import cluster
from samtok.tokenizer.network import TokenizerNetwork
from samtok.tokenizer.training import (
    TokenizerTrainer,
    TokenizerTrainingConfig,
    TrainingSample,
    choose_trainable,
    collate_samples,
    learning_rate_at,
)

SHAPE = TokenizerConfig(
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
    codebook_size=8,
)
CONFIG = TokenizerTrainingConfig(
    num_steps=6,
    quantize_from_step=3,
    learning_rate=3e-3,
    num_points=64,
    kmeans_vectors=24,
    train_backbone=True,
)


def rectangles(index):
    """Four images with two rectangles each, the brighter the pixel the more inside."""
    rng = np.random.default_rng(index)
    samples = []
    for _ in range(4):
        masks = np.zeros((2, 40, 48), dtype=bool)
        for mask in masks:
            y, x = rng.integers(0, 20, 2)
            mask[y : y + rng.integers(8, 20), x : x + rng.integers(8, 24)] = True
        image = np.repeat(masks.sum(0, dtype=np.uint8)[..., None] * 100, 3, axis=2)
        samples.append(TrainingSample(image, masks))
    return collate_samples(samples, SHAPE.image_size)


def build_trainer(config=CONFIG):
    torch.manual_seed(0)
    return TokenizerTrainer(TokenizerNetwork(SHAPE), config, device=torch.device("cpu"))


def batches(start=0):
    return (rectangles(i) for i in range(start, 1000))


def weights(trainer):
    return {k: v.clone() for k, v in trainer.network.state_dict().items()}


def test_batch_layout():
    batch = rectangles(0)
    assert batch.images.shape == (4, 64, 64, 3)
    assert batch.mask_prompts.shape == (8, 16, 16)
    assert batch.image_index.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert batch.boxes.min() >= 0
    assert batch.boxes.max() < 1
    assert [t.shape for t in batch.targets] == [(2, 40, 48)] * 4


def test_loss_falls_on_one_batch():
    config = TokenizerTrainingConfig(
        num_steps=150,
        quantize_from_step=149,
        learning_rate=3e-3,
        num_points=128,
        train_backbone=True,
    )
    trainer = build_trainer(config)
    batch = rectangles(0)
    losses = [trainer.train_step(batch)["loss_bce"] for _ in range(149)]
    assert np.mean(losses[-5:]) < 0.6 * np.mean(losses[:5])


def test_phases_report_their_losses():
    figures = list(build_trainer().run(batches()))
    assert len(figures) == CONFIG.num_steps
    assert all("loss_box" in f and "loss_commitment" not in f for f in figures[:3])
    assert all("loss_commitment" in f and "loss_box" not in f for f in figures[3:])


def test_same_seed_same_weights():
    first, second = build_trainer(), build_trainer()
    list(first.run(batches()))
    list(second.run(batches()))
    for key, value in weights(first).items():
        assert torch.equal(value, second.network.state_dict()[key]), key


@pytest.mark.parametrize("killed_after", [2, 5])
def test_resumed_run_ends_as_an_uninterrupted_one(killed_after, tmp_path):
    whole = build_trainer()
    list(whole.run(batches()))

    killed = build_trainer()
    steps = killed.run(batches())
    for _ in range(killed_after):
        next(steps)
    killed.save(tmp_path / "state.pt")
    torch.manual_seed(12345)
    torch.rand(7)
    resumed = build_trainer()
    resumed.resume(tmp_path / "state.pt")
    list(resumed.run(batches(resumed.batches_read)))
    assert resumed.step == CONFIG.num_steps
    for key, value in weights(whole).items():
        assert torch.equal(value, resumed.network.state_dict()[key]), key


def test_state_of_another_shape_is_refused(tmp_path):
    trainer = build_trainer()
    trainer.save(tmp_path / "state.pt")
    other = TokenizerNetwork(dataclasses.replace(SHAPE, codebook_size=16))
    with pytest.raises(CheckpointError, match="another tokenizer config"):
        TokenizerTrainer(other, CONFIG, device=torch.device("cpu")).resume(tmp_path / "state.pt")


def test_published_recipe_leaves_backbone_and_unused_heads_frozen():
    network = TokenizerNetwork(SHAPE)
    choose_trainable(network, train_backbone=False)
    trained = {name for name, p in network.named_parameters() if p.requires_grad}
    assert any(name.startswith("sam2.sam_mask_encoder.") for name in trained)
    assert all(
        name.startswith(("sam2.sam_mask_encoder.", "sam2.sam_mask_decoder.")) for name in trained
    )
    assert not any("iou_prediction_head" in name for name in trained)

    config = TokenizerTrainingConfig(num_steps=2, num_points=64)
    torch.manual_seed(0)
    trainer = TokenizerTrainer(TokenizerNetwork(SHAPE), config, device=torch.device("cpu"))
    before = weights(trainer)
    list(trainer.run(batches()))
    after = weights(trainer)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert not any(".image_encoder." in name for name in changed)
    assert any(".sam_mask_encoder." in name for name in changed)
    assert {"quantizer.codebooks.0.weight", "quantizer.codebooks.1.weight"} <= changed


def test_learning_rate_schedule():
    """100 steps, 10 of warm-up: rises to the peak, half of it in mid-cosine, falls to about 0."""
    config = TokenizerTrainingConfig(num_steps=110, learning_rate=1.0, warmup_share=1 / 11)
    rates = [learning_rate_at(step, config) for step in range(110)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == pytest.approx(1.0)
    assert rates[60] == pytest.approx(0.5)
    assert rates[-1] < 0.001


def test_bad_settings_are_named():
    with pytest.raises(ConfigError, match="quantize_from_step is 10"):
        TokenizerTrainingConfig(num_steps=10, quantize_from_step=10)
    with pytest.raises(ConfigError, match="warmup_share"):
        TokenizerTrainingConfig(warmup_share=1.0)


def test_kmeans_finds_separate_groups():
    generator = torch.Generator().manual_seed(0)
    truth = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    vectors = truth.repeat(40, 1) + 0.1 * torch.randn(120, 2, generator=generator)
    centres, counts = cluster(vectors, 3, generator=generator)
    assert sorted(counts.tolist()) == [40, 40, 40]
    assert torch.cdist(truth, centres).min(1).values.max() < 0.1
    with pytest.raises(ValueError, match="2 vectors"):
        cluster(vectors[:2], 3, generator=generator)
