"""The command: what people type, and what it says back."""


def test_help_says_what_it_costs_and_when_it_pays(check_job):
    shown = check_job("embed_corpus", "--help")
    assert shown.returncode == 0
    for text in (
        "8.4 MB",
        "0.20 MB",
        "When it pays",
        "hiera_b+",
        "--tokenizer",
        "--gpus-per-actor",
    ):
        assert text in shown.stdout


def test_dry_run_says_what_it_takes_and_runs_nothing(run_job, tmp_path):
    shown = run_job(
        *("embed_corpus", "--source", "scenes", "--num-images", 7, "--split", "val"),
        *("--output", tmp_path / "out", "--dry-run"),
    )
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert "bytes per image: 196,608" in shown.stdout
    assert "bytes in all, at most: 1,376,256" in shown.stdout
    assert not (tmp_path / "out").exists()


def test_bad_settings_are_one_message(check_job):
    shown = check_job("embed_corpus", "--source", "corpus", "--corpus", "nowhere", "--output", "x")
    assert shown.returncode == 2
    assert "make it with jobs/ingest_corpus.py" in " ".join(shown.stdout.split())
    assert "Traceback" not in shown.stdout + shown.stderr
