"""The command: what people type, and what it says back."""

import json
import re

import pytest

from samtok import SAMTok
from samtok.mllm import extend_vocabulary, save_mllm
from samtok.scenes import generate_scene
from tests.pipelines.evaluation.dialogue_files import write_dialogues
from tests.small_mllm import build_small_mllm


def test_help_teaches(check_job):
    shown = check_job("evaluate_model", "--help")
    assert shown.returncode == 0
    for text in (
        "--conversations",
        "--blank-image",
        "--compare-with",
        "ray job submit",
        "answers-",
    ):
        assert text in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--conversations"),
        (["--tasks", "captions"], "--tasks has 'captions'"),
        (["--limit", "0"], "--limit is 0"),
        ([], "nothing is at 'nowhere'"),
    ],
)
def test_bad_settings_are_one_message(check_job, arguments, message):
    given = [] if message == "--conversations" else ["--conversations", "nowhere"]
    shown = check_job("evaluate_model", "--model", "nowhere", "--output", "x", *given, *arguments)
    assert shown.returncode == 2
    assert message in " ".join((shown.stdout + shown.stderr).split())
    assert "Traceback" not in shown.stdout + shown.stderr


@pytest.mark.ray
def test_tables_pictures_and_settings_to_run_again(
    run_job, check_job, ray_cluster, small_tokenizer_folder, tmp_path
):
    mllm = build_small_mllm("qwen3_vl")
    extend_vocabulary(mllm.model, mllm.processor)
    model = save_mllm(mllm, tmp_path / "model")
    scenes = [generate_scene(index, split="test", seed=0) for index in range(2)]
    tokenizer = SAMTok.from_pretrained(small_tokenizer_folder, device="cpu")
    dialogues, _ = write_dialogues(tmp_path / "made", scenes, tokenizer)
    shown = run_job(
        "evaluate_model",
        *("--model", model, "--conversations", dialogues, "--tokenizer", small_tokenizer_folder),
        *("--blank-image", "--limit", 2, "--samples", 1, "--num-actors", 1),
        *("--generation.max-new-tokens", 6, "--output", tmp_path / "one"),
        *("--tracking.uri", f"sqlite:///{tmp_path}/mlflow.db"),
        RAY_ADDRESS=ray_cluster,
    )
    assert shown.returncode == 0, shown.stdout + shown.stderr
    for text in ("referring segmentation", "g iou", "image blanked", "triplet recall", "picture: "):
        assert text in shown.stdout
    for name in ("model", "image blanked"):
        assert re.search(rf"asking {name}: (\d+) of \1 conversations", shown.stderr)
    again = check_job(
        "evaluate_model",
        *("--config", tmp_path / "one" / "_manifest.json", "--output", tmp_path / "two"),
        "--tracking.no-enabled",
    )
    assert again.returncode == 0, again.stdout + again.stderr
    one, two = (json.loads((tmp_path / n / "report.json").read_text()) for n in ("one", "two"))
    assert one == two
