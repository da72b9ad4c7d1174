"""The command: what people type, and what it says back."""

import pytest


def test_help_teaches(check_job):
    shown = check_job("train_tokenizer", "--help")
    assert shown.returncode == 0
    for text in ("--preset tiny", "--embeddings", "--training.quantize-from-step", "mlflow ui"):
        assert text in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--output", "x"], "give --corpus or --embeddings"),
        (["--preset", "large", "--output", "x"], "allowed are tiny, quick, published"),
        (["--preset", "tiny", "--output", "x", "--num-workers", "3"], "3 workers"),
        (["--preset", "tiny", "--output", "x", "--training.num-setps", "3"], "num-setps"),
        (["--corpus", "nowhere", "--output", "x"], "nothing to read at"),
        (["--corpus", "scenes:9", "--init", "nowhere", "--output", "x"], "nothing is at"),
    ],
)
def test_bad_settings_are_one_message(check_job, arguments, message, tmp_path):
    shown = check_job(
        "train_tokenizer", *arguments, MLFLOW_TRACKING_URI=f"sqlite:///{tmp_path}/mlflow.db"
    )
    assert shown.returncode == 2
    assert message in shown.stdout + shown.stderr
    assert "Traceback" not in shown.stderr


@pytest.mark.ray
def test_table_and_settings_to_run_again(
    check_job, ray_cluster, small_tokenizer_folder, tmp_path, monkeypatch
):
    flags = ["--corpus", "scenes:64", "--validation-corpus", "scenes:4:val"]
    flags += ["--init", small_tokenizer_folder, "--images-per-window", 8, "--training.num-steps", 2]
    flags += ["--training.num-points", 32, "--tracking.no-enabled"]
    flags += ["--output", tmp_path / "out"]
    shown = check_job("train_tokenizer", *flags)
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert "validation IoU of the best checkpoint" in shown.stdout
    assert (tmp_path / "out" / "tokenizer" / "model.safetensors").is_file()

    monkeypatch.setattr("pipelines.training.tokenizer.connect", lambda: pytest.fail("connected"))
    done = check_job("train_tokenizer", *flags)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "finished before, nothing left to do" in done.stdout

    saved = tmp_path / "out" / "_manifest.json"
    again = check_job("train_tokenizer", "--config", saved, "--num-workers", "3")
    assert again.returncode == 2
    assert "2 micro-batches and the training 3 workers" in again.stdout
