"""Embeddings of the images seen lately, in bounded memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from samtok.tokenizer import ImageEmbeddings


class EmbeddingCache:
    """The least recently used embeddings make room first. Entries are never changed.

    Used by one thread at a time.

    Args:
        max_bytes: of all entries together; an entry above it is handed out but not kept.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._entries: OrderedDict[str, ImageEmbeddings] = OrderedDict()
        self.num_bytes = 0
        """Held by the entries, at most `max_bytes`."""

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: str, compute: Callable[[], ImageEmbeddings]) -> tuple[ImageEmbeddings, bool]:
        """Embeddings of an image, and whether they were there.

        Args:
            key: identifies the image's bytes.
            compute: makes the embeddings where they are not there; what it raises passes through
                and nothing is kept.
        """
        if (found := self._entries.get(key)) is not None:
            self._entries.move_to_end(key)
            return found, True
        made = compute()
        if made.num_bytes <= self._max_bytes:
            self._entries[key] = made
            self.num_bytes += made.num_bytes
            while self.num_bytes > self._max_bytes:
                self.num_bytes -= self._entries.popitem(last=False)[1].num_bytes
        return made, False
