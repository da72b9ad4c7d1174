"""Images at addresses that a request names: fetched from allowed origins alone, or not at all.

Names are looked up once, and the connection goes to the very addresses that were checked.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from pipelines.serving.errors import ApiError, refuse
from pipelines.serving.limits import Limits
from samtok.errors import ConfigError

_MAX_REDIRECTS: Final = 3
_CHUNK_BYTES: Final = 1 << 16
_REDIRECTS: Final = (301, 302, 303, 307, 308)
_WRAPPED: Final = tuple(map(ipaddress.IPv6Network, ("64:ff9b::/96", "2002::/16")))
"""IPv6 addresses that hold one of IPv4 (NAT64 of RFC 6052, 6to4 of RFC 3056), perhaps a private
one."""


def is_address(image: str) -> bool:
    """Whether a request names a place on the web, and is not the image itself."""
    return image[:8].lower().startswith(("http://", "https://"))


def check_origins(origins: tuple[str, ...]) -> None:
    """Refuse settings that allow nothing, or more than an origin.

    Args:
        origins: ``https://images.example.org``, a port behind it where it is not the usual one.

    Raises:
        ConfigError: one is no origin, or the address of a machine in a private network.
    """
    for origin in origins:
        url = _parse(origin)
        if url is None or url != url.origin() or "*" in (url.host or ""):
            raise ConfigError(
                f"--image-origins has {origin!r}; an origin is http:// or https://, a host and, "
                "where it is not the usual one, a port: https://images.example.org; each host is "
                "named by itself"
            )
        if _is_literal(url) and not is_public(url.host or ""):
            raise ConfigError(
                f"--image-origins has {origin}; nothing is fetched from private addresses"
            )


def is_public(address: str) -> bool:
    """Whether an IP address is one of the open internet."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        if any(ip in network for network in _WRAPPED):
            return False
        ip = ip.ipv4_mapped or ip
    return ip.is_global and not ip.is_multicast


class ImageFetcher:
    """Fetches files from the origins that the service was told to allow.

    Args:
        origins: those that :func:`check_origins` lets pass; with none, nothing is fetched.
        limits: of requests.
    """

    def __init__(self, origins: tuple[str, ...], limits: Limits) -> None:
        self._origins = frozenset(URL(origin).origin() for origin in origins)
        self._limits = limits

    async def find(self, image: str) -> str | bytes:
        """The file, where a request names an address of the web; any other text as it is.

        Raises:
            ApiError: as :meth:`fetch` does.
        """
        return await self.fetch(image) if is_address(image) else image

    async def fetch(self, address: str) -> bytes:
        """The file at an address.

        At most three redirects are followed, from allowed origin to allowed origin. Bytes stay as
        they come: what unpacks by itself could not be measured.

        Raises:
            ApiError: ``image_url_refused`` (the origin, or one that it leads to, is not allowed or
                not public), ``image_too_large`` (bytes), ``image_not_fetched`` (it did not come).
        """
        url = self._check(address)
        timeout = aiohttp.ClientTimeout(total=self._limits.max_fetch_seconds)
        try:
            async with aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(resolver=_PublicResolver()),
                timeout=timeout,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"Accept-Encoding": "identity"},
                auto_decompress=False,
            ) as session:
                for _ in range(1 + _MAX_REDIRECTS):
                    async with session.get(url, allow_redirects=False) as answer:
                        if answer.status not in _REDIRECTS:
                            return await self._read(answer)
                        target = URL(answer.headers.get("Location", ""))
                        url = self._check(str(url.join(target)))
        except TimeoutError:
            raise _not_fetched(
                f"it took longer than {self._limits.max_fetch_seconds:g} s"
            ) from None
        except (aiohttp.ClientError, ValueError):  # what their texts tell is of the network inside
            raise _not_fetched("its host could not be reached, or broke off") from None
        raise _not_fetched(f"it is more than {_MAX_REDIRECTS} redirects away")

    def _check(self, address: str) -> URL:
        url = _parse(address)
        if url is None or url.origin() not in self._origins:
            raise refuse(
                "image_url_refused",
                "the image is an address, and nothing is fetched from its origin; send the file in "
                "base64, bare or as a data URL",
            )
        return url

    async def _read(self, answer: aiohttp.ClientResponse) -> bytes:
        if answer.status != 200:
            raise _not_fetched(f"its host answered {answer.status}")
        content = bytearray()
        async for chunk in answer.content.iter_chunked(_CHUNK_BYTES):
            content += chunk
            if len(content) > self._limits.max_fetch_bytes:
                raise refuse(
                    "image_too_large",
                    f"the file at the address is larger than {self._limits.max_fetch_bytes} bytes",
                )
        return bytes(content)


class _PublicResolver(AbstractResolver):
    """Looks names up, and knows only those whose addresses are all public."""

    def __init__(self) -> None:
        self._resolver = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        if not all(is_public(entry["host"].partition("%")[0]) for entry in found):
            raise refuse("image_url_refused", "the address leads into a private network")
        return found

    async def close(self) -> None:
        await self._resolver.close()


def _parse(address: str) -> URL | None:
    """The address, where it is a plain one of the web: nobody's name in it, no parts missing."""
    try:
        url = URL(address)
        url.origin()
    except ValueError:
        return None
    plain = url.scheme in ("http", "https") and url.host and url.user is None is url.password
    return url if plain else None


def _is_literal(url: URL) -> bool:
    try:
        ipaddress.ip_address(url.host or "")
    except ValueError:
        return False
    return True


def _not_fetched(why: str) -> ApiError:
    return refuse("image_not_fetched", f"the image was not fetched: {why}")
