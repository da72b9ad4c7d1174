"""Bodies of requests and answers; the OpenAPI document is made of these texts."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

MaskFormat = Literal["rle", "polygons", "png"]

Image = Annotated[
    str,
    Field(
        description="A JPEG, PNG or WebP file in base64, bare or as a data URL. Addresses are not "
        "fetched. Orientation tags are not applied: masks fit the stored pixels.",
        min_length=1,
    ),
]
Side = Annotated[int, Field(ge=1, le=1 << 15, strict=True)]


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


class EncodeRequest(_Body):
    """Masks to be turned into words."""

    image: Image
    masks: list[Mask] = Field(
        min_length=1, description="At the image's size, each with a pixel or more inside."
    )
    reconstruct: bool = Field(
        default=False, description="Decode the words again and give the overlap with the mask."
    )


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


class DecodeResponse(_Body):
    """Masks of words, in the order of the request."""

    image: ImageFacts
    tokenizer: str = Field(description="Fingerprint of the tokenizer that made the masks.")
    masks: list[DecodedMask]


class Model(_Body):
    """A model behind the service, in the form of OpenAI's list."""

    id: str
    object: Literal["model"] = "model"
    created: int = Field(description="When the service started, in seconds of Unix time.")
    owned_by: str
    fingerprint: str = Field(description="sha256 of its weights.")
    capabilities: list[str]


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
