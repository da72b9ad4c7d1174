"""GRPO on a real local cluster: learns, repeats itself, and survives what is killed."""

import dataclasses
import json
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from mlflow import MlflowClient
from transformers import AutoModelForImageTextToText

from pipelines.grpo.run import run_grpo
from pipelines.image_decoding import open_row_image
from pipelines.tracking_config import TrackingConfig
from samtok import SAMTok
from samtok.errors import CheckpointError, ConfigError
from samtok.mllm import load_mllm
from samtok.rewards import RewardConfig
from samtok.words import parse
from tests.pipelines.grpo.small_grpo import RIGHT, row, settings, write_inputs
from tests.weights import find_distance


@pytest.fixture(scope="module")
def inputs(small_tokenizer_folder, tmp_path_factory):
    fingerprint = SAMTok.from_pretrained(small_tokenizer_folder, device="cpu").fingerprint
    return write_inputs(tmp_path_factory.mktemp("inputs"), small_tokenizer_folder, fingerprint)


def tracked(folder):
    return TrackingConfig(uri=f"sqlite:///{folder}/mlflow.db")


@pytest.fixture(scope="module")
def alone(ray_cluster, inputs, tmp_path_factory):
    """What one worker and one actor make of it, with its run in a local MLflow store."""
    folder = tmp_path_factory.mktemp("alone")
    config = settings(folder / "out", inputs, tracking=tracked(folder))
    return config, run_grpo(config)


def weights(summary):
    return load_mllm(summary.model, device="cpu").model.state_dict()


def check_equal(one, two):
    for key, value in weights(one).items():
        torch.testing.assert_close(weights(two)[key], value, atol=1e-5, rtol=1e-4, msg=key)


def histories(config, summary):
    """Values of a metric over the steps."""
    client = MlflowClient(config.tracking.uri)
    return lambda name: [m.value for m in client.get_metric_history(summary.run_id, name)]


@pytest.mark.ray
def test_the_right_mask_is_named_more_often(alone):
    config, summary = alone
    of = histories(config, summary)
    rewards = of("reward/total")
    assert len(rewards) == 6
    assert rewards[0] < 0.6
    assert rewards[-1] > rewards[0] + 0.2
    assert rewards == of("reward/answer_matching")
    assert max(of("sampler_drift")) < 1e-3
    assert of("rollouts/staleness") == [0.0] * 6
    for name in ("entropy", "clip_high_share", "reward/spread", "responses/well_formed_share"):
        assert len(of(name)) == 6, name
    for name in ("rollouts/tokens_per_second", "data_wait_share"):
        assert len(of(name)) == 6, name
    idle = of("rollouts/idle_share")
    assert len(idle) == 6
    assert all(0 < share < 1 for share in idle[1:]), "they wait for the weights of the last step"


def iou_by_hand(config, response):
    """Of the first held-out answer with the left half of its image."""
    image = open_row_image(row(100))
    tokenizer = SAMTok.from_pretrained(config.tokenizer, device="cpu")
    predicted = np.zeros(image.shape[:2], dtype=bool)
    for span in parse(response):
        if span.codes is not None:
            predicted |= tokenizer.decode(image, torch.tensor([span.codes]))[0].numpy()
    true = np.zeros_like(predicted)
    true[:, : image.shape[1] // 2] = True
    return (predicted & true).sum() / (predicted | true).sum()


@pytest.mark.ray
def test_the_audit_shows_rewards_beside_true_masks(alone):
    config, summary = alone
    of = histories(config, summary)
    client = MlflowClient(config.tracking.uri)
    audits = client.get_metric_history(summary.run_id, "audit/g_iou")
    assert [audit.step for audit in audits] == [0, 3, 6]
    assert of("audit/num_left_out") == [1, 1, 1]
    assert of("audit/reward/total")[0] < of("audit/reward/total")[-1]
    assert summary.audit_g_iou == pytest.approx(max(audit.value for audit in audits[1:]))
    folder = client.download_artifacts(summary.run_id, "audit")
    table = json.loads((Path(folder) / "step-00000006.json").read_text())
    responses = [dict(zip(table["columns"], line, strict=True)) for line in table["data"]]
    assert len(responses) == 6
    assert all(r["reward"] == (r["response"] == r["target"] == RIGHT) for r in responses)
    mean = sum(r["reward"] for r in responses) / 6
    assert of("audit/reward/total")[-1] == pytest.approx(mean)
    assert responses[0]["iou"] == pytest.approx(iou_by_hand(config, responses[0]["response"]))
    pictures = {a.path for a in client.list_artifacts(summary.run_id, "images")}
    assert any("audit" in path for path in pictures)
    folder = client.download_artifacts(summary.run_id, "responses")
    sampled = json.loads((Path(folder) / "step-00000003.json").read_text())
    assert len(sampled["data"]) == 4 * 6


@pytest.mark.ray
def test_the_result_is_a_plain_folder_that_names_its_tokenizer(alone):
    config, summary = alone
    AutoModelForImageTextToText.from_pretrained(summary.model)
    assert load_mllm(summary.model).mask_tokenizer.name == config.tokenizer
    assert summary.quarantined == {"image_missing": 1}


@pytest.mark.ray
def test_finished_training_says_so_before_any_cluster_work(alone, monkeypatch):
    config, summary = alone
    monkeypatch.setattr("pipelines.grpo.run.connect", lambda: pytest.fail("connected"))
    again = run_grpo(config)
    assert again.was_finished
    assert dataclasses.replace(again, was_finished=False, seconds=summary.seconds) == summary
    with pytest.raises(CheckpointError, match="other settings"):
        run_grpo(dataclasses.replace(config, responses_per_prompt=2))


def find_processes(title):
    """Of this session's cluster, by the title that Ray gives them."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if process.cmdline() and process.cmdline()[0].startswith(title):
                found.append(process)
        except psutil.Error:
            continue
    return found


def kill_in_turn(titles, folder, num_victims=None):
    """After each checkpoint stop processes, so that work lies with them, then kill them.

    Args:
        titles: of the processes, one after each checkpoint.
        folder: of the training.
        num_victims: of each title; None: all.
    """

    def wait_and_kill():
        for title in titles:
            while not (
                list(folder.glob("ray_train/step-*/state.pt"))
                and (victims := find_processes(title)[:num_victims])
            ):
                time.sleep(0.05)
            for victim in victims:
                victim.suspend()
            time.sleep(1)
            for victim in victims:
                victim.kill()
            killed.append(title)

    killed = []
    thread = threading.Thread(target=wait_and_kill, daemon=True)
    thread.start()
    return thread, killed


@pytest.mark.ray
def test_what_is_killed_changes_nothing(alone, inputs, tmp_path):
    titles = ["ray::RolloutActor", "ray::RayTrainWorker"]
    thread, killed = kill_in_turn(titles, tmp_path)
    summary = run_grpo(settings(tmp_path, inputs))
    thread.join(10)
    assert killed == titles
    check_equal(alone[1], summary)
    assert summary.quarantined == alone[1].quarantined


@pytest.mark.ray
def test_two_workers_and_two_actors_do_what_one_of_each_does(alone, inputs, tmp_path):
    shared = run_grpo(settings(tmp_path, inputs, num_workers=2, rollouts={"num_actors": 2}))
    start = load_mllm(inputs / "model").model.state_dict()
    learned = find_distance(weights(alone[1]), start)
    assert learned > 0.01
    assert find_distance(weights(alone[1]), weights(shared)) < 0.02 * learned


@pytest.mark.ray
def test_weights_that_are_broadcast_are_those_that_are_read(alone, inputs, tmp_path):
    """An actor is killed on the way; the one in its place reads a copy, and then joins them."""
    rollouts = {"num_actors": 2, "weight_transfer": "broadcast"}
    config = settings(tmp_path / "out", inputs, rollouts=rollouts, tracking=tracked(tmp_path))
    thread, killed = kill_in_turn(["ray::RolloutActor"], tmp_path / "out", num_victims=1)
    summary = run_grpo(config)
    thread.join(10)
    assert killed == ["ray::RolloutActor"]
    check_equal(alone[1], summary)
    of = histories(config, summary)
    assert of("rollouts/actors_replaced")[-1] == 1
    shares = of("rollouts/broadcast_share")
    assert shares[0] == shares[1] == shares[-1] == 1.0
    assert set(histories(*alone)("rollouts/broadcast_share")) == {0.0}


@pytest.mark.ray
@pytest.mark.parametrize("transfer", ["object_store", "broadcast"])
def test_overlap_trains_on_answers_of_the_step_before(transfer, inputs, ray_cluster, tmp_path):
    config = settings(
        tmp_path / "out",
        inputs,
        tracking=tracked(tmp_path),
        rollouts={"max_staleness": 1, "max_tries": 2.0, "weight_transfer": transfer},
        training={"num_minibatches": 2, "lora_rank": 2},
    )
    summary = run_grpo(config)
    of = histories(config, summary)
    assert of("rollouts/staleness") == [0.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    assert of("reward/total")[-1] > of("reward/total")[0]
    assert all(4 <= tried <= 8 for tried in of("rollouts/prompts_tried"))


VLLM = {"engine": "vllm", "gpus_per_actor": 1.0}


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"conversations": ("nowhere",)}, ConfigError, "nothing to read"),
        ({"tokenizer": "tiny"}, ConfigError, "another tokenizer"),
        ({"model": "nowhere"}, CheckpointError, "nowhere"),
        ({"responses_per_prompt": 1}, ConfigError, "--responses-per-prompt is 1"),
        ({"prompts_per_lane": 3}, ConfigError, "--prompts-per-lane 3"),
        ({"num_workers": 3}, ConfigError, "3 workers"),
        ({"max_length": 8}, ConfigError, "--max-length is 8"),
        ({"rollouts": {"temperature": 0.0}}, ConfigError, "--rollouts.temperature is 0.0"),
        ({"rollouts": {"engine": "vllm"}}, ConfigError, "needs a GPU"),
        (
            {"rollouts": {"weight_transfer": "broadcast", "max_staleness": 2}},
            ConfigError,
            "keep one version",
        ),
        (
            {"rollouts": VLLM | {"gpu_memory_share": 1.5}},
            ConfigError,
            "--rollouts.gpu-memory-share is 1.5",
        ),
        ({"rollouts": VLLM | {"constrain_masks": True}}, ConfigError, "cannot constrain masks"),
        ({"rollouts": VLLM, "training": {"lora_rank": 2}}, ConfigError, "no adapters"),
        ({"rollouts": VLLM, "model": "tiny-base"}, ConfigError, "no mask words"),
        ({"audit_words": "nowhere"}, ConfigError, "nothing to read"),
        (
            {"rewards": RewardConfig(weights=("soft_matching=1",), similarity="expected_iou")},
            CheckpointError,
            "expected IoU",
        ),
    ],
)
def test_bad_settings_stop_before_any_cluster_work(
    changes, error, message, inputs, tmp_path, monkeypatch
):
    monkeypatch.setattr("pipelines.grpo.run.connect", lambda: pytest.fail("connected"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(error, match=message):
        run_grpo(settings(tmp_path, inputs, **changes))
    assert not list(tmp_path.iterdir())
