"""Fine-tuning on a real local cluster: tracked, repeatable, survives kills, loads anywhere."""

import dataclasses
import os
import signal
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

from pipelines.tracking_config import TrackingConfig
from pipelines.training.sft import TrainSftConfig, run_sft
from pipelines.training.sft_worker import start_trainer
from samtok import SAMTok
from samtok.errors import CheckpointError, ConfigError
from samtok.mllm import load_mllm, save_mllm
from samtok.mllm.training import SftConfig
from tests.pipelines.training.drivers import start_driver
from tests.pipelines.training.small_conversations import conversation_row, write_conversations
from tests.ray_workers import find_workers
from tests.samtok.mllm.training.small_sft import batch
from tests.small_mllm import build_small_mllm
from tests.weights import find_distance


def settings(folder, inputs, **changes):
    """A short training of a small model."""
    training = {"num_steps": 8, "learning_rate": 1e-3, **changes.pop("training", {})}
    return TrainSftConfig(
        **{
            "output": str(folder),
            "conversations": (str(inputs / "train"),),
            "validation_conversations": (str(inputs / "validation"),),
            "model": str(inputs / "model"),
            "tokenizer": str(inputs / "tokenizer"),
            "conversations_per_step": 8,
            "conversations_per_lane": 4,
            "conversations_per_window": 16,
            "samples_per_task": 1,
            "max_new_tokens": 8,
            "batching": "packed",
            "max_length": 256,
            "validate_every": 4,
            "checkpoint_every": 2,
            "log_every": 1,
            "training": SftConfig(**training),
            "tracking": TrackingConfig(enabled=False),
            "register": "",
            **changes,
        }
    )


@pytest.fixture(scope="module")
def inputs(small_tokenizer_folder, tmp_path_factory):
    """Folders of conversations, one of them without its image, a tokenizer and a model."""
    folder = tmp_path_factory.mktemp("inputs")
    (folder / "tokenizer").symlink_to(small_tokenizer_folder)
    fingerprint = SAMTok.from_pretrained(small_tokenizer_folder, device="cpu").fingerprint
    rows = [conversation_row(index) for index in range(40)]
    rows[7] |= {"image": None, "image_uri": "/nowhere/7.png"}
    write_conversations(folder / "train", rows, fingerprint)
    held_out = [conversation_row(100 + index) for index in range(6)]
    write_conversations(folder / "validation", held_out, fingerprint)
    save_mllm(build_small_mllm("qwen3_vl"), folder / "model")
    return folder


@pytest.fixture(scope="module")
def alone(ray_cluster, inputs, tmp_path_factory):
    """What one worker makes of it, with its run in a local MLflow store."""
    folder = tmp_path_factory.mktemp("alone")
    store = TrackingConfig(uri=f"sqlite:///{folder}/mlflow.db")
    config = settings(folder / "out", inputs, tracking=store, register="talker")
    return config, run_sft(config)


def weights(summary):
    return load_mllm(summary.model, device="cpu").model.state_dict()


@pytest.mark.ray
def test_the_result_is_a_plain_folder_that_transformers_loads(alone):
    config, summary = alone
    model = AutoModelForImageTextToText.from_pretrained(summary.model)
    processor = AutoProcessor.from_pretrained(summary.model)
    last = processor.tokenizer.convert_tokens_to_ids("<|mt_0511|>")
    assert last < model.get_input_embeddings().num_embeddings
    mllm = load_mllm(summary.model)
    assert mllm.mask_tokenizer.name == config.tokenizer
    fingerprint = SAMTok.from_pretrained(config.tokenizer, device="cpu").fingerprint
    assert mllm.mask_tokenizer.fingerprint == fingerprint
    assert (Path(summary.model) / "README.md").is_file()


@pytest.mark.ray
def test_run_is_in_mlflow(alone):
    from mlflow import MlflowClient

    config, summary = alone
    client = MlflowClient(config.tracking.uri)
    run = client.get_run(summary.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["training.num_steps"] == "8"
    for name in ("loss", "learning_rate", "tokens_per_second", "validation/loss"):
        assert name in run.data.metrics, name
    assert run.data.metrics["validation/loss_interactive_segmentation"] > 0
    losses = [m.value for m in client.get_metric_history(summary.run_id, "validation/loss")]
    assert len(losses) == 2
    assert summary.validation_loss == pytest.approx(min(losses))
    pictures = {a.path for a in client.list_artifacts(summary.run_id, "images")}
    assert any("answers" in path for path in pictures)
    version = client.get_model_version_by_alias("talker", "newest")
    assert int(version.version) == summary.model_version


@pytest.mark.ray
def test_what_cannot_be_learned_from_is_quarantined_once(alone):
    _, summary = alone  # 64 conversations read, of 40
    assert summary.quarantined == {"image_missing": 1}


@pytest.mark.ray
def test_two_workers_train_as_one_with_twice_the_lanes(alone, inputs, tmp_path):
    check_alike(alone[1], run_sft(settings(tmp_path, inputs, num_workers=2)), inputs)


def check_alike(alone, shared, inputs):
    """Two runs came to the same, but for the order in which gradients are added up."""
    assert shared.validation_loss == pytest.approx(alone.validation_loss, rel=1e-4)
    assert shared.quarantined == alone.quarantined
    start = load_mllm(inputs / "model").model.state_dict()
    one, two = weights(alone), weights(shared)
    old = [key for key in start if start[key].shape == one[key].shape]
    learned = find_distance(one, start, old)
    assert learned > 0.1
    assert find_distance(one, two) < 0.01 * learned


@pytest.mark.ray
def test_finished_training_says_so_before_any_cluster_work(alone, monkeypatch):
    config, summary = alone
    monkeypatch.setattr("pipelines.training.sft.connect", lambda: pytest.fail("connected"))
    again = run_sft(config)
    assert again.was_finished
    assert dataclasses.replace(again, was_finished=False, seconds=summary.seconds) == summary


@pytest.mark.ray
def test_output_of_other_settings_is_refused(alone):
    config, _ = alone
    with pytest.raises(CheckpointError, match="other settings"):
        run_sft(dataclasses.replace(config, batching="padded"))


_DRIVER = """
from pathlib import Path
from tests.pipelines.training.test_sft import settings
from pipelines.training.sft import run_sft
run_sft(settings({folder!r}, Path({inputs!r}), **{changes!r}))
"""


@pytest.mark.ray
def test_a_killed_worker_is_replaced_and_weights_dealt_out_are_whole_again(
    ray_cluster, alone, inputs, tmp_path
):
    fsdp = {"num_workers": 2, "training": {"parallel": "fsdp"}}
    code = _DRIVER.format(folder=str(tmp_path), inputs=str(inputs), changes=fsdp)
    process = start_driver(code, tmp_path, ray_cluster)
    workers = find_workers("RayTrainWorker")
    assert len(workers) == 2, "the training ended before a worker could be killed"
    os.kill(workers[0], signal.SIGKILL)
    assert process.wait(timeout=400) == 0
    check_alike(alone[1], run_sft(settings(tmp_path, inputs, **fsdp)), inputs)


@pytest.mark.ray
def test_killed_driver_and_resumed_run_end_as_an_uninterrupted_one(
    ray_cluster, alone, inputs, tmp_path
):
    code = _DRIVER.format(folder=str(tmp_path), inputs=str(inputs), changes={})
    process = start_driver(code, tmp_path, ray_cluster)
    process.send_signal(signal.SIGKILL)
    process.wait()
    resumed = run_sft(settings(tmp_path, inputs))
    assert resumed.quarantined == alone[1].quarantined
    one, two = weights(alone[1]), weights(resumed)
    for key in one:
        torch.testing.assert_close(two[key], one[key], atol=1e-6, rtol=1e-5, msg=key)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"conversations": ("nowhere",)}, ConfigError, "nothing to read"),
        ({"tokenizer": "tiny"}, ConfigError, "another tokenizer"),
        ({"model": "nowhere"}, CheckpointError, "nowhere"),
        ({"conversation_weights": (1.0, 2.0)}, ConfigError, "1 corpora have 2 weights"),
        ({"num_workers": 3}, ConfigError, "2 micro-batches and the training 3 workers"),
        ({"conversations_per_step": 7}, ConfigError, "--conversations-per-step is 7"),
        ({"training": {"lora_rank": -1}}, ConfigError, "lora_rank is -1"),
    ],
)
def test_bad_settings_stop_before_any_cluster_work(
    changes, error, message, inputs, tmp_path, monkeypatch
):
    monkeypatch.setattr("pipelines.training.sft.connect", lambda: pytest.fail("connected"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(error, match=message):
        run_sft(settings(tmp_path, inputs, **changes))
    assert not list(tmp_path.iterdir())


def test_the_dtype_of_the_forward_pass_is_a_setting(tmp_path):
    folder = str(save_mllm(build_small_mllm("qwen3_vl"), tmp_path))
    losses = {}
    for dtype in ("auto", "float32", "bfloat16"):
        trainer = start_trainer(folder, SftConfig(dtype=dtype), torch.device("cpu"), None)
        losses[dtype] = trainer.train_step([batch(trainer.mllm, range(3))])["loss"]
    assert losses["auto"] == losses["float32"] != losses["bfloat16"]
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.01)
