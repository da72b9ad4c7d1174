import pytest

from pipelines.serving.rate_limiter import RateLimiter


@pytest.fixture
def clock():
    now = [0.0]
    return now


def test_a_burst_then_the_steady_rate(clock):
    limiter = RateLimiter(per_minute=60, burst=3, clock=lambda: clock[0])
    assert [limiter.take("a") for _ in range(4)] == [0, 0, 0, 1.0]
    clock[0] = 0.25
    assert limiter.take("a") == pytest.approx(0.75)
    clock[0] = 1.0  # refused calls were not counted
    assert limiter.take("a") == 0
    assert limiter.take("a") == pytest.approx(1.0)


def test_clients_do_not_share(clock):
    limiter = RateLimiter(per_minute=1, burst=1, clock=lambda: clock[0])
    assert limiter.take("a") == 0
    assert limiter.take("b") == 0
    assert limiter.take("a") == pytest.approx(60)


def test_a_pause_never_saves_more_than_a_burst(clock):
    limiter = RateLimiter(per_minute=60, burst=2, clock=lambda: clock[0])
    limiter.take("a")
    clock[0] = 3600.0
    assert [limiter.take("a") > 0 for _ in range(3)] == [False, False, True]
