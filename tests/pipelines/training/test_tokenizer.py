"""Training a tokenizer on a real local cluster: tracked, repeatable, survives kills."""

import dataclasses
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import torch

from pipelines.storage import Place
from pipelines.tracking_config import TrackingConfig
from pipelines.training.tokenizer import TrainTokenizerConfig, run_tokenizer_training
from pipelines.training.validation import Validation, ValidationResult
from samtok import SAMTok
from samtok.errors import CheckpointError, ConfigError
from samtok.tokenizer.training import TokenizerTrainingConfig
from tests.pipelines.training.drivers import rob_driver, start_driver
from tests.weights import find_distance

ROOT = Path(__file__).parents[3]


def settings(folder, init, **changes):
    """A short training of the small tokenizer; all phases, codebooks from k-means."""
    training = {
        "num_steps": 8,
        "quantize_from_step": 4,
        "full_size_from_step": 2,
        "learning_rate": 1e-3,
        "num_points": 64,
        "kmeans_vectors": 256,
        "object_map_weight": 1.0,
        "backbone": "full",
        "restart_below": 0.02,
        "restart_size": 0.1,
        **changes.pop("training", {}),
    }
    return TrainTokenizerConfig(
        **{
            "output": str(folder),
            "corpus": ("scenes:400",),
            "init": str(init),
            "images_per_step": 8,
            "images_per_lane": 4,
            "images_per_window": 32,
            "validation_corpus": "scenes:6:val",
            "validate_every": 4,
            "checkpoint_every": 2,
            "log_every": 1,
            "training": TokenizerTrainingConfig(**training),
            "tracking": TrackingConfig(enabled=False),
            "register": "",
            **changes,
        }
    )


def weights(summary):
    return SAMTok.from_pretrained(summary.tokenizer, device="cpu").network.state_dict()


@pytest.fixture(scope="module")
def alone(ray_cluster, small_tokenizer_folder, tmp_path_factory):
    """What one worker makes of it, with its run in a local MLflow store."""
    folder = tmp_path_factory.mktemp("alone")
    store = TrackingConfig(uri=f"sqlite:///{folder}/mlflow.db")
    config = settings(folder / "out", small_tokenizer_folder, tracking=store, register="tok")
    return config, run_tokenizer_training(config)


@pytest.mark.ray
def test_two_workers_train_as_one_with_twice_the_lanes(alone, small_tokenizer_folder, tmp_path):
    config = settings(tmp_path, small_tokenizer_folder, num_workers=2)
    shared = run_tokenizer_training(config)
    start = SAMTok.from_pretrained(small_tokenizer_folder, device="cpu").network.state_dict()
    one, two = weights(alone[1]), weights(shared)
    learned = find_distance(start, one)
    assert learned > 0.1
    assert find_distance(one, two, start) < 0.01 * learned


@pytest.mark.ray
def test_run_is_in_mlflow(alone):
    from mlflow import MlflowClient

    config, summary = alone
    client = MlflowClient(config.tracking.uri)
    run = client.get_run(summary.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["training.num_steps"] == "8"
    assert run.data.tags["tokenizer_fingerprint"] == summary.fingerprint
    for name in ("loss_bce", "loss_dice", "learning_rate", "masks_per_second", "validation/iou"):
        assert name in run.data.metrics, name
    steps = [m.step for m in client.get_metric_history(summary.run_id, "loss_commitment")]
    assert steps == [5, 6, 7, 8]  # the quantizer goes on at step 4
    pictures = {a.path for a in client.list_artifacts(summary.run_id, "images")}
    assert any("panel" in path for path in pictures)
    assert any("code_usage" in path for path in pictures)
    version = client.get_model_version_by_alias("tok", "newest")
    assert int(version.version) == summary.model_version


@pytest.mark.ray
def test_finished_training_says_so_before_any_cluster_work(alone, monkeypatch):
    config, summary = alone
    monkeypatch.setattr("pipelines.training.tokenizer.connect", lambda: pytest.fail("connected"))
    again = run_tokenizer_training(config)
    assert again.was_finished
    assert not summary.was_finished
    changed = {"was_finished": False, "seconds": summary.seconds}
    assert dataclasses.replace(again, **changed) == summary


@dataclass(frozen=True, kw_only=True, slots=True)
class FallingValidation(Validation):
    """Finds the first tokenizer good and all later ones bad, and notes which it was shown."""

    notes: Path

    def run(self, tokenizer, *, quantize):
        iou = 0.1 if self.notes.exists() else 0.9
        with self.notes.open("a") as stream:
            stream.write(f"{tokenizer.fingerprint}\n")
        return ValidationResult(iou=iou)


@pytest.mark.ray
def test_the_best_tokenizer_is_the_one_that_was_measured_best(
    ray_cluster, small_tokenizer_folder, tmp_path, monkeypatch
):
    falling = partial(FallingValidation, notes=tmp_path / "notes")
    monkeypatch.setattr("pipelines.training.tokenizer.Validation", falling)
    codes_from_start = {"quantize_from_step": 0, "kmeans_start": True, "object_map_weight": 0.0}
    summary = run_tokenizer_training(
        settings(tmp_path / "out", small_tokenizer_folder, training=codes_from_start)
    )
    shown = (tmp_path / "notes").read_text().split()  # after 4 and 8 steps; 6 leaves a checkpoint
    assert len(shown) == 2
    assert summary.fingerprint == shown[0]
    assert summary.validation_iou == 0.9


@pytest.mark.ray
def test_output_of_other_settings_is_refused(alone):
    config, _ = alone
    other = dataclasses.replace(
        config, training=dataclasses.replace(config.training, learning_rate=2e-3)
    )
    with pytest.raises(CheckpointError, match="other settings"):
        run_tokenizer_training(other)


_DRIVER = """
from tests.pipelines.training.test_tokenizer import settings
from pipelines.training.tokenizer import run_tokenizer_training
run_tokenizer_training(settings({folder!r}, {init!r}))
"""


@pytest.mark.ray
def test_robbed_of_worker_and_driver_a_run_in_a_bucket_ends_as_an_undisturbed_one_in_a_folder(
    alone, ray_cluster, small_tokenizer_folder, s3_bucket, tmp_path
):
    """The weights it starts from, its checkpoints and its result are behind s3://."""
    bucket = Place.at(f"{s3_bucket}/{tmp_path.name}")
    for file in small_tokenizer_folder.iterdir():
        bucket.write_bytes(f"init/{file.name}", file.read_bytes())
    output, init = bucket.uri("out"), bucket.uri("init")
    rob_driver(start_driver(_DRIVER.format(folder=output, init=init), output, ray_cluster), output)
    resumed = run_tokenizer_training(settings(output, init))
    assert resumed.tokenizer == bucket.uri("out/tokenizer")
    one, two = weights(alone[1]), weights(resumed)
    for key, value in one.items():
        torch.testing.assert_close(two[key], value, atol=1e-6, rtol=1e-5, msg=key)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"corpus": ("nowhere",)}, "nothing to read"),
        ({"corpus": ()}, "--corpus or --embeddings"),
        ({"corpus": ("scenes:x",)}, "scenes:N"),
        ({"corpus": ("scenes:1",)}, "1 images and a step 2"),
        ({"num_workers": 3}, "2 micro-batches and the training 3 workers"),
        ({"images_per_step": 7}, "--images-per-step is 7"),
        ({"embeddings": ("e",), "corpus": ()}, "--training.backbone is full"),
        (
            {
                "embeddings": ("e",),
                "corpus": (),
                "training": {"backbone": "frozen"},
            },
            "--training.full-size-from-step needs images",
        ),
    ],
)
def test_bad_settings_stop_before_any_cluster_work(
    changes, message, small_tokenizer_folder, tmp_path, monkeypatch
):
    monkeypatch.setattr("pipelines.training.tokenizer.connect", lambda: pytest.fail("connected"))
    with pytest.raises(ConfigError, match=message):
        run_tokenizer_training(settings(tmp_path, small_tokenizer_folder, **changes))
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def embeddings(ray_cluster, small_tokenizer_folder, tmp_path_factory):
    """Image embeddings of scenes, made by the small tokenizer."""
    from pipelines.corpus.embed import EmbedConfig, run_embedding

    output = tmp_path_factory.mktemp("embeddings")
    run_embedding(
        EmbedConfig(
            source="scenes",
            num_images=60,
            tokenizer=str(small_tokenizer_folder),
            output=str(output),
            num_actors=1,
        )
    )
    return output


HEADS_ONLY = {
    "num_steps": 3,
    "quantize_from_step": 0,
    "full_size_from_step": 0,
    "kmeans_start": True,
    "backbone": "frozen",
    "object_map_weight": 0.0,
}


@pytest.mark.ray
def test_embeddings_train_the_heads_and_leave_the_backbone(
    embeddings, small_tokenizer_folder, tmp_path
):
    summary = run_tokenizer_training(
        settings(
            tmp_path,
            small_tokenizer_folder,
            corpus=(),
            embeddings=(str(embeddings),),
            training=HEADS_ONLY,
        )
    )
    start = SAMTok.from_pretrained(small_tokenizer_folder, device="cpu")
    trained = SAMTok.from_pretrained(summary.tokenizer, device="cpu")
    assert trained.backbone_fingerprint == start.backbone_fingerprint
    before, after = start.network.state_dict(), trained.network.state_dict()
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert any("sam_mask_encoder" in key for key in changed)
    assert any("sam_mask_decoder" in key for key in changed)
    assert {"quantizer.codebooks.0.weight", "quantizer.codebooks.1.weight"} <= changed


@pytest.mark.ray
def test_embeddings_of_another_backbone_are_refused(embeddings, tmp_path):
    other = settings(
        tmp_path, "tiny", corpus=(), embeddings=(str(embeddings),), training=HEADS_ONLY
    )
    with pytest.raises(ConfigError, match="another backbone"):
        run_tokenizer_training(other)
