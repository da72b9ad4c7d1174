"""What the ingress asks of the tokenizer, and what comes back: plain values, made to travel."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from samtok.errors import InputError
from samtok.masks import Rle


@dataclass(frozen=True, slots=True)
class SentImage:
    """An image as a client sent it, its header read and its size within limits."""

    content: bytes = field(repr=False)
    """The file."""
    sha256: str
    """Of the file, in hexadecimal: the image's name in caches and answers."""
    height: int
    width: int


@dataclass(frozen=True, slots=True)
class EncodeCall:
    """Masks of one image, to be turned into codes."""

    image: SentImage
    masks: tuple[Rle, ...] = field(repr=False)
    """At the image's size, none empty."""
    reconstruct: bool
    """Decode again and compare."""


@dataclass(frozen=True, slots=True)
class DecodeCall:
    """Codes on one image, to be turned into masks."""

    image: SentImage
    codes: tuple[tuple[int, int], ...]
    """Each 0..255; a missing second code is -1."""
    size: tuple[int, int] | None
    """(height, width) of the masks; the image's own where not given."""


Call = EncodeCall | DecodeCall


@dataclass(frozen=True, slots=True)
class Served:
    """How a call was dealt with, for the figures."""

    fingerprint: str
    """Of the tokenizer that did it: replicas differ during an update."""
    cache_hit: bool
    """No backbone pass was needed for it."""
    batch_size: int
    """Calls that were taken together."""
    waited_seconds: float = 0.0
    """Between arrival at the replica and the start of its batch."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """Answer to an `EncodeCall`, one entry per mask."""

    codes: tuple[tuple[int, int], ...]
    reconstruction_iou: tuple[float, ...] | None
    served: Served


@dataclass(frozen=True, slots=True)
class Decoded:
    """Answer to a `DecodeCall`, one entry per pair of codes."""

    masks: tuple[Rle, ...] = field(repr=False)
    served: Served


@dataclass(frozen=True, slots=True)
class Refused:
    """Answer to a call whose image or masks cannot be used; travels where exceptions do not."""

    reason: str
    detail: str

    @staticmethod
    def of(error: InputError) -> Refused:
        """The same, as a value."""
        return Refused(error.reason, error.detail)


@dataclass(frozen=True, slots=True)
class TokenizerFacts:
    """What a service says of the tokenizer behind it."""

    source: str
    """As it was configured."""
    fingerprint: str
    """sha256 of its weights."""


class Tokenizer(Protocol):
    """What the routes need: on Ray a handle to replicas, in tests an engine in this process."""

    async def encode(self, call: EncodeCall) -> Encoded | Refused:
        """Codes of masks."""

    async def decode(self, call: DecodeCall) -> Decoded | Refused:
        """Masks of codes."""

    async def facts(self) -> TokenizerFacts:
        """Answers when a replica is ready."""
