"""Who may call: API keys, or nobody but this machine."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Sequence

from pipelines.serving.errors import ApiError
from pipelines.storage import Place
from samtok.errors import ConfigError

_MIN_KEY_CHARACTERS = 16


def read_key_digests(location: str) -> tuple[str, ...]:
    """Digests of the keys in a file: one a line, blank lines and those that begin with # left out.

    Args:
        location: of the file, local or ``s3://``.

    Returns:
        sha256 of each key, in hexadecimal: what the service keeps instead of keys.

    Raises:
        ConfigError: the file cannot be read, is empty, or a key is short.
    """
    place, name = Place.at_file(location)
    try:
        lines = place.read_bytes(name).decode("ascii").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--api-keys {location} cannot be read as ASCII text: {error}") from error
    keys = [key for line in lines if (key := line.strip()) and not key.startswith("#")]
    if not keys:
        raise ConfigError(f"--api-keys {location} holds no key; write one a line")
    for number, key in enumerate(keys, start=1):
        if len(key) < _MIN_KEY_CHARACTERS:
            raise ConfigError(
                f"--api-keys {location}: key {number} has {len(key)} characters; "
                f"{_MIN_KEY_CHARACTERS} are the least, e.g. of `openssl rand -hex 24`"
            )
    return tuple(_digest(key) for key in keys)


def check_exposure(host: str, key_digests: Sequence[str]) -> None:
    """Refuse to serve other machines without keys.

    Raises:
        ConfigError: `host` is no loopback address and there are no keys.
    """
    if not key_digests and not _is_loopback(host):
        raise ConfigError(
            f"--host is {host}, which other machines reach, and there are no keys; "
            "pass --api-keys FILE, or serve on 127.0.0.1"
        )


def identify_client(
    authorization: str | None, address: str | None, key_digests: Sequence[str]
) -> str:
    """Name the client of a request, or turn it away.

    Args:
        authorization: the header, ``Bearer KEY``.
        address: of the client, where known.
        key_digests: of the keys that are let in; empty lets in everybody.

    Returns:
        What its calls are counted under: the first characters of its key's digest, or its address.

    Raises:
        ApiError: 401, no key or a wrong one.
    """
    if not key_digests:
        return address or "unknown"
    scheme, _, key = (authorization or "").partition(" ")
    presented = _digest(key.strip())
    # Every digest is compared, each in constant time, so that timing tells nothing.
    matches = [hmac.compare_digest(presented, known) for known in key_digests]
    if scheme.lower() != "bearer" or not any(matches):
        raise ApiError(
            401,
            "authentication_error",
            "invalid_api_key",
            "a valid key is needed: send the header 'Authorization: Bearer KEY'",
        )
    return f"key:{presented[:16]}"


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
