from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.kernel.plugin_package import forget, install

from escala.errors import ConfigError
from escala.kernel import registry

GROUP = "escala.test_plugins"
POLICY = """
from escala.kernel.policy import Policy

print("imported")

class Shadow(Policy):
    kind = "shadow"

    async def around(self, call, runtime):
        return await call()
"""


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    forget(())
    yield
    forget(("shadow_one", "shadow_two", "shadow_broken"))


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    install(
        monkeypatch,
        tmp_path,
        "shadow-package",
        points={
            GROUP: {"shadow": "shadow_one:Shadow", "other": "shadow_one:__name__"},
            "escala.policies": {"shadow": "shadow_one:Shadow", "number": "shadow_one:__name__"},
        },
        modules={"shadow_one": POLICY},
    )
    return tmp_path


def test_lists_names_without_importing(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert registry.names(GROUP) == ("other", "shadow")
    assert registry.names("escala.nothing") == ()
    assert capsys.readouterr().out == ""


def test_loads_a_third_party_plugin_once(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = registry.load(GROUP, "shadow")
    assert first.kind == "shadow"
    assert registry.load(GROUP, "shadow") is first
    assert registry.load(GROUP, "other") == "shadow_one"
    assert capsys.readouterr().out == "imported\n"


def test_a_policy_comes_by_its_name(site: Path) -> None:
    assert registry.policy("shadow") is registry.load("escala.policies", "shadow")
    assert "shadow" in registry.names(registry.POLICIES)


def test_an_unknown_name_is_met_with_the_known_ones(site: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        registry.load(GROUP, "shado")
    assert str(caught.value) == (
        "expected one of the test_plugins other, shadow; found 'shado' (did you mean 'shadow'?)"
    )
    with pytest.raises(ConfigError) as caught:
        registry.load(GROUP, "zzz")
    assert str(caught.value) == "expected one of the test_plugins other, shadow; found 'zzz'"


def test_an_empty_group_says_so() -> None:
    with pytest.raises(ConfigError) as caught:
        registry.load(GROUP, "shadow")
    assert str(caught.value) == "expected one of the test_plugins (there are none); found 'shadow'"


def test_two_providers_are_an_error(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(
        monkeypatch,
        site,
        "rival",
        points={GROUP: {"shadow": "shadow_two:Shadow"}},
        modules={"shadow_two": POLICY},
    )
    assert registry.names(GROUP) == ("other", "shadow")
    with pytest.raises(ConfigError) as caught:
        registry.load(GROUP, "shadow")
    assert str(caught.value) == (
        "expected one provider of test_plugins named 'shadow', found rival 1.2 (shadow_two:Shadow) "
        "and shadow-package 1.2 (shadow_one:Shadow); uninstall all but one"
    )
    assert registry.load(GROUP, "other") == "shadow_one"


def test_one_package_found_twice_is_one_provider(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(
        monkeypatch,
        tmp_path / "again",
        "shadow-package",
        points={GROUP: {"shadow": "shadow_one:Shadow"}},
        modules={},
    )
    assert registry.load(GROUP, "shadow").kind == "shadow"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("raise RuntimeError('no luck')", "RuntimeError: no luck"),
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("Shadow = 1 +", "SyntaxError: invalid syntax (shadow_broken.py, line 1)"),
        ("", "AttributeError: module 'shadow_broken' has no attribute 'Shadow'"),
    ],
)
def test_a_broken_plugin_names_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, reason: str
) -> None:
    install(
        monkeypatch,
        tmp_path,
        "broken-package",
        points={GROUP: {"shadow": "shadow_broken:Shadow"}},
        modules={"shadow_broken": source},
    )
    with pytest.raises(ConfigError) as caught:
        registry.load(GROUP, "shadow")
    assert str(caught.value) == (
        "broken-package 1.2 provides 'shadow' in escala.test_plugins as shadow_broken:Shadow, "
        f"which cannot be imported: {reason}"
    )
    assert caught.value.__cause__ is not None


def test_what_is_no_policy_is_refused(site: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        registry.policy("number")
    assert str(caught.value) == (
        "shadow-package 1.2 provides 'number', which is no policy class: 'shadow_one'"
    )


def test_packages_installed_later_are_found_after_forgetting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert registry.names(GROUP) == ()
    install(
        monkeypatch,
        tmp_path,
        "late",
        points={GROUP: {"late": "shadow_one:Shadow"}},
        modules={"shadow_one": POLICY},
    )
    assert registry.names(GROUP) == ()
    registry.forget()
    assert registry.names(GROUP) == ("late",)


def test_all_policies_by_name(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "names", lambda group: ("shadow",))
    assert registry.policies() == {"shadow": registry.policy("shadow")}
