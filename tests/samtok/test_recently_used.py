"""Memory is bounded, and what was not used for the longest time goes first."""

from samtok.recently_used import RecentlyUsed


def test_what_was_used_least_recently_makes_room():
    cache = RecentlyUsed(10, len)
    for name, size in (("a", 4), ("b", 3), ("c", 3)):
        cache.keep(name, bytes(size))
    assert cache.get("a") == bytes(4)
    cache.keep("d", bytes(5))  # takes the room of b and c
    assert [cache.get(name) for name in "abcd"] == [bytes(4), None, None, bytes(5)]
    assert (len(cache), cache.num_bytes) == (2, 9)


def test_what_is_too_large_is_not_kept_and_nothing_goes_for_it():
    cache = RecentlyUsed(10, len)
    cache.keep("a", bytes(10))
    cache.keep("b", bytes(11))
    assert (cache.get("a"), cache.get("b")) == (bytes(10), None)
    assert cache.num_bytes == 10
