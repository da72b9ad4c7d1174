"""Images at addresses: what is allowed comes, and nothing else is asked for."""

import asyncio
import base64
import gzip

import pytest
from starlette.applications import Starlette
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from pipelines.serving import fetching
from pipelines.serving.api import ApiSettings, build_app
from pipelines.serving.errors import ApiError
from pipelines.serving.fetching import ImageFetcher, check_origins, is_public
from pipelines.serving.limits import Limits
from samtok.errors import ConfigError
from tests.pipelines.serving.conftest import as_png, as_rle, listening

SLOW_SECONDS = 5.0


class Web:
    """A host with pictures, and what it was asked for."""

    def __init__(self, picture):
        self.picture = picture
        self.asked = []

    def app(self):
        def route(path, answer):
            async def endpoint(request):
                self.asked.append(str(request.url))
                return await answer(request)

            return Route(path, endpoint)

        async def send(_):
            return Response(self.picture, media_type="image/png")

        async def lead(request):
            return RedirectResponse(request.query_params["to"])

        async def circle(_):
            return RedirectResponse("/circle")

        async def press(_):
            content = gzip.compress(self.picture)
            return Response(content, headers={"Content-Encoding": "gzip"})

        async def drip(_):
            async def pieces():
                yield self.picture[:8]
                await asyncio.sleep(SLOW_SECONDS)

            return StreamingResponse(pieces(), media_type="image/png")

        ways = {
            "/a.png": send,
            "/lead": lead,
            "/circle": circle,
            "/pressed": press,
            "/slow": drip,
        }
        return Starlette(routes=[route(path, answer) for path, answer in ways.items()])


@pytest.fixture
def web(picture):
    return Web(base64.b64decode(as_png(picture)))


@pytest.fixture
def origin(web):
    with listening(web.app()) as address:
        yield address.replace("127.0.0.1", "localhost")


@pytest.fixture
def all_public(monkeypatch):
    """This machine's own address is as good as any."""
    monkeypatch.setattr(fetching, "is_public", lambda address: True)


def fetch(address, *origins, **limits):
    return asyncio.run(ImageFetcher(origins, Limits(**limits)).fetch(address))


def refusal_of(address, *origins, **limits):
    with pytest.raises(ApiError) as caught:
        fetch(address, *origins, **limits)
    return caught.value.code


def test_an_image_of_an_allowed_origin_comes(web, origin, all_public):
    assert fetch(f"{origin}/a.png", origin) == web.picture
    assert fetch(f"{origin}/a.png".upper().replace("A.PNG", "a.png"), origin) == web.picture


@pytest.mark.parametrize(
    "address",
    [
        "http://example.org/a.png",
        "https://{host}/a.png",
        "http://{host}0/a.png",
        "http://other.{host}/a.png",
        "http://{host}@example.org/a.png",
        "http://user@{host}/a.png",
        "http://user:secret@{host}/a.png",
        "http://127.0.0.1:{port}/a.png",
        "http://[::1/a.png",
        "http:///a.png",
    ],
)
def test_another_origin_is_not_asked(web, origin, all_public, address):
    host = origin.removeprefix("http://")
    port = host.rpartition(":")[2]
    assert refusal_of(address.format(host=host, port=port), origin) == "image_url_refused"
    assert web.asked == []


def test_an_allowed_name_with_a_private_address_is_not_asked(web, origin):
    assert refusal_of(f"{origin}/a.png", origin) == "image_url_refused"
    assert web.asked == []


def test_redirects_stay_within_the_allowed_origins(web, origin, all_public):
    assert fetch(f"{origin}/lead?to={origin}/a.png", origin) == web.picture
    assert fetch(f"{origin}/lead?to=/a.png", origin) == web.picture
    asked = len(web.asked)
    away = f"{origin}/lead?to={origin.replace('localhost', '127.0.0.1')}/a.png"
    assert refusal_of(away, origin) == "image_url_refused"
    assert len(web.asked) == asked + 1
    assert refusal_of(f"{origin}/lead?to=file:///etc/passwd", origin) == "image_url_refused"


def test_redirects_have_an_end(web, origin, all_public):
    assert refusal_of(f"{origin}/circle", origin) == "image_not_fetched"
    assert len(web.asked) == 4


def test_size_and_time_have_limits(web, origin, all_public):
    size = len(web.picture)
    assert fetch(f"{origin}/a.png", origin, max_fetch_bytes=size) == web.picture
    assert refusal_of(f"{origin}/a.png", origin, max_fetch_bytes=size - 1) == "image_too_large"
    assert refusal_of(f"{origin}/slow", origin, max_fetch_seconds=0.3) == "image_not_fetched"


def test_what_does_not_come_is_told(web, origin, all_public):
    assert refusal_of(f"{origin}/b.png", origin) == "image_not_fetched"
    dead = "http://localhost:9"
    assert refusal_of(f"{dead}/a.png", dead) == "image_not_fetched"


def test_compressed_bytes_stay_as_they_are(web, origin, all_public):
    assert gzip.decompress(fetch(f"{origin}/pressed", origin)) == web.picture


def test_the_service_reads_addresses_of_its_origins(
    web, origin, all_public, backend, picture, masks
):
    def ask(*origins):
        app = build_app(ApiSettings(model_id="tiny", image_origins=origins), backend)
        body = {"image": f"{origin}/a.png", "masks": [as_rle(masks[0])]}
        return TestClient(app).post("/v1/encode", json=body)

    allowed, other = ask(origin), ask()
    sent = {"image": as_png(picture), "masks": [as_rle(masks[0])]}
    app = build_app(ApiSettings(model_id="tiny"), backend)
    assert allowed.json() == TestClient(app).post("/v1/encode", json=sent).json()
    assert (other.status_code, other.json()["error"]["code"]) == (422, "image_url_refused")


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("::ffff:8.8.8.8", True),
        ("10.0.0.1", False),
        ("127.0.0.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.251", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("fe80::1", False),
        ("fd00::1", False),
        ("::ffff:127.0.0.1", False),
        ("64:ff9b::a00:1", False),
        ("2002:a00:1::", False),
        ("ff02::1", False),
    ],
)
def test_public_addresses(address, public):
    assert is_public(address) is public


@pytest.mark.parametrize(
    "origin",
    [
        "images.example.org",
        "ftp://images.example.org",
        "https://images.example.org/folder",
        "https://user@images.example.org",
        "https://*",
        "https://127.0.0.1",
        "http://[::1]:9000",
        "",
    ],
)
def test_origins_that_are_none_are_refused(origin):
    with pytest.raises(ConfigError, match="--image-origins"):
        check_origins((origin,))


def test_origins_of_the_web_are_allowed():
    check_origins(("https://images.example.org", "http://8.8.8.8:9000", "HTTPS://Example.org/"))
