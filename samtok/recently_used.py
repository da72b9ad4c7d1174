"""Values in bounded memory, the least recently used making room for new ones."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class RecentlyUsed(Generic[Key, Value]):
    """Forgets what was not asked for lately. Values are never changed; for one thread at a time.

    Args:
        max_bytes: of all values together; one above it is not kept.
        count_bytes: of a value.
    """

    def __init__(self, max_bytes: int, count_bytes: Callable[[Value], int]) -> None:
        self._max_bytes = max_bytes
        self._count_bytes = count_bytes
        self._values: OrderedDict[Key, Value] = OrderedDict()
        self.num_bytes = 0
        """Of the values, at most `max_bytes`."""

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: Key) -> Value | None:
        """A value, used now; None where it is not there."""
        if (found := self._values.get(key)) is not None:
            self._values.move_to_end(key)
        return found

    def keep(self, key: Key, value: Value) -> None:
        """Take in a value that is not there, used now."""
        num_bytes = self._count_bytes(value)
        if num_bytes > self._max_bytes:
            return
        self._values[key] = value
        self.num_bytes += num_bytes
        while self.num_bytes > self._max_bytes:
            self.num_bytes -= self._count_bytes(self._values.popitem(last=False)[1])
