"""The model card beside a saved model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from samtok.words import MASK_END, MASK_START

_HEAD: Final = """\
---
library_name: transformers
pipeline_tag: image-text-to-text
tags: [samtok, segmentation, {model_type}]
---

"""

_WITH_WORDS: Final = """\
# A language model with mask words

A `{model_type}` model whose vocabulary holds the 514 mask words of
[SAMTok](https://arxiv.org/abs/2601.16093). A region of the image is written
`{start}<|mt_0011|><|mt_0347|>{end}`: the first code word is 0000..0255, the second 0256..0511.

{tokenizer}
"""

_WITHOUT_WORDS: Final = """\
# A language model without mask words

A `{model_type}` model that has no mask words of [SAMTok](https://arxiv.org/abs/2601.16093) in its
vocabulary yet; `samtok.mllm.extend_vocabulary` adds them.
"""

_LOADING: Final = """
```python
from transformers import AutoModelForImageTextToText, AutoProcessor

model = AutoModelForImageTextToText.from_pretrained(folder)
processor = AutoProcessor.from_pretrained(folder)
```
"""

_CHAT: Final = """
With the `samtok` package, answers come with their masks:

```python
from samtok import SAMTok
from samtok.mllm import chat, load_mllm

answer = chat(load_mllm(folder), SAMTok.from_pretrained({name}), image, "Segment the mug.")
answer.text, answer.masks  # masks: bool, shape (M, H, W)
```
"""


def write_card(
    folder: Path,
    *,
    model_type: str,
    has_mask_words: bool,
    mask_tokenizer: Mapping[str, str] | None,
) -> None:
    """Write ``README.md``.

    Args:
        folder: of the saved model.
        model_type: as in its ``config.json``.
        has_mask_words: whether its vocabulary holds them.
        mask_tokenizer: name and fingerprint; None where the model has learned no tokenizer's words.
    """
    if mask_tokenizer is None:
        tokenizer = "It has not learned the words of any mask tokenizer yet."
    else:
        tokenizer = (
            f"The words are those of the mask tokenizer {mask_tokenizer['name']!r}, whose weights "
            f"have the sha256\n`{mask_tokenizer['fingerprint']}`. Other tokenizers give them other "
            "masks."
        )
    about = _WITH_WORDS if has_mask_words else _WITHOUT_WORDS
    text = (_HEAD + about).format(
        model_type=model_type, tokenizer=tokenizer, start=MASK_START, end=MASK_END
    )
    text += _LOADING
    if mask_tokenizer is not None:
        text += _CHAT.format(name=json.dumps(mask_tokenizer["name"]))
    (folder / "README.md").write_text(text)
