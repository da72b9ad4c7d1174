"""What Prometheus reads at /metrics: of this replica of the ingress."""

from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from pipelines.serving.calls import ChatEnd, Served

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class Figures:
    """Counts and times of requests, batches and the cache."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        shared: dict[str, Any] = {"namespace": "samtok", "registry": self._registry}
        self._requests = Counter("requests", "Requests answered.", ["path", "status"], **shared)
        self._seconds = Histogram(
            "request_seconds", "From first byte to last.", ["path"], buckets=_SECONDS, **shared
        )
        self._cache = Counter(
            "embedding_cache", "Calls with and without a backbone pass.", ["result"], **shared
        )
        self._batch_size = Histogram(
            "batch_size", "Calls in the batch of each call.", buckets=_SIZES, **shared
        )
        self._waited = Histogram(
            "queue_seconds", "Wait for a batch at the replica.", buckets=_SECONDS, **shared
        )
        self._tokens = Counter("chat_tokens", "Tokens of conversations.", ["kind"], **shared)
        self.first_token_seconds = Histogram(
            "chat_first_token_seconds",
            "From a whole question to the first text.",
            buckets=_SECONDS,
            **shared,
        )
        self.pending = Gauge("pending_calls", "Calls being read or computed.", **shared)

    def count_request(self, path: str, status: int, seconds: float) -> None:
        """A request was answered; `path` is one of the routes, or a word for all others."""
        self._requests.labels(path, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def count_call(self, served: Served) -> None:
        """A call came back from the tokenizer."""
        self._cache.labels("hit" if served.cache_hit else "miss").inc()
        self._batch_size.observe(served.batch_size)
        self._waited.observe(served.waited_seconds)

    def count_tokens(self, end: ChatEnd) -> None:
        """An answer was written."""
        self._tokens.labels("prompt").inc(end.prompt_tokens)
        self._tokens.labels("completion").inc(end.completion_tokens)

    def write(self) -> bytes:
        """Text in Prometheus' format."""
        return generate_latest(self._registry)
