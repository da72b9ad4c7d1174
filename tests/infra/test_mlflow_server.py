"""The tracking server of infra/mlflow: its files, and a real one with PostgreSQL and a bucket."""

import dataclasses
import os
import re
import urllib.error
import urllib.request

import boto3
import compose_spec
import pytest
import yaml

from pipelines.tracking import RunTracker, TrackingConfig
from tests.infra.mlflow_screenshots import SCREEN, open_stages
from tests.infra.tracking_server import (
    ADMIN_PASSWORD,
    COMPOSE,
    FOLDER,
    INITDB,
    SIGN_IN,
    VARIABLE,
    connect_database,
    fill_in,
    run_postgres,
    run_server,
)
from tests.pipelines.serving.browsing import open_browser, open_page


def test_compose_file_is_valid_and_a_misspelt_field_would_be_seen():
    compose_spec.PyCompose.from_yaml(COMPOSE)
    with pytest.raises(ValueError, match="imagee"):
        compose_spec.PyCompose.from_yaml(COMPOSE.replace("image: postgres", "imagee: postgres"))


def test_nothing_starts_without_passwords_and_the_example_lists_them():
    needed = {name for name, kind, _ in VARIABLE.findall(COMPOSE) if kind == ":?"}
    assert {"DATABASE_PASSWORD", "ADMIN_PASSWORD", "SESSION_SECRET"} <= needed
    example = (FOLDER / "env.example").read_text()
    assert needed == set(re.findall(r"^(\w+)=$", example, flags=re.MULTILINE))
    with pytest.raises(KeyError):
        fill_in(COMPOSE, {})


def test_ports_are_open_to_this_machine_only():
    for service in yaml.safe_load(COMPOSE)["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))


def test_kubernetes_has_the_same_server():
    (_, deployment) = yaml.safe_load_all((FOLDER / "kubernetes/server.yaml").read_text())
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    ours = yaml.safe_load(COMPOSE)["services"]["mlflow"]["command"]
    flags = [{argument.partition("=")[0] for argument in a} for a in (ours, container["args"])]
    assert flags[0] == flags[1]


@pytest.fixture(scope="module")
def postgres():
    """Port and password of a PostgreSQL of its own; skips where none is installed."""
    if INITDB is None:
        pytest.skip("no PostgreSQL; Debian's package postgresql has it")
    with run_postgres() as server:
        yield server


@pytest.fixture(scope="module")
def server(postgres, s3_bucket):
    """Address of the server that the compose file describes."""
    with run_server(*postgres, s3_bucket) as address:
        yield address


@pytest.fixture
def signed_in(monkeypatch):
    """Whatever this test records is recorded by the administrator."""
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", ADMIN_PASSWORD)


def test_a_stranger_gets_nothing(server):
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"{server}/api/2.0/mlflow/experiments/get?experiment_id=0")


def test_a_run_lands_in_postgresql_and_its_artifacts_in_the_bucket(
    server, postgres, s3_bucket, signed_in
):
    with RunTracker.open(TrackingConfig(uri=server, run_name="tried")) as run:
        run.log_metrics({"loss": 0.25}, step=7)
        run.log_text("note.txt", "kept")
        run.finish()
    database = connect_database(*postgres, "mlflow")
    cursor = database.cursor()
    cursor.execute("SELECT key, value, step FROM metrics")
    assert ("loss", 0.25, 7) in cursor.fetchall()
    cursor.execute("SELECT name, status FROM runs")
    assert ("tried", "FINISHED") in cursor.fetchall()
    database.close()
    bucket = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    kept = bucket.list_objects_v2(Bucket=s3_bucket.removeprefix("s3://"), Prefix="mlflow/")
    assert any(entry["Key"].endswith("/note.txt") for entry in kept["Contents"])


def test_runs_of_all_stages_are_compared_in_a_browser(server, signed_in):
    stages = {"tokenizer": "loss_bce", "sft": "word_loss", "grpo-0": "audit/g_iou"}
    tracking = TrackingConfig(uri=server, run_name="whole method")
    with RunTracker.open(tracking) as whole:
        below = dataclasses.replace(tracking, parent_run_id=whole.run_id)
        for name, metric in stages.items():
            with RunTracker.open(dataclasses.replace(below, run_name=name)) as stage:
                for step in range(3):
                    stage.log_metrics({metric: 0.5 * step}, step=step)
    with open_browser() as browser, open_page(browser, server, **SCREEN, **SIGN_IN) as page:
        open_stages(page, server, whole.run_id)
        for metric in stages.values():
            page.get_by_text(metric, exact=True).first.wait_for()
