"""The tracking server of infra/mlflow: its files, and a real one with PostgreSQL and a bucket."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import boto3
import compose_spec
import psycopg2
import pytest
import yaml

from pipelines.tracking import RunTracker, TrackingConfig
from tests.two_nodes import free_ports

FOLDER = Path(__file__).parents[2] / "infra/mlflow"
COMPOSE = (FOLDER / "compose.yaml").read_text()
VARIABLE = re.compile(r"\$\{(\w+)(?:(:[-?])([^}]*))?\}")
INITDB = shutil.which("initdb") or next(
    map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))), None
)


def fill_in(text, values):
    """Variables as compose replaces them; KeyError where one is needed and not given."""

    def replace(found):
        name, kind, default = found.groups()
        if values.get(name):
            return values[name]
        if kind != ":-":
            raise KeyError(name)
        return default

    return VARIABLE.sub(replace, text)


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
    account = {"user": "postgres"} if os.geteuid() == 0 else {}
    folder = Path(tempfile.mkdtemp(prefix="samtok-postgres-"))
    password, (port,) = "p" * 24, free_ports(1)
    (folder / "password").write_text(password)
    if account:
        for path in (folder, folder / "password"):
            shutil.chown(path, "postgres")
    data = folder / "data"
    subprocess.run(
        [
            INITDB,
            "-D",
            data,
            "-U",
            "mlflow",
            "--pwfile",
            folder / "password",
            "-A",
            "scram-sha-256",
        ],
        check=True,
        capture_output=True,
        cwd=folder,
        **account,
    )
    options = ["-p", str(port), "-h", "127.0.0.1", "-k", str(folder), "-c", "fsync=off"]
    server = subprocess.Popen(
        [Path(INITDB).with_name("postgres"), "-D", data, *options],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        **account,
    )
    try:
        connect(port, password, "postgres").close()
        with_autocommit = connect(port, password, "postgres")
        with_autocommit.autocommit = True
        with_autocommit.cursor().execute("CREATE DATABASE mlflow")
        with_autocommit.close()
        yield port, password
    finally:
        server.send_signal(signal.SIGQUIT)
        server.wait()
        shutil.rmtree(folder)


def connect(port, password, database):
    deadline = time.monotonic() + 60
    while True:
        try:
            return psycopg2.connect(
                host="127.0.0.1", port=port, user="mlflow", password=password, dbname=database
            )
        except psycopg2.OperationalError:
            assert time.monotonic() < deadline
            time.sleep(0.1)


@pytest.fixture(scope="module")
def server(postgres, s3_bucket, tmp_path_factory):
    """Address of the server that the compose file describes, started without an engine."""
    folder = tmp_path_factory.mktemp("mlflow")
    database_port, password = postgres
    (port,) = free_ports(1)
    values = {
        "DATABASE_PASSWORD": password,
        "ADMIN_PASSWORD": "a" * 24,
        "SESSION_SECRET": "s" * 24,
        "BUCKET": s3_bucket.removeprefix("s3://"),
        "MLFLOW_ALLOWED_HOSTS": f"127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": os.environ["AWS_ACCESS_KEY_ID"],
        "AWS_SECRET_ACCESS_KEY": os.environ["AWS_SECRET_ACCESS_KEY"],
        "MLFLOW_S3_ENDPOINT_URL": os.environ["AWS_ENDPOINT_URL"],
    }
    described = yaml.safe_load(fill_in(COMPOSE, values))["services"]["mlflow"]
    here = f"@127.0.0.1:{database_port}/"
    auth = (FOLDER / "kubernetes/basic_auth.ini").read_text().replace("@postgres/", here)
    (folder / "basic_auth.ini").write_text(auth)
    moved = {"--host=0.0.0.0": "--host=127.0.0.1", "--port=5000": f"--port={port}"}
    flags = [moved.get(f, f).replace("@postgres/", here) for f in described["command"]]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", "--workers=1", *flags],
            env={
                **os.environ,
                **described["environment"],
                "MLFLOW_AUTH_CONFIG_PATH": str(folder / "basic_auth.ini"),
                "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "0",
            },
            cwd=folder,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 240
        while not is_healthy(address):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.3)
        yield address
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def is_healthy(address):
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


def test_a_stranger_gets_nothing(server):
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"{server}/api/2.0/mlflow/experiments/get?experiment_id=0")


def test_a_run_lands_in_postgresql_and_its_artifacts_in_the_bucket(
    server, postgres, s3_bucket, monkeypatch
):
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "a" * 24)
    with RunTracker.open(TrackingConfig(uri=server, run_name="tried")) as run:
        run.log_metrics({"loss": 0.25}, step=7)
        run.log_text("note.txt", "kept")
        run.finish()
    database = connect(*postgres, "mlflow")
    cursor = database.cursor()
    cursor.execute("SELECT key, value, step FROM metrics")
    assert ("loss", 0.25, 7) in cursor.fetchall()
    cursor.execute("SELECT name, status FROM runs")
    assert cursor.fetchall() == [("tried", "FINISHED")]
    database.close()
    bucket = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    kept = bucket.list_objects_v2(Bucket=s3_bucket.removeprefix("s3://"), Prefix="mlflow/")
    assert any(entry["Key"].endswith("/note.txt") for entry in kept["Contents"])
