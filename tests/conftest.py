"""What all tests share: one local Ray cluster, a small tokenizer, and the optional real data."""

import os
import socket
from pathlib import Path

import pytest

from tests.bucket import serve_bucket

ROOT = Path(__file__).parents[1]

os.environ.setdefault("RAY_AUTH_MODE", "disabled")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
# Ray gives its workers niceness 15, and they would starve beside the tests of another process.
os.environ.setdefault("RAY_worker_niceness", "0")
# Seconds that Serve's proxy may take to start; the default of 5 is too few on a busy machine.
os.environ.setdefault("RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S", "60")


@pytest.fixture(scope="session")
def shared_data():
    """Folder of real photographs and broken files; skips where it is absent."""
    folder = Path(os.environ.get("SAMTOK_SHARED_DIR", ROOT / ".." / "shared")) / "data"
    if not folder.is_dir():
        pytest.skip(f"no shared data at {folder}; set SAMTOK_SHARED_DIR")
    return folder.resolve()


@pytest.fixture(scope="session")
def ray_cluster(s3_bucket):
    """Address of one Ray cluster for the whole session; this process is connected to it.

    It starts after the bucket, so that its workers know the endpoint.
    """
    import ray

    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(p for p in paths if p)  # workers import from here
    context = ray.init(address="local", num_cpus=4, include_dashboard=False)
    yield context.address_info["gcs_address"]
    ray.shutdown()


@pytest.fixture(scope="session")
def serve_port(ray_cluster):
    """Port of the services of the session: a cluster keeps the address of its first service."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def small_tokenizer_folder(tmp_path_factory):
    """A tokenizer of random weights that takes milliseconds per image."""
    from samtok import SAMTok
    from tests.small_tokenizer import SMALL_SHAPE

    tokenizer = SAMTok.from_config(SMALL_SHAPE, device="cpu")
    return tokenizer.save_pretrained(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="session")
def s3_bucket():
    """Address of a bucket on an S3 endpoint on this machine; set in the environment of all."""
    with serve_bucket() as address:
        yield address
