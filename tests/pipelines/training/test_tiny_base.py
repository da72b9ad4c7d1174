"""Pretraining the tiny base on a real local cluster."""

import dataclasses

import pytest

from pipelines.tracking_config import TrackingConfig
from pipelines.training.tiny_base import PretrainTinyBaseConfig, run_tiny_base_pretraining
from samtok.errors import CheckpointError, ConfigError
from samtok.mllm import load_mllm, save_mllm
from samtok.mllm.pretraining.config import PretrainingConfig
from samtok.mllm.tiny import build_tiny_mllm
from tests.weights import find_distance


def settings(folder, **changes):
    """Steps with vision alone, then with text; one validation, in the end."""
    training = {"num_steps": 4, "vision_steps": 2, "images_per_lane": 2, "num_lessons": 2}
    return PretrainTinyBaseConfig(
        **{
            "output": str(folder),
            "validation_scenes": 10,
            "checkpoint_every": 2,
            "log_every": 1,
            "training": PretrainingConfig(**training | changes.pop("training", {})),
            "tracking": TrackingConfig(enabled=False),
            **changes,
        }
    )


def weights(summary):
    return load_mllm(summary.model, device="cpu").model.state_dict()


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """Folder of a base that no seed of a pretraining gives."""
    return str(save_mllm(build_tiny_mllm(seed=7), tmp_path_factory.mktemp("base")))


@pytest.fixture(scope="module")
def alone(ray_cluster, base, tmp_path_factory):
    """What one worker makes of it, with its run in a local MLflow store."""
    folder = tmp_path_factory.mktemp("alone")
    store = TrackingConfig(uri=f"sqlite:///{folder}/mlflow.db")
    config = settings(folder / "out", init=base, tracking=store)
    return config, run_tiny_base_pretraining(config)


@pytest.mark.ray
def test_two_workers_go_on_from_a_base_as_one_with_twice_the_lanes(alone, base, tmp_path):
    shared = run_tiny_base_pretraining(settings(tmp_path, init=base, num_workers=2))
    start = build_tiny_mllm(seed=7).model.state_dict()
    other = build_tiny_mllm().model.state_dict()
    one, two = weights(alone[1]), weights(shared)
    learned = find_distance(start, one)
    assert 0.1 < learned < 0.5 * find_distance(other, one)  # it did begin there
    assert find_distance(one, two, start) < 0.01 * learned


def test_a_base_that_is_not_there_stops_before_the_cluster(tmp_path):
    with pytest.raises(CheckpointError, match="nowhere"):
        run_tiny_base_pretraining(settings(tmp_path / "out", init=str(tmp_path / "nowhere")))


@pytest.mark.ray
def test_run_is_in_mlflow(alone):
    from mlflow import MlflowClient

    config, summary = alone
    client = MlflowClient(config.tracking.uri)
    run = client.get_run(summary.run_id)
    assert run.info.status == "FINISHED"
    for name in ("color_right", "images_per_second", "validation/color_right"):
        assert name in run.data.metrics, name
    assert run.data.metrics["validation/box_iou"] == summary.box_iou
    texts = [m.step for m in client.get_metric_history(summary.run_id, "text")]
    assert texts == [3, 4]  # vision learns alone before


@pytest.mark.ray
def test_finished_pretraining_says_so_before_any_cluster_work(alone, monkeypatch):
    config, summary = alone
    monkeypatch.setattr("pipelines.training.tiny_base.connect", lambda: pytest.fail("connected"))
    again = run_tiny_base_pretraining(config)
    assert again.was_finished
    assert dataclasses.replace(again, was_finished=False, seconds=summary.seconds) == summary


@pytest.mark.ray
def test_output_of_other_settings_is_refused(alone):
    config, _ = alone
    other = dataclasses.replace(config.training, seed=1)
    with pytest.raises(CheckpointError, match="other settings"):
        run_tiny_base_pretraining(dataclasses.replace(config, training=other))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_workers": 3}, "2 micro-batches and the training 3 workers"),
        ({"validation_scenes": 9}, "--validation-scenes is 9"),
        ({"training": {"vision_steps": 4}}, "vision_steps is 4"),
    ],
)
def test_bad_settings_are_refused(changes, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        settings(tmp_path, **changes)
