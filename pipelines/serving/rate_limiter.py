"""Who has called how often lately: a token bucket for each client, in bounded memory."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

_MAX_CLIENTS = 65536


class RateLimiter:
    """Lets a client through at a steady rate, with bursts.

    Not shared between processes: with several replicas of the ingress, each counts for itself.

    Args:
        per_minute: calls per minute in the long run.
        burst: calls at once after a pause.
        clock: seconds that only grow.
    """

    def __init__(
        self, per_minute: float, burst: int, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_second = per_minute / 60
        self._burst = float(burst)
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """Client → (calls left, when that was), the least recent first."""

    def take(self, client: str) -> float:
        """Count a call of `client`.

        Returns:
            0 when it may pass; else the seconds until it may, and the call is not counted.
        """
        now = self._clock()
        left, since = self._buckets.pop(client, (self._burst, now))
        left = min(self._burst, left + (now - since) * self._per_second)
        wait = 0.0 if left >= 1 else (1 - left) / self._per_second
        self._buckets[client] = (left if wait else left - 1, now)
        if len(self._buckets) > _MAX_CLIENTS:
            self._buckets.popitem(last=False)
        return wait
