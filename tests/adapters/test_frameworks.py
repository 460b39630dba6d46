"""The recipes for FastAPI, Flask and Django on the adapters page, run as they stand there."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import django
import httpx
import pytest
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path
from fastapi import FastAPI
from flask import Flask
from tests.adapters.callers import in_loop

from escala import TokenBucket
from escala.adapters import AsgiMiddleware, WsgiMiddleware

PAGE = Path(__file__).resolve().parents[2] / "docs" / "catalogue" / "adapters.md"
KNOWN = {
    each.__name__: each
    for each in (
        AsgiMiddleware,
        FastAPI,
        Flask,
        TokenBucket,
        WsgiMiddleware,
        get_asgi_application,
        get_wsgi_application,
    )
}
MOST = 100


def recipe(framework: str, line: str = "") -> str:
    """The lines below `# framework`, or those of them in which there is `line`."""
    found = re.search(rf"^# {framework}.*\n((?:.+\n)+?)(?:\n|```)", PAGE.read_text(), re.MULTILINE)
    assert found, f"{framework} has a recipe"
    lines = [each for each in found[1].splitlines() if line in each]
    assert lines
    return "\n".join(lines)


def made(framework: str, line: str = "") -> Any:
    """What the recipe makes, under the last name that it gives."""
    names: dict[str, Any] = {}
    exec(recipe(framework, line), {**KNOWN, "__name__": "shop"}, names)  # noqa: S102
    return names.popitem()[1]


@pytest.fixture(scope="module", autouse=True)
def shop() -> Iterator[None]:
    """A Django project of one page."""

    def tea(request: HttpRequest) -> HttpResponse:
        return HttpResponse("tea")

    urls: Any = ModuleType("escala_test_urls")
    urls.urlpatterns = [path("tea", tea)]
    sys.modules[urls.__name__] = urls
    if not settings.configured:  # mutation testing runs the tests again in the same process
        settings.configure(ROOT_URLCONF=urls.__name__, ALLOWED_HOSTS=["shop"], SECRET_KEY="none")
    django.setup()
    yield
    del sys.modules[urls.__name__]


def holds(answers: list[httpx.Response]) -> None:
    """All answers up to a refusal tell how the limit of the recipe stands."""
    *served, refused = answers
    assert len(served) >= MOST
    assert {(each.status_code, each.text.strip('"')) for each in served} == {(200, "tea")}
    assert served[0].headers["RateLimit-Policy"] == '"rate_limit";q=100;w=60'
    assert served[0].headers["RateLimit"].startswith('"rate_limit";r=99;')
    assert refused.status_code == 429
    assert refused.headers["Retry-After"] == "1"
    assert refused.headers["Content-Type"] == "application/problem+json"


async def asked(app: Any) -> None:
    """Ask until it refuses; and then from another address."""
    answers = list[httpx.Response]()
    for address in ("192.0.2.7", "192.0.2.8"):
        transport = httpx.ASGITransport(app, client=(address, 9))
        async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
            answers.append(await client.get("/tea"))
            while address == "192.0.2.7" and answers[-1].status_code == 200:
                answers.append(await client.get("/tea"))
    assert answers.pop().status_code == 200
    holds(answers)


def asked_sync(app: Any) -> None:
    answers = list[httpx.Response]()
    for address in ("192.0.2.7", "192.0.2.8"):
        transport = httpx.WSGITransport(app, remote_addr=address)
        with httpx.Client(transport=transport, base_url="http://shop") as client:
            answers.append(client.get("/tea"))
            while address == "192.0.2.7" and answers[-1].status_code == 200:
                answers.append(client.get("/tea"))
    assert answers.pop().status_code == 200
    holds(answers)


@in_loop
async def test_fastapi() -> None:
    app = made("FastAPI")

    @app.get("/tea")
    async def tea() -> str:
        return "tea"

    await asked(app)


def test_flask() -> None:
    app = made("Flask")

    @app.get("/tea")
    def tea() -> str:
        return "tea"

    asked_sync(app)


@in_loop
async def test_django_asgi() -> None:
    await asked(made("Django", "get_asgi_application"))


def test_django_wsgi() -> None:
    asked_sync(made("Django", "get_wsgi_application"))
