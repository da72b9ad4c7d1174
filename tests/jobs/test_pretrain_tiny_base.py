"""The command: what people type, and what it says back."""


def test_help_teaches(check_job):
    shown = check_job("pretrain_tiny_base", "--help")
    assert shown.returncode == 0
    for text in ("load_mllm", "--training.vision-steps", "--validation-scenes"):
        assert text in shown.stdout


def test_bad_settings_are_one_message(check_job, tmp_path):
    shown = check_job("pretrain_tiny_base", "--output", tmp_path / "out", "--num-workers", "3")
    assert shown.returncode == 2
    assert "3 workers" in shown.stdout + shown.stderr
    assert "Traceback" not in shown.stderr
