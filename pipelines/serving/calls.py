"""What the ingress asks of tokenizer and model, and what comes back: plain values that travel."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Literal, Protocol

from samtok.errors import InputError
from samtok.masks import Rle
from samtok.mllm import GenerationConfig
from samtok.tasks.conversation import Message


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
    """At the image's size, none empty; none at all where there are boxes or points."""
    reconstruct: bool
    """Decode again and compare."""
    boxes: tuple[tuple[int, int, int, int], ...] = ()
    """xyxy pixels within the image, the last pixel inside: a mask is found in each."""
    points: tuple[tuple[tuple[int, int, bool], ...], ...] = ()
    """x, y and whether it is inside, of each point on each thing, pixels within the image: a mask
    is found for each thing."""


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
    """Answer to an `EncodeCall`, one entry per mask, box or list of points."""

    masks: tuple[Rle, ...] = field(repr=False)
    """Those of the call, or those found in its boxes or at its points."""
    codes: tuple[tuple[int, int], ...]
    reconstruction_iou: tuple[float, ...] | None
    served: Served


@dataclass(frozen=True, slots=True)
class Decoded:
    """Answer to a `DecodeCall`, one entry per pair of codes."""

    masks: tuple[Rle, ...] = field(repr=False)
    confidence: tuple[float, ...]
    """0..1, see :func:`samtok.tokenizer.confidence.expected_overlap`."""
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


@dataclass(frozen=True, slots=True)
class ChatCall:
    """A conversation about one image, to be answered."""

    image: SentImage
    messages: tuple[Message, ...] = field(repr=False)
    """The last one is the user's; masks are words."""
    config: GenerationConfig
    stop: tuple[str, ...]
    """The answer ends before the first of these."""


@dataclass(frozen=True, slots=True)
class ChatText:
    """The next piece of an answer, one character or more."""

    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ChatEnd:
    """The last thing of an answer."""

    finish_reason: Literal["stop", "length"]
    prompt_tokens: int
    """The image's included."""
    completion_tokens: int
    mask_tokenizer: str | None
    """Fingerprint of the tokenizer whose words the model has learned, where it is known."""


ChatEvent = ChatText | ChatEnd | Refused
"""Pieces of text and an end, or a refusal alone."""


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What a service says of the language model behind it."""

    source: str
    """As it was configured."""
    mask_tokenizer: str | None
    """As in `ChatEnd`."""


class ChatModel(Protocol):
    """What the routes need of a language model."""

    def stream(self, call: ChatCall) -> AsyncGenerator[ChatEvent]:
        """The answer as it is written; closing the generator ends the work."""

    async def facts(self) -> ModelFacts:
        """Answers when a replica is ready."""
