"""Registered models found by alias and by version, in a local store."""

from pathlib import Path

import pytest

from pipelines.model_registry import find_registered
from pipelines.tracking import RunTracker, TrackingConfig, check_tracking, connect_client
from samtok.errors import ConfigError
from samtok.tokenizer import SAMTok


@pytest.fixture(scope="module")
def store(tmp_path_factory, small_tokenizer_folder):
    """Versions 1 (in a run) and 2 (in a bucket) of a model; its settings."""
    folder = tmp_path_factory.mktemp("store")
    config = check_tracking(TrackingConfig(uri=f"sqlite:///{folder}/runs.db"))
    with RunTracker.open(config) as tracker:
        assert tracker.register_model("tok", small_tokenizer_folder, alias="champion") == 1
        assert tracker.register_model("tok", "s3://bucket/tok", alias="next") == 2
    return config


@pytest.fixture(autouse=True)
def environment(store, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.uri)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


@pytest.mark.parametrize("name", ["models:/tok@champion", "models:/tok/1"])
def test_files_of_a_run_are_brought_here_once(name, small_tokenizer_folder):
    expected = SAMTok.from_pretrained(small_tokenizer_folder, device="cpu").fingerprint
    folder = find_registered(name)
    assert SAMTok.from_pretrained(folder, device="cpu").fingerprint == expected
    (Path(folder) / "mark").touch()
    assert find_registered(name) == folder
    assert (Path(folder) / "mark").exists()


def test_an_alias_that_moves_is_followed(store):
    assert find_registered("models:/tok@next") == "s3://bucket/tok"
    connect_client(store).set_registered_model_alias("tok", "moving", "2")
    before = find_registered("models:/tok@moving")
    connect_client(store).set_registered_model_alias("tok", "moving", "1")
    assert find_registered("models:/tok@moving") == find_registered("models:/tok/1") != before


@pytest.mark.parametrize("source", ["tiny", "s3://bucket/x", "owner/name", "/a/folder"])
def test_other_sources_are_left_alone(source):
    assert find_registered(source) == source


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("models:/tok", "neither models:/NAME@ALIAS nor models:/NAME/VERSION"),
        ("models:/tok@", "neither"),
        ("models:/tok@nobody", "nobody"),
        ("models:/tok/7", "7"),
        ("models:/other@champion", "other"),
    ],
)
def test_what_is_not_there_is_named(source, message):
    with pytest.raises(ConfigError, match=message):
        find_registered(source)
