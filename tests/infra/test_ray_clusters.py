"""Files for Ray's cluster launcher: Ray itself reads them, and nothing is open by accident."""

import re
from pathlib import Path

import jsonschema
import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

FOLDER = Path(__file__).parents[2] / "infra/ray"
CLUSTERS = [FOLDER / f"{name}.yaml" for name in ("aws", "gcp", "on_premise")]
CLOUDS = [path for path in CLUSTERS if path.stem != "on_premise"]


def load(path):
    return yaml.safe_load(path.read_text())


@pytest.mark.parametrize("path", CLUSTERS, ids=lambda p: p.stem)
def test_ray_accepts_it(path):
    validate_config(prepare_config(load(path)))


def test_ray_refuses_a_misspelt_field():
    config = load(FOLDER / "aws.yaml") | {"max_worker": 3}
    with pytest.raises(jsonschema.ValidationError, match="max_worker"):
        validate_config(prepare_config(config))


@pytest.mark.parametrize("path", CLOUDS, ids=lambda p: p.stem)
def test_workers_come_and_go_as_spot_machines_beside_a_head_that_stays(path):
    config = load(path)
    types = config["available_node_types"]
    head = types.pop(config["head_node_type"])
    assert "spot" not in str(head).lower()
    assert set(types) == {"cpu", "gpu"}
    for worker in types.values():
        assert worker["min_workers"] == 0 < worker["max_workers"]
        assert "spot" in str(worker["node_config"]).lower()


@pytest.mark.parametrize("path", CLUSTERS, ids=lambda p: p.stem)
def test_nothing_answers_without_the_token(path):
    config = load(path)
    assert "--env RAY_AUTH_MODE=token" in config["docker"]["run_options"]
    token = next(o for o in config["docker"]["run_options"] if "RAY_AUTH_TOKEN_PATH" in o)
    assert token.partition("PATH=")[2] in config["file_mounts"]
    start = next(c for c in config["head_start_ray_commands"] if "--head" in c)
    assert re.search(r"--dashboard-host=127\.0\.0\.1\b", start)
    assert "0.0.0.0/0" not in path.read_text()


@pytest.mark.parametrize("path", CLOUDS, ids=lambda p: p.stem)
def test_no_node_of_a_cloud_has_a_public_address(path):
    config = load(path)
    assert config["provider"]["use_internal_ips"] is True
    for node in config["available_node_types"].values():
        for interface in node["node_config"].get("networkInterfaces", ()):
            assert "accessConfigs" not in interface


def test_ray_makes_no_security_group_on_aws():
    """Its own lets all addresses try ssh, whatever rules are given (Ray 2.60)."""
    from ray.autoscaler._private.aws.config import _create_default_inbound_rules

    assert "0.0.0.0/0" in str(_create_default_inbound_rules({"sg-1"}))
    config = load(FOLDER / "aws.yaml")
    assert "security_group" not in config["provider"]
    for node in config["available_node_types"].values():
        assert node["node_config"]["SecurityGroupIds"]
