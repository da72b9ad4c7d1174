"""Bodies of requests and answers; the OpenAPI document is made of these texts."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

MaskFormat = Literal["rle", "polygons", "png"]

Image = Annotated[
    str,
    Field(
        description="A JPEG, PNG or WebP file in base64, bare or as a data URL; or its address, if "
        "the service fetches from there. Orientation tags are not applied: masks fit the stored "
        "pixels.",
        min_length=1,
    ),
]
Side = Annotated[int, Field(ge=1, le=1 << 15, strict=True)]
_Pixels = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Box = tuple[_Pixels, _Pixels, _Pixels, _Pixels]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class RleMask(_Body):
    """COCO's run-length code."""

    size: tuple[Side, Side] = Field(description="[height, width] of the mask, pixels.")
    counts: str | list[Annotated[int, Field(ge=0, strict=True)]] = Field(
        description="Run lengths, column by column, background first: a list, or COCO's text."
    )


class Mask(_Body):
    """One mask, in one of three forms."""

    rle: RleMask | None = None
    polygons: list[list[float]] | None = Field(
        default=None, description="COCO polygons: flat lists [x, y, x, y, …] in pixels, united."
    )
    png: str | None = Field(
        default=None,
        description="A PNG in base64, bare or as a data URL; pixels 0, and 1 or 255 inside.",
    )

    @model_validator(mode="after")
    def _has_one_form(self) -> Mask:
        forms = ("rle", "polygons", "png")
        if sum(getattr(self, form) is not None for form in forms) != 1:
            raise ValueError("a mask has exactly one of rle, polygons and png")
        return self


class Point(_Body):
    """A click on the image."""

    x: float = Field(ge=0, allow_inf_nan=False, description="Pixels from the left edge.")
    y: float = Field(ge=0, allow_inf_nan=False, description="Pixels from the top edge.")
    inside: bool = Field(default=True, description="Whether the region has it, or leaves it out.")


class EncodeRequest(_Body):
    """Regions to be turned into words: masks, boxes or points."""

    image: Image
    masks: list[Mask] | None = Field(
        default=None,
        min_length=1,
        description="At the image's size, each with a pixel or more inside.",
    )
    boxes: list[Box] | None = Field(
        default=None,
        min_length=1,
        description="Each around one thing: x0, y0, x1, y1 in pixels, the last pixel inside. The "
        "tokenizer finds a mask in it first.",
    )
    points: list[Annotated[list[Point], Field(min_length=1)]] | None = Field(
        default=None,
        min_length=1,
        description="Each a list of clicks on one thing, one or more of them inside. The tokenizer "
        "finds a mask there first.",
    )
    reconstruct: bool = Field(
        default=False, description="Decode the words again and give the overlap with the mask."
    )
    format: MaskFormat = Field(default="rle", description="Of the masks that are found.")

    @model_validator(mode="after")
    def _has_one_kind(self) -> EncodeRequest:
        if sum(kind is not None for kind in (self.masks, self.boxes, self.points)) != 1:
            raise ValueError("give exactly one of masks, boxes and points")
        return self


class MaskWords(_Body):
    """One mask as words."""

    words: str = Field(description="Text for a language model's prompt.")
    codes: tuple[int, int] = Field(description="Per-book codes, 0..255.")
    box: tuple[int, int, int, int] = Field(
        description="x0, y0, x1, y1 in pixels; x1, y1 is the last pixel inside."
    )
    area: int = Field(description="Pixels inside.")
    collides: bool = Field(description="Another mask of this call has the same two words.")
    reconstruction_iou: float | None = Field(description="0..1, where asked for.")
    mask: Mask | None = Field(
        default=None,
        description="What was found in a box or at points; null for masks that were sent.",
    )


class ImageFacts(_Body):
    """The image of a call."""

    sha256: str = Field(description="Of the file, in hexadecimal.")
    height: int
    width: int


class EncodeResponse(_Body):
    """Words of masks, in the order of the request."""

    image: ImageFacts
    tokenizer: str = Field(description="Fingerprint of the tokenizer that made the words.")
    masks: list[MaskWords]


class DecodeRequest(_Body):
    """Words to be turned into masks."""

    image: Image
    words: list[str] | None = Field(
        default=None, min_length=1, description="One mask each, as /v1/encode gives them."
    )
    text: str | None = Field(
        default=None,
        description="Anything a model wrote; every mask in it is found, damaged ones too.",
    )
    size: tuple[Side, Side] | None = Field(
        default=None, description="[height, width] of the masks; the image's own where not given."
    )
    format: MaskFormat = "rle"

    @model_validator(mode="after")
    def _has_one_source(self) -> DecodeRequest:
        if (self.words is None) == (self.text is None):
            raise ValueError("give either words or text")
        return self


class DecodedMask(_Body):
    """One place where a mask was begun, and its mask where it could be read."""

    start: int = Field(
        description="Position of its first character in text, or in its entry of words."
    )
    end: int = Field(description="Position after its last character.")
    status: Literal["well_formed", "repaired", "rejected"]
    defects: list[str] = Field(description="What was wrong with the words.")
    codes: tuple[int, int] | None = Field(
        description="Per-book codes, 0..255; the second is -1 where missing; null when rejected."
    )
    mask: Mask | None = Field(description="In the format asked for; null when rejected.")
    box: tuple[int, int, int, int] | None = Field(
        description="x0, y0, x1, y1 in pixels of the mask; null where no pixel is inside."
    )
    area: int | None = Field(description="Pixels inside; null when rejected.")
    confidence: float | None = Field(
        description="0..1: overlap of the mask with the probabilities it was cut from. It ranks "
        "masks; it is no probability of being right. Null when rejected."
    )


class DecodeResponse(_Body):
    """Masks of words, in the order of the request."""

    image: ImageFacts
    tokenizer: str = Field(description="Fingerprint of the tokenizer that made the masks.")
    masks: list[DecodedMask]


class TextPart(_Body):
    """Plain text; mask words in it are read by the model."""

    type: Literal["text"]
    text: str


class ImageUrl(_Body):
    """Where an image is."""

    url: Image
    detail: Literal["auto", "low", "high"] = Field(
        default="auto", description="Without effect: the model sees what its processor makes."
    )


class ImagePart(_Body):
    """The image that the conversation is about."""

    type: Literal["image_url"]
    image_url: ImageUrl


class MaskPart(_Body):
    """A region of the image; its words take its place in the text."""

    type: Literal["mask"]
    mask: Mask


class SystemMessage(_Body):
    """What holds for the whole conversation; the first message, or none."""

    role: Literal["system", "developer"]
    content: str | list[TextPart]


class UserMessage(_Body):
    """What the user says."""

    role: Literal["user"]
    content: str | list[Annotated[TextPart | ImagePart | MaskPart, Field(discriminator="type")]] = (
        Field(description="Parts are joined without anything between them.")
    )
    name: str | None = Field(default=None, description="Without effect.")


class AssistantMessage(_Body):
    """What the model said before, as it was answered."""

    role: Literal["assistant"]
    content: str | list[TextPart]
    masks: list[Any] | None = Field(default=None, description="Of that answer; without effect.")
    refusal: None = None


ChatMessage = Annotated[SystemMessage | UserMessage | AssistantMessage, Field(discriminator="role")]


class StreamOptions(_Body):
    """How an answer is streamed."""

    include_usage: bool = Field(
        default=False, description="Send one more chunk, without choices, that has the usage."
    )


_Stop = Annotated[str, Field(min_length=1)]


class ChatRequest(_Body):
    """A conversation about one image, whose last message is the user's."""

    model: str = Field(description="As /v1/models names it.")
    messages: list[ChatMessage] = Field(
        min_length=1,
        description="User and assistant in turn, after at most one system message. One image, in "
        "any message of the user.",
    )
    max_tokens: int | None = Field(
        default=None, ge=1, description="Most tokens of the answer; the service has a limit too."
    )
    max_completion_tokens: int | None = Field(
        default=None, ge=1, description="The newer name of max_tokens."
    )
    temperature: float = Field(
        default=0.0, ge=0, le=2, description="Of sampling; 0 takes the most likely token each time."
    )
    top_p: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Sampling draws from the smallest set of tokens whose probabilities reach it.",
    )
    seed: int | None = Field(
        default=None,
        ge=0,
        lt=1 << 63,
        description="Of sampling: the same again gives the same answer. Drawn where not given.",
    )
    stop: _Stop | Annotated[list[_Stop], Field(max_length=4)] | None = Field(
        default=None, description="Texts; the answer ends before the first of them."
    )
    stream: bool = Field(default=False, description="Server-sent events, the last one [DONE].")
    stream_options: StreamOptions | None = None
    mask_format: MaskFormat | None = Field(
        default="rle",
        description="Form of the masks beside the answer; null leaves them undecoded, without "
        "box and area.",
    )
    n: Literal[1] = 1
    frequency_penalty: Literal[0] = 0
    presence_penalty: Literal[0] = 0
    logprobs: Literal[False] | None = None
    user: str | None = Field(default=None, description="Without effect.")


class ChatMask(DecodedMask):
    """One place in an answer where a mask was begun; positions count characters of `content`.

    Characters are Unicode code points, as in Python; JavaScript counts some as two.
    """

    label: str | None = Field(
        description="What the answer calls it: the phrase marked before it, or the label beside it."
    )


class Answer(_Body):
    """What the model says."""

    role: Literal["assistant"] = "assistant"
    content: str = Field(description="Mask words stay in it.")
    refusal: None = None
    masks: list[ChatMask] = Field(
        description="In order of the text. Beyond the limits of a call they are named, not decoded."
    )


FinishReason = Literal["stop", "length"]


class Choice(_Body):
    """The answer."""

    index: Literal[0] = 0
    message: Answer
    finish_reason: FinishReason = Field(
        description="stop: the model ended its turn, or a text of `stop` came; length: it had no "
        "more tokens."
    )
    logprobs: None = None


class Usage(_Body):
    """Tokens of a call."""

    prompt_tokens: int = Field(description="Those of the image included.")
    completion_tokens: int
    total_tokens: int


class ChatCompletion(_Body):
    """An answer, whole."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int = Field(description="Seconds of Unix time.")
    model: str
    choices: list[Choice]
    usage: Usage


class Delta(_Body):
    """What is new in an answer; only what a chunk has is sent."""

    role: Literal["assistant"] | None = None
    content: str | None = None
    masks: list[ChatMask] | None = Field(
        default=None, description="Of the whole answer, in the chunk that has the finish_reason."
    )


class ChunkChoice(_Body):
    """What is new in the answer."""

    index: Literal[0] = 0
    delta: Delta
    finish_reason: FinishReason | None = None


class ChatChunk(_Body):
    """One event of a streamed answer."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int = Field(description="Seconds of Unix time.")
    model: str
    choices: list[ChunkChoice]
    usage: Usage | None = None


class Model(_Body):
    """A model behind the service, in the form of OpenAI's list."""

    id: str
    object: Literal["model"] = "model"
    created: int = Field(description="When the service started, in seconds of Unix time.")
    owned_by: str
    fingerprint: str | None = Field(
        description="sha256 of a tokenizer's weights; null for language models."
    )
    mask_tokenizer: str | None = Field(
        default=None,
        description="Fingerprint of the tokenizer whose words a language model has learned.",
    )
    capabilities: list[str] = Field(description="encode and decode, or chat.")


class ModelList(_Body):
    """What is served."""

    object: Literal["list"] = "list"
    data: list[Model]


class ErrorFacts(_Body):
    """What went wrong."""

    type: str
    message: str
    code: str


class ErrorResponse(_Body):
    """Every answer that is not a result."""

    error: ErrorFacts
