"""The command: what people type, and what it says back."""

import pytest


def test_help_teaches(check_job):
    shown = check_job("train_sft", "--help")
    assert shown.returncode == 0
    for text in ("--preset lora", "build_dialogues", "--training.lora-rank", "mlflow ui"):
        assert text in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--output", "x"], "--conversations"),
        (["--conversations", "c", "--output", "x"], "--model"),
        (["--preset", "large", "--output", "x"], "allowed are tiny, lora, full"),
        (["--model", "m", "--conversations", "nowhere", "--output", "x"], "nothing to read at"),
        (
            ["--model", "m", "--conversations", "c", "--output", "x", "--num-workers", "3"],
            "3 workers",
        ),
    ],
)
def test_bad_settings_are_one_message(check_job, arguments, message, tmp_path):
    shown = check_job(
        "train_sft", *arguments, MLFLOW_TRACKING_URI=f"sqlite:///{tmp_path}/mlflow.db"
    )
    assert shown.returncode == 2
    assert message in shown.stdout + shown.stderr
    assert "Traceback" not in shown.stderr
