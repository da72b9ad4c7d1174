"""What Serve's own tools build."""

from pathlib import Path

import pytest
import yaml
from ray.serve.schema import ServeDeploySchema

from pipelines.serving.app import build
from pipelines.tracking import TrackingConfig, check_tracking, connect_client
from samtok.errors import ConfigError
from tests.conftest import ROOT

KEY = "a-key-of-sixteen-or-more"


@pytest.fixture
def keys(tmp_path):
    path = tmp_path / "keys.txt"
    path.write_text(KEY)
    return str(path)


def options(application, name):
    """Options of a deployment of a bound application, wherever it is among the arguments."""
    found = [application, *application._bound_deployment.init_args]
    bound = [a._bound_deployment for a in found if hasattr(a, "_bound_deployment")]
    (deployment,) = [d for d in bound if d.name == name]
    return deployment


def arguments(application, name):
    """What a replica of a deployment is built with."""
    return options(application, name).init_args


def test_the_config_file_is_one_of_serve_and_its_settings_are_ours(keys):
    content = yaml.safe_load(Path(ROOT / "infra/serve/service.yaml").read_text())
    schema = ServeDeploySchema.model_validate(content)
    (application,) = schema.applications
    module, _, function = application.import_path.partition(":")
    assert (module, function) == (build.__module__, build.__name__)
    built = build({**application.args, "api_keys": keys})
    scaling = options(built, "tokenizer")._deployment_config.autoscaling_config
    assert (scaling.min_replicas, scaling.max_replicas) == (1, 4)


def test_settings_of_the_command_line_are_texts(keys):
    built = build({"num_replicas": "2", "api_keys": keys, "limits": {"max_masks": 3}})
    assert options(built, "tokenizer").num_replicas == 2
    settings, *_ = built._bound_deployment.init_args
    assert settings.limits.max_masks == 3


def test_a_registered_tokenizer_is_found_at_each_deployment(keys, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/runs.db")
    client = connect_client(check_tracking(TrackingConfig()))
    client.create_registered_model("tok")
    places = ["s3://bucket/old", "s3://bucket/new"]
    for place in places:
        client.create_model_version("tok", place, await_creation_for=0)
    found = []
    for version in "12":
        client.set_registered_model_alias("tok", "champion", version)
        built = build({"tokenizer": "models:/tok@champion", "api_keys": keys})
        found.append(arguments(built, "tokenizer")[0])
        settings, *_ = built._bound_deployment.init_args
        assert settings.model_id == "models:/tok@champion"
    assert [settings.source for settings in found] == places


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({}, "pass --api-keys FILE"),
        ({"no_such": 1}, "no_such"),
        ({"max_replicas": 1, "num_replicas": 2, "host": "127.0.0.1"}, "max-replicas is 1"),
    ],
)
def test_what_cannot_be_used_is_named(args, message):
    with pytest.raises(ConfigError, match=message):
        build(args)


@pytest.mark.parametrize(
    ("settings", "model"),
    [
        ({}, "tiny-chat"),
        ({"model": "none"}, None),
        ({"model": "out/model"}, "out/model"),
        ({"tokenizer": "out/tokenizer"}, None),
        ({"tokenizer": "out/tokenizer", "model": "out/model"}, "out/model"),
    ],
)
def test_the_packaged_model_talks_beside_the_packaged_tokenizer(settings, model):
    application = build({**settings, "host": "127.0.0.1"})
    api, *bound = application._bound_deployment.init_args
    assert api.chat_model_id == model
    assert [a._bound_deployment.name for a in bound if a is not None] == (
        ["tokenizer"] if model is None else ["tokenizer", "chat"]
    )
