"""A Django project of one file over a cluster; told what to do on its standard input.

Each line is Python to be run with the names of this file; its value, or the name of the error it
raised, is answered as a line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

import django
from django.conf import settings

from escala.adapters.django_database import ReplicaRouter
from escala.databases.replicas.database import Database

database = Database(sys.argv[1], secret="of sixteen bytes", policy="round_robin")
nodes = {node.name: f"n{index}" for index, node in enumerate(database.nodes)}


def alias(engine: str, host: str = "", port: str = "") -> dict[str, Any]:
    where = {"HOST": host, "PORT": port, "NAME": "postgres", "USER": "escala"}
    return {"ENGINE": engine, "CONN_MAX_AGE": None, **where}


settings.configure(
    SECRET_KEY="none",
    ALLOWED_HOSTS=["testserver"],
    ROOT_URLCONF=__name__,
    MIDDLEWARE=["escala.adapters.django_database.ConsistencyMiddleware"],
    DATABASE_ROUTERS=[ReplicaRouter(database, nodes)],
    USE_TZ=True,
    DATABASES={
        "default": alias("escala.adapters.django_postgresql"),
        **{
            name: alias("django.db.backends.postgresql", *node.split(":"))
            for node, name in nodes.items()
        },
    },
)
django.setup()

from django.core.management import call_command  # noqa: E402  after the settings
from django.db import connection, models, transaction  # noqa: E402
from django.http import HttpRequest, JsonResponse  # noqa: E402
from django.test import AsyncClient, Client  # noqa: E402
from django.urls import path  # noqa: E402


class Tea(models.Model):  # type: ignore[misc]
    name = models.TextField()

    class Meta:
        app_label = "shop"

    def __str__(self) -> str:
        return str(self.name)


def teas(request: HttpRequest) -> JsonResponse:
    if request.method == "POST":
        Tea.objects.create(name=request.POST["name"])
    return JsonResponse(found(list(Tea.objects.order_by("id"))))


async def ateas(request: HttpRequest) -> JsonResponse:
    if request.method == "POST":
        await Tea.objects.acreate(name=request.POST["name"])
    return JsonResponse(found([tea async for tea in Tea.objects.order_by("id")]))


def found(rows: list[Tea]) -> dict[str, Any]:
    return {"names": [tea.name for tea in rows], "from": sorted({tea._state.db for tea in rows})}


def in_a_transaction() -> list[str]:
    with transaction.atomic():
        return [Tea.objects.order_by("id")[0]._state.db for _ in range(4)]


def made() -> None:
    with connection.schema_editor() as editor:
        editor.create_model(Tea)


def add(name: str) -> None:
    with transaction.atomic():
        Tea.objects.create(name=name)


def begun_before(what: str, so: str = "True") -> None:
    """A transaction that waits for a line, and until something is so, before it commits."""
    with transaction.atomic():
        Tea.objects.create(name=what)
        print(json.dumps("begun"), flush=True)  # noqa: T201
        sys.stdin.readline()
        wait(so)


def wait(expression: str) -> bool:
    until = time.monotonic() + 20
    while not eval(expression) and time.monotonic() < until:  # noqa: S307
        time.sleep(0.02)
    return bool(eval(expression))  # noqa: S307


urlpatterns = [path("teas", teas), path("ateas", ateas)]
client, aclient = Client(), AsyncClient()
__all__ = ["asyncio", "call_command"]

if __name__ == "__main__":
    sys.modules["django_shop"] = sys.modules["__main__"]
    with database:
        for line in iter(sys.stdin.readline, ""):
            try:
                answer = eval(line)  # noqa: S307
            except Exception as error:  # noqa: BLE001
                answer = type(error).__name__
            print(json.dumps(answer), flush=True)  # noqa: T201
