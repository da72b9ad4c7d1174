"""The page's files as the service sends them; what people do on it is in test_browser.py."""

import hashlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
WEB = ROOT / "pipelines" / "serving" / "web"
TEXTS = sorted(file.name for file in WEB.iterdir() if file.suffix in {".html", ".css", ".js"})


def test_everybody_gets_the_page_and_nobody_else_its_calls(serve):
    client = serve(key_digests=[hashlib.sha256(b"a-key-of-sixteen-or-more").hexdigest()])
    page = client.get("/")
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.text == (WEB / "index.html").read_text()
    assert client.get("/v1/models").status_code == 401


@pytest.mark.parametrize("path", ["/", "/web/main.js", "/web/index.html"])
def test_the_policy_lets_the_page_reach_this_service_only(serve, path):
    headers = serve().get(path).headers
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    for kind in ("script-src", "style-src", "connect-src"):
        assert policy[kind] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("name", TEXTS)
def test_no_file_names_another_place(name):
    text = (WEB / name).read_text()
    assert not re.findall(r"(?:https?:)?//[a-z0-9-]+\.[a-z]", text)
    assert "innerHTML" not in text


def test_files_are_named_by_kind_and_not_sent_twice(serve):
    client = serve()
    script = client.get("/web/main.js")
    assert script.headers["content-type"].startswith("text/javascript")
    again = client.get("/web/main.js", headers={"If-None-Match": script.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    "path", ["/web/", "/web/nothing.js", "/web/%2e%2e/api.py", "/web/../api.py"]
)
def test_nothing_else_is_served(serve, path):
    answer = serve().get(path)
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "not_found"
