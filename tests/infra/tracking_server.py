"""The tracking server of infra/mlflow on this machine: PostgreSQL, a bucket and MLflow.

python -m tests.infra.tracking_server   # until Ctrl-C, to look at it in a browser
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psycopg2
import yaml

from tests.bucket import serve_bucket
from tests.mlflow_process import kill_mlflow, start_mlflow
from tests.two_nodes import free_ports

FOLDER = Path(__file__).parents[2] / "infra/mlflow"
COMPOSE = (FOLDER / "compose.yaml").read_text()
VARIABLE = re.compile(r"\$\{(\w+)(?:(:[-?])([^}]*))?\}")
INITDB = shutil.which("initdb") or next(
    map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))), None
)
ADMIN_PASSWORD = "a" * 24
SIGN_IN = {"http_credentials": {"username": "admin", "password": ADMIN_PASSWORD}}
"""Of a page in a browser."""


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


@contextlib.contextmanager
def run_postgres():
    """Port and password of a PostgreSQL of its own, with a database for MLflow."""
    account = {"user": "postgres"} if os.geteuid() == 0 else {}
    folder = Path(tempfile.mkdtemp(prefix="samtok-postgres-"))
    password, (port,) = "p" * 24, free_ports(1)
    (folder / "password").write_text(password)
    if account:
        for path in (folder, folder / "password"):
            shutil.chown(path, "postgres")
    data = folder / "data"
    flags = ["-U", "mlflow", "--pwfile", folder / "password", "-A", "scram-sha-256"]
    subprocess.run(
        [INITDB, "-D", data, *flags], check=True, capture_output=True, cwd=folder, **account
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
        with_autocommit = connect_database(port, password, "postgres")
        with_autocommit.autocommit = True
        with_autocommit.cursor().execute("CREATE DATABASE mlflow")
        with_autocommit.close()
        yield port, password
    finally:
        server.send_signal(signal.SIGQUIT)
        server.wait()
        shutil.rmtree(folder)


def connect_database(port, password, database):
    """A connection, as soon as the database takes any."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return psycopg2.connect(
                host="127.0.0.1", port=port, user="mlflow", password=password, dbname=database
            )
        except psycopg2.OperationalError:
            assert time.monotonic() < deadline
            time.sleep(0.1)


@contextlib.contextmanager
def run_server(database_port, password, bucket):
    """Address of the server that the compose file describes, started without an engine."""
    folder = Path(tempfile.mkdtemp(prefix="samtok-mlflow-"))
    (port,) = free_ports(1)
    values = {
        "DATABASE_PASSWORD": password,
        "ADMIN_PASSWORD": ADMIN_PASSWORD,
        "SESSION_SECRET": "s" * 24,
        "BUCKET": bucket.removeprefix("s3://"),
        "MLFLOW_ALLOWED_HOSTS": f"127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": os.environ["AWS_ACCESS_KEY_ID"],
        "AWS_SECRET_ACCESS_KEY": os.environ["AWS_SECRET_ACCESS_KEY"],
        "MLFLOW_S3_ENDPOINT_URL": os.environ["AWS_ENDPOINT_URL"],
    }
    described = yaml.safe_load(fill_in(COMPOSE, values))["services"]["mlflow"]
    here = f"@127.0.0.1:{database_port}/"
    auth = (FOLDER / "kubernetes/basic_auth.ini").read_text().replace("@postgres/", here)
    (folder / "basic_auth.ini").write_text(auth)
    moved = {"--host=0.0.0.0": "--host=127.0.0.1"}
    flags = [moved.get(f, f).replace("@postgres/", here) for f in described["command"]]
    flags.remove("--port=5000")
    settings = {
        **described["environment"],
        "MLFLOW_AUTH_CONFIG_PATH": str(folder / "basic_auth.ini"),
    }
    process = start_mlflow(folder, port, flags, settings)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        kill_mlflow(process)
        shutil.rmtree(folder)


if __name__ == "__main__":
    with (
        serve_bucket() as bucket,
        run_postgres() as postgres,
        run_server(*postgres, bucket) as address,
        contextlib.suppress(KeyboardInterrupt),
    ):
        sys.stdout.write(
            f"export MLFLOW_TRACKING_URI={address} MLFLOW_TRACKING_USERNAME=admin "
            f"MLFLOW_TRACKING_PASSWORD={ADMIN_PASSWORD}\n"
        )
        sys.stdout.flush()
        signal.pause()
