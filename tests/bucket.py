"""An S3 endpoint on this machine."""

import os
from contextlib import contextmanager

import boto3
from moto.server import ThreadedMotoServer


@contextmanager
def serve_bucket():
    """Address of an empty bucket; endpoint and keys are in the environment meanwhile."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    settings = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    before = {key: os.environ.get(key) for key in settings}
    os.environ.update(settings)
    boto3.client("s3").create_bucket(Bucket="samtok")
    yield "s3://samtok"
    for key, value in before.items():
        if value is None:
            del os.environ[key]
        else:
            os.environ[key] = value
    server.stop()
