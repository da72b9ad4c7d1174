r"""Serve a tokenizer and a language model over HTTP, on a Ray cluster.

Examples:
    python jobs/serve_model.py
    python jobs/serve_model.py --tokenizer out/tokenizer --host 0.0.0.0 --api-keys keys.txt \
        --num-replicas 4 --gpus-per-replica 1 --cache-mib 4096
    python jobs/serve_model.py --model out/sft/model --chat.gpus-per-replica 1
    curl -s localhost:8000/v1/encode -H 'Content-Type: application/json' -d "{\"image\":
        \"$(base64 -w0 photo.png)\", \"masks\": [{\"polygons\": [[10, 10, 60, 10, 60, 40]]}]}"

POST /v1/encode: an image and masks (COCO RLE, polygons or PNG) to two words each. POST /v1/decode:
an image and words, or a text with words in it, to masks. POST /v1/chat/completions: a conversation
about an image, in OpenAI's form, to a text with its masks, streamed or whole. GET /v1/models,
/healthz, /readyz, /metrics (Prometheus) and /openapi.json, which describes all of it. Without flags
it serves the packaged tokenizer and language model, which know scenes; nothing is fetched.
Requests for one image share one backbone pass, also with later ones while it is in the cache.
Limits are per request (--limits.…) and, for calls per minute and pending calls, per replica of the
ingress, of which there is one.
Runs until SIGINT or SIGTERM. Exit status: 0 stopped, 2 the settings or the tokenizer cannot be
used, 1 anything else.
"""

from __future__ import annotations

import sys

from rich.console import Console

from pipelines.job import Outcome, run_job
from pipelines.serving.run import ServeModelConfig, run_service


def run(config: ServeModelConfig) -> Outcome:
    """The job: says where it answers, and stays."""
    console = Console()
    run_service(
        config, announce=lambda address: console.print(f"serving: {address}", highlight=False)
    )
    return Outcome(["stopped"])


def main() -> int:
    """The command; returns its exit status."""
    return run_job(ServeModelConfig, run, description=__doc__)


if __name__ == "__main__":
    sys.exit(main())
