"""The rules of the house that no linter knows."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import distribution, entry_points
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = (ROOT / "pyproject.toml").read_text()
SETTINGS = tomllib.loads(PYPROJECT)

# Built from pieces, so that this file does not name what it forbids.
REGISTRIES = ("pypi", "pythonhosted", "npmjs", "crates", "maven", "debian", "golang")
REGISTRY = re.compile(rf"https?://[^ /\"']*(?:{'|'.join(REGISTRIES)})[^ /\"']*", re.IGNORECASE)
MACHINE_PATH = re.compile(r"(?<![A-Za-z0-9_.~-])/(?:work|root|tmp|Users|home)" + r"/\w")

# Importing a chapter must load none of these; a driver is imported where it is opened.
DRIVERS = {
    "aio_pika",
    "aiohttp",
    "aiokafka",
    "confluent_kafka",
    "dns",
    "grpc",
    "httptools",
    "httpx",
    "nats",
    "opentelemetry",
    "prometheus_client",
    "psycopg",
    "redis",
    "requests",
    "rich",
    "sqlalchemy",
    "uvicorn",
    "uvloop",
    "yaml",
}
CHAPTERS = [
    "",
    ".errors",
    ".kernel",
    ".observe",
    ".stores",
    ".resilience",
    ".limiting",
    ".balancing",
    ".hashing",
    ".caching",
    ".databases",
    ".adapters",
]


def house_files() -> list[Path]:
    """Every text file of the repository: tracked, or about to be."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    names = listed.stdout.split("\0") if listed.returncode == 0 else _unpacked()
    files = [ROOT / name for name in names if name and (ROOT / name).is_file()]
    return [file for file in files if b"\0" not in file.read_bytes()[:8192]]


def _unpacked() -> list[str]:
    """The same from an unpacked source archive, which git knows nothing of."""
    ours = ("src", "tests", "docs", "examples", "benchmarks", "tools")
    found = [file for folder in ours for file in (ROOT / folder).rglob("*.*")]
    return [str(file.relative_to(ROOT)) for file in found if "__pycache__" not in file.parts]


def lines_with(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{file.relative_to(ROOT)}:{number}: {line.strip()[:80]}"
        for file in house_files()
        for number, line in enumerate(file.read_text(errors="replace").splitlines(), 1)
        if pattern.search(line)
    ]


def test_no_file_names_a_package_registry() -> None:
    assert lines_with(REGISTRY) == []


def test_no_file_names_a_path_of_one_machine() -> None:
    assert lines_with(MACHINE_PATH) == []


def test_no_source_file_outgrows_one_noun() -> None:
    lengths = {
        str(file.relative_to(ROOT)): len(file.read_text().splitlines())
        for file in (ROOT / "src").rglob("*.py")
    }
    assert {name: length for name, length in lengths.items() if length > 400} == {}


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda name: f"escala{name}")
def test_importing_a_chapter_loads_no_driver(chapter: str) -> None:
    code = f"import escala{chapter}, json, sys; print(json.dumps(sorted(sys.modules)))"
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=30
    )
    assert ran.returncode == 0, ran.stderr
    loaded = {name.partition(".")[0] for name in json.loads(ran.stdout)}
    assert loaded & DRIVERS == set()


def test_every_lint_ignore_has_its_reason() -> None:
    lint = PYPROJECT[PYPROJECT.index("[tool.ruff.lint]") : PYPROJECT.index("banned-api]")]
    rules = [line for line in lint.splitlines() if re.match(r'\s+"[A-Z]+\d*",', line)]
    written = SETTINGS["tool"]["ruff"]["lint"]
    per_file = [rule for ignored in written["per-file-ignores"].values() for rule in ignored]
    expected = [*written["ignore"], *per_file]
    assert len(rules) == len(expected), "one rule on each line, so that each has its reason"
    without = [line for line in rules if not re.search(r"#\s+\S.{5,}", line)]
    assert without == []


def test_every_entry_point_loads() -> None:
    groups = SETTINGS["project"]["entry-points"]
    assert set(groups) == {
        "escala.policies",
        "escala.balancers",
        "escala.ledgers",
        "escala.links",
        "escala.value_stores",
    }
    for group, entries in groups.items():
        ours = {point.name: point for point in entry_points(group=group)}
        for name, target in entries.items():
            assert ours[name].value == target, "install again: pip install -e ."
            assert ours[name].load().__module__ == target.partition(":")[0]


def test_the_command_line_starts() -> None:
    (script,) = (point for point in entry_points(group="console_scripts") if point.name == "escala")
    assert callable(script.load())


def test_the_package_is_typed_and_licensed() -> None:
    assert (ROOT / "src/escala/py.typed").is_file()
    assert "Apache License" in (ROOT / "LICENSE").read_text()
    assert distribution("escala").metadata["License-Expression"] == "Apache-2.0"


@pytest.mark.live
def test_the_wheel_holds_the_demo_and_its_types(tmp_path: Path) -> None:
    build = "from hatchling.build import build_wheel; import sys; print(build_wheel(sys.argv[1]))"
    built = subprocess.run(
        [sys.executable, "-c", build, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    names = ZipFile(tmp_path / built.stdout.split()[-1]).namelist()
    assert "escala/py.typed" in names
    assert "escala/_examples/shop/__main__.py" in names
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/"))]


PINS = sorted(ROOT.glob("constraints-*.txt"))
PINNED = re.compile(r"^([a-z0-9][a-z0-9._-]*)==(\S+)(?: ;[^\\]*)? \\$")


def pins(file: Path) -> dict[str, set[str]]:
    """Package to versions (markers may choose between several)."""
    found: dict[str, set[str]] = {}
    for line in file.read_text().splitlines():
        if match := PINNED.match(line):
            found.setdefault(match[1], set()).add(match[2])
    return found


@pytest.mark.parametrize("file", PINS, ids=lambda file: file.name)
def test_pins_hold_versions_and_hashes_and_nothing_else(file: Path) -> None:
    hashed = re.compile(r"^    --hash=sha256:[0-9a-f]{64}(?: \\)?$")
    odd = [
        line
        for line in file.read_text().splitlines()
        if not (line.startswith("#") or PINNED.match(line) or hashed.match(line))
    ]
    assert odd == []
    assert pins(file)


@pytest.mark.parametrize("file", PINS, ids=lambda file: file.name)
def test_pins_hold_everything_their_group_asks_for(file: Path) -> None:
    group = file.stem.removeprefix("constraints-")
    missing = {name for name in asked(group) if name not in pins(file)}
    assert missing == set(), "run `make pins`"


def asked(group: str) -> set[str]:
    names: set[str] = set()
    for entry in SETTINGS["dependency-groups"][group]:
        if isinstance(entry, dict):
            names |= asked(entry["include-group"])
        else:
            names.add(re.split(r"[<>=!~;\[ ]", entry)[0])
    return names


def test_environments_that_are_shared_agree_on_every_version() -> None:
    apart = {"constraints-bench.txt", "constraints-sqlalchemy20.txt"}
    shared = [pins(file) for file in PINS if file.name not in apart]
    first: dict[str, set[str]] = {}
    for found in shared:
        for name, versions in found.items():
            assert first.setdefault(name, versions) == versions
