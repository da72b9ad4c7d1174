import hashlib

import pytest

from pipelines.serving.access import check_exposure, identify_client, read_key_digests
from pipelines.serving.errors import ApiError
from samtok.errors import ConfigError

KEY = "0123456789abcdef0123"
DIGEST = hashlib.sha256(KEY.encode()).hexdigest()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.8.0.1"])
def test_without_keys_only_this_machine(host):
    check_exposure(host, ())


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.3", "example.org", ""])
def test_other_hosts_need_keys(host):
    with pytest.raises(ConfigError, match="pass --api-keys FILE"):
        check_exposure(host, ())
    check_exposure(host, (DIGEST,))


def test_a_right_key_is_let_in_and_named_by_its_digest():
    other = hashlib.sha256(b"another").hexdigest()
    client = identify_client(f"Bearer {KEY}", "10.0.0.1", (other, DIGEST))
    assert client == f"key:{DIGEST[:16]}"


@pytest.mark.parametrize(
    "header", [None, "", KEY, f"Basic {KEY}", f"Bearer {KEY}x", f"Bearer {KEY[:-1]}", "Bearer é"]
)
def test_a_wrong_key_is_not(header):
    with pytest.raises(ApiError) as caught:
        identify_client(header, "10.0.0.1", (DIGEST,))
    assert caught.value.status == 401
    assert KEY not in caught.value.message


def test_keys_are_read_as_digests(tmp_path):
    file = tmp_path / "keys.txt"
    file.write_text(f"# of the editor\n{KEY}\n\n  {KEY}y  \n")
    assert read_key_digests(str(file)) == (
        DIGEST,
        hashlib.sha256(f"{KEY}y".encode()).hexdigest(),
    )


@pytest.mark.parametrize(
    ("content", "message"), [("", "holds no key"), ("short\n", "key 1 has 5 characters")]
)
def test_files_without_usable_keys_are_refused(tmp_path, content, message):
    file = tmp_path / "keys.txt"
    file.write_text(content)
    with pytest.raises(ConfigError, match=message):
        read_key_digests(str(file))
    with pytest.raises(ConfigError, match="cannot be read"):
        read_key_digests(str(tmp_path / "none"))
