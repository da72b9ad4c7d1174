"""The evaluation of a language model on a real cluster: every conversation accounted for."""

import json
import shutil
from collections import Counter

import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipelines.evaluation.model import run_model_evaluation
from pipelines.evaluation.model_config import EvaluateModelConfig
from pipelines.tracking_config import TrackingConfig
from samtok import SAMTok
from samtok.errors import CheckpointError, ConfigError
from samtok.mllm import extend_vocabulary, save_mllm
from samtok.mllm.generation import GenerationConfig
from tests.pipelines.evaluation.dialogue_files import write_dialogues
from tests.small_mllm import build_small_mllm


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    """Random weights that know mask words."""
    mllm = build_small_mllm("qwen3_vl")
    extend_vocabulary(mllm.model, mllm.processor)
    return save_mllm(mllm, tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def untaught_folder(tmp_path_factory):
    """Random weights that do not."""
    return save_mllm(build_small_mllm("qwen2_5_vl"), tmp_path_factory.mktemp("untaught"))


@pytest.fixture(scope="module")
def written(scenes, small_tokenizer_folder, tmp_path_factory):
    """Conversations, one image of which is gone; and their rows."""
    tokenizer = SAMTok.from_pretrained(small_tokenizer_folder, device="cpu")
    folder = tmp_path_factory.mktemp("made")
    return write_dialogues(folder, scenes[:3], tokenizer, gone=scenes[1].scene_id)


@pytest.fixture(scope="module")
def config_for(written, model_folder, small_tokenizer_folder):
    def build(output, **changes):
        settings = {
            "model": str(model_folder),
            "conversations": str(written[0]),
            "output": str(output),
            "tokenizer": str(small_tokenizer_folder),
            "generation": GenerationConfig(max_new_tokens=8),
            "num_actors": 1,
            "limit": 4,
            "samples": 1,
            "tracking": TrackingConfig(uri=f"sqlite:///{output}/mlflow.db"),
        }
        return EvaluateModelConfig(**{**settings, **changes})

    return build


@pytest.fixture(scope="module")
def finished(ray_cluster, config_for, untaught_folder, tmp_path_factory):
    output = tmp_path_factory.mktemp("evaluation")
    config = config_for(output, blank_image=True, compare_with=(str(untaught_folder),))
    return config, run_model_evaluation(config), output


@pytest.mark.ray
def test_every_conversation_is_measured_or_quarantined_in_every_variant(
    finished, written, untaught_folder
):
    _, summary, output = finished
    chosen = Counter()
    gone = 0
    for row in written[1]:
        if chosen[row["task"]] < 4:
            chosen[row["task"]] += 1
            gone += row["image_uri"].startswith("/nowhere")
    assert 0 < gone < chosen.total()
    assert summary.num_conversations == dict(sorted(chosen.items()))
    assert list(summary.reports) == ["model", "image blanked", str(untaught_folder)]
    assert summary.is_accounted
    for name in summary.reports:
        assert summary.quarantined[name] == {"image_missing": gone}
        assert summary.num_answered[name] == chosen.total() - gone
        counts = [figures["conversations"] for figures in summary.reports[name].values()]
        assert sum(counts) == chosen.total() - gone
    left_out = pq.read_table(output / "quarantine").to_pylist()
    assert len(left_out) == gone * 3
    assert {row["stage"] for row in left_out} == {"answer"}


@pytest.mark.ray
def test_what_was_said_is_kept(finished, written):
    _, summary, output = finished
    said = pq.read_table(output / "answers.parquet").to_pylist()
    assert Counter(row["variant"] for row in said).keys() == summary.reports.keys()
    by_id = {row["conversation_id"]: row for row in written[1]}
    for row in said:
        messages = by_id[row["conversation_id"]]["messages"]
        assert row["targets"] == [m["content"] for m in messages[1::2]]
        assert len(row["answers"]) in (0, len(row["targets"]))


@pytest.mark.ray
def test_report_tables_and_pictures_are_written(finished):
    config, summary, output = finished
    report = json.loads((output / "report.json").read_text())
    assert report["reports"] == summary.reports
    assert "g_iou" in report["reports"]["model"]["referring_segmentation"]
    markdown = (output / "report.md").read_text()
    assert "| figure | model | image blanked |" in markdown
    assert {address.rsplit("answers-")[-1] for address in summary.pictures} == {
        f"{task}.png" for task in summary.reports["model"]
    }
    for address in summary.pictures:
        with Image.open(address) as picture:
            assert min(picture.size) > 100
    manifest = json.loads((output / "_manifest.json").read_text())
    assert manifest["stage"] == "evaluate_model"
    assert manifest["config"]["model"] == config.model
    assert manifest["identity"]["conversations"] == config.conversations


@pytest.mark.ray
def test_figures_and_pictures_are_tracked(finished):
    from mlflow import MlflowClient

    config, summary, _ = finished
    client = MlflowClient(config.tracking.uri)
    experiment = client.get_experiment_by_name("samtok")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    metrics = run.data.metrics
    wanted = summary.reports["model"]["referring_segmentation"]["g_iou"]
    assert metrics["referring_segmentation/g_iou"] == wanted
    assert "image blanked/referring_segmentation/g_iou" in metrics


@pytest.mark.ray
def test_the_same_command_gives_the_same_figures(finished, config_for, tmp_path):
    _, summary, _ = finished
    off = TrackingConfig(enabled=False)
    again = run_model_evaluation(config_for(tmp_path, num_actors=2, tracking=off))
    assert again.reports["model"] == summary.reports["model"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tasks": ("captions",)}, "--tasks has 'captions'"),
        ({"limit": 0}, "--limit is 0"),
        ({"samples": -1}, "--samples is -1"),
        ({"cpus_per_actor": 0}, "--cpus-per-actor is 0"),
        ({"compare_with": ("tiny", "tiny")}, "--compare-with"),
    ],
)
def test_bad_settings_are_refused(config_for, tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        config_for(tmp_path, **changes)


def test_what_cannot_be_used_is_found_before_a_cluster_is_touched(
    config_for, model_folder, tmp_path
):
    with pytest.raises(CheckpointError, match="nowhere"):
        run_model_evaluation(config_for(tmp_path, model="nowhere"))
    other = shutil.copytree(model_folder, tmp_path / "other")
    reference = {"name": "another", "fingerprint": "0" * 64}
    (other / "samtok.json").write_text(json.dumps({"mask_tokenizer": reference}))
    with pytest.raises(ConfigError, match="speaks the words of 'another'"):
        run_model_evaluation(config_for(tmp_path, model=str(other)))
    with pytest.raises(ConfigError, match="another tokenizer"):
        run_model_evaluation(config_for(tmp_path, tokenizer="tiny"))
    with pytest.raises(ConfigError, match="nothing to read"):
        run_model_evaluation(config_for(tmp_path, words=str(tmp_path)))
