"""The training step: learns, repeats, resumes, and does not care how many processes share it."""

import dataclasses
import io

import numpy as np
import pytest
import torch

from samtok.errors import CheckpointError
from samtok.tokenizer.image_transform import normalize_images
from samtok.tokenizer.network import TokenizerNetwork
from samtok.tokenizer.training import TokenizerTrainer, TokenizerTrainingConfig
from tests.processes import run_together
from tests.samtok.tokenizer.training.tiny_training import (
    CONFIG,
    SHAPE,
    build_trainer,
    rectangles,
    run,
    weights,
)
from tests.weights import find_distance


def one_lane(step):
    return [rectangles(step)]


def test_loss_falls_on_one_batch():
    config = dataclasses.replace(CONFIG, num_steps=150, quantize_from_step=149, num_points=128)
    trainer = build_trainer(config)
    batch = rectangles(0)
    losses = [trainer.train_step([batch])["loss_bce"] for _ in range(149)]
    assert np.mean(losses[-5:]) < 0.6 * np.mean(losses[:5])


def test_phases_report_their_losses():
    figures = run(build_trainer(), one_lane)
    assert all("loss_box" in f and "loss_commitment" not in f for f in figures[:3])
    assert all("loss_commitment" in f and "loss_box" not in f for f in figures[3:])
    assert ["loss_consistency" in f for f in figures] == 3 * [False] + 3 * [True]
    for f in figures:
        parts = sum(value for name, value in f.items() if name.startswith("loss_"))
        assert f["loss"] == pytest.approx(parts)


def test_first_steps_are_taken_at_half_size():
    trainer = build_trainer()
    sizes = []
    for step in range(CONFIG.full_size_from_step + 1):
        trainer.train_step(one_lane(step))
        sizes.append(trainer.network.config.image_size)
    assert sizes == [32, 32, 64]


def test_network_of_another_input_size_is_the_one_built_for_it():
    half = dataclasses.replace(SHAPE, image_size=32)
    torch.manual_seed(0)
    resized, built = TokenizerNetwork(SHAPE), TokenizerNetwork(half)
    built.load_state_dict(resized.state_dict())
    resized.resize_input(32)
    assert resized.config == half
    batch = rectangles(0).halve()
    vectors, logits = [], []
    for network in (resized, built):
        network.eval()
        features = network.embed_images(normalize_images(batch.images))
        masks = batch.mask_prompts, batch.boxes, batch.image_index
        vectors.append(network.encode_masks(features, *masks))
        logits.append(network.decode_vectors(features, vectors[-1], batch.image_index).logits)
    assert torch.equal(*vectors)
    assert torch.equal(*logits)


def test_trains_under_bfloat16_autocast():
    """As on CUDA; every head and term in use."""
    torch.manual_seed(0)
    network = TokenizerNetwork(SHAPE)
    trainer = TokenizerTrainer(network, CONFIG, device=torch.device("cpu"), dtype=torch.bfloat16)
    figures = run(trainer, one_lane)
    expected = run(build_trainer(), one_lane)
    for low, full in zip(figures[:2], expected[:2], strict=True):
        assert low["loss_bce"] == pytest.approx(full["loss_bce"], rel=0.05)
        assert low["loss_object_map"] == pytest.approx(full["loss_object_map"], rel=0.05)


def test_same_seed_same_weights():
    first, second = build_trainer(), build_trainer()
    run(first, one_lane)
    run(second, one_lane)
    for key, value in weights(first).items():
        assert torch.equal(value, second.network.state_dict()[key]), key


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("killed_after", [2, 5])
def test_resumed_run_ends_as_an_uninterrupted_one(killed_after, optimizer):
    config = dataclasses.replace(CONFIG, optimizer=optimizer)
    whole = build_trainer(config)
    run(whole, one_lane)

    killed = build_trainer(config)
    for step in range(killed_after):
        if killed.needs_codebooks:
            killed.start_codebooks(torch.cat([killed.embed(one_lane(100 + i)) for i in range(3)]))
        killed.train_step(one_lane(step))
    file = io.BytesIO()
    torch.save(killed.state_dict(), file)
    file.seek(0)
    torch.manual_seed(12345)
    resumed = build_trainer(config)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    run(resumed, one_lane, first=resumed.step)
    assert resumed.step == CONFIG.num_steps
    for key, value in weights(whole).items():
        assert torch.equal(value, resumed.network.state_dict()[key]), key


def test_state_of_another_shape_is_refused():
    state = build_trainer().state_dict()
    other = build_trainer(shape=dataclasses.replace(SHAPE, codebook_size=16))
    with pytest.raises(CheckpointError, match="another tokenizer config"):
        other.load_state_dict(state)


def test_published_recipe_leaves_backbone_and_unused_heads_alone():
    trainer = build_trainer(TokenizerTrainingConfig(num_steps=2, num_points=64))
    before = weights(trainer)
    run(trainer, one_lane)
    after = weights(trainer)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert not any(".image_encoder." in name for name in changed)
    assert not any("iou_prediction_head" in name for name in changed)
    assert any(".sam_mask_encoder." in name for name in changed)
    assert any(".sam_mask_decoder." in name for name in changed)
    assert {"quantizer.codebooks.0.weight", "quantizer.codebooks.1.weight"} <= changed


def test_partly_trained_backbone_changes_its_last_blocks_and_neck():
    config = dataclasses.replace(CONFIG, backbone="partial", trainable_blocks=1)
    trainer = build_trainer(config)
    before = weights(trainer)
    run(trainer, one_lane)
    after = weights(trainer)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    trunk = {name for name in changed if ".trunk." in name}
    assert trunk
    assert all(".trunk.blocks.4." in name for name in trunk)
    assert any(".image_encoder.neck." in name for name in changed)


@pytest.mark.parametrize("quantize_from_step", [0, 3])
@pytest.mark.parametrize("backbone", ["frozen", "partial", "full"])
def test_every_weight_said_to_learn_gets_a_gradient(backbone, quantize_from_step):
    """Data-parallel training would wait for ever for one that does not."""
    config = dataclasses.replace(
        CONFIG, quantize_from_step=quantize_from_step, backbone=backbone, object_map_weight=0.0
    )
    trainer = build_trainer(config)
    objective = trainer._module()
    trainer._backward(rectangles(0), 0, trainer._count([rectangles(0)]), is_last=True)
    idle = [n for n, p in objective.named_parameters() if p.requires_grad and p.grad is None]
    assert idle == []


# Eight codes for these few vectors: some die, so that restarts are shared too.
SHARED = dataclasses.replace(CONFIG, num_steps=8, full_size_from_step=0, learning_rate=1e-3)


def four_lanes(step):
    """Lanes of different sizes, so that weighting by counts matters."""
    return [rectangles(4 * step + lane, num_images=1 + lane % 3) for lane in range(4)]


def _train_share(rank, num_processes):
    share = 4 // num_processes
    trainer = build_trainer(SHARED)
    trainer.network.quantizer.codebooks[0].decay = 0.5  # sizes fall below 1 soon
    figures = run(trainer, lambda step: four_lanes(step)[rank * share : (rank + 1) * share])
    return figures, weights(trainer)


def test_two_processes_train_as_one_with_twice_the_lanes(tmp_path):
    """Losses, weights and codebooks, restarts of dead codes included."""
    (alone,) = run_together(_train_share, 1, tmp_path)
    first, second = run_together(_train_share, 2, tmp_path)
    for figures_alone, figures_shared in zip(alone[0], first[0], strict=True):
        # Sums in another order; on one CPU a gradient norm differed by a share of 2.5e-4.
        assert figures_shared == pytest.approx(figures_alone, rel=1e-3, abs=1e-5)
    assert all(torch.equal(first[1][key], second[1][key]) for key in first[1])
    # Rounding turns the sign of AdamW's step where a gradient is about 0, hence norms.
    start = weights(build_trainer(SHARED))
    for part in ("sam2.", "quantizer.codebooks.0", "quantizer.codebooks.1"):
        keys = [key for key in start if key.startswith(part)]
        learned = find_distance(alone[1], start, keys)
        apart = find_distance(alone[1], first[1], keys)
        assert apart < 0.01 * learned


def test_dead_codes_are_restarted_in_the_shared_run():
    """The comparison above would say nothing of restarts if there were none."""
    trainer = build_trainer(SHARED)
    trainer.network.quantizer.codebooks[0].decay = 0.5
    run(trainer, four_lanes)
    assert bool((trainer.network.quantizer.codebooks[0].cluster_size_ema == 1).any())
