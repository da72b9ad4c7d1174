"""What Serve's own tools build."""

from pathlib import Path

import pytest
import yaml
from ray.serve.schema import ServeDeploySchema

from pipelines.serving.app import build
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
