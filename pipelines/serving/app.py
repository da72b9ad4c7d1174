"""The service as Ray Serve's own tools start it, from a config file or by hand.

serve deploy infra/serve/service.yaml
serve run pipelines.serving.app:build tokenizer=tiny host=127.0.0.1
"""

from __future__ import annotations

from typing import Any

import tyro
from ray import serve

from pipelines.config_file import to_flags
from pipelines.serving.access import check_exposure, read_key_digests
from pipelines.serving.run import ServeModelConfig, find_sources, make_application
from samtok.errors import ConfigError


def build(args: dict[str, Any]) -> serve.Application:
    """The application.

    Args:
        args: settings of jobs/serve_model.py by their names, nested. Where the service listens is
            said by Serve's own http_options; `host` here only tells that it is this machine's
            own address, without which `api_keys` are asked for.

    Raises:
        ConfigError: a setting is unknown or out of range, or there are no keys.
    """
    try:
        config = tyro.cli(ServeModelConfig, args=list(to_flags({"host": "0.0.0.0", **args})))
    except SystemExit:
        raise ConfigError(
            f"the settings {sorted(args)} cannot be used; the message above says which is wrong"
        ) from None
    key_digests = read_key_digests(config.api_keys) if config.api_keys else ()
    check_exposure(config.host, key_digests)
    return make_application(config, find_sources(config), key_digests)
