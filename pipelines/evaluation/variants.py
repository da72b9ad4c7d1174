"""What is compared in an evaluation: a model, the same without its eyes, other models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A model, and what it is shown."""

    name: str
    """For tables and figures."""
    model: str
    """As for `samtok.mllm.load_mllm`."""
    blank_image: bool = False
    """It is shown an even grey in place of the image: what it says then comes from language."""


def list_variants(model: str, *, blank_image: bool, compare_with: Sequence[str]) -> list[Variant]:
    """The model first, then what stands beside it.

    Args:
        model: to be evaluated.
        blank_image: also without an image.
        compare_with: other models.
    """
    variants = [Variant(name="model", model=model)]
    if blank_image:
        variants.append(Variant(name="image blanked", model=model, blank_image=True))
    return [*variants, *(Variant(name=other, model=other) for other in compare_with)]
