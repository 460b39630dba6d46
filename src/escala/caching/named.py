"""What callers name: keys, tags and namespaces, as both levels take them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b

from escala.caching import tag_names
from escala.caching.value_store import Signal
from escala.kernel.wrong_value import shown

LONGEST_KEY = 512
_DIGEST = 16  # bytes
_KEPT_OF_KEY = LONGEST_KEY - 2 * _DIGEST  # so a key that is kept as it is can be no other's digest
_LONGEST_NAMESPACE = _KEPT_OF_KEY - 1


def signals_of(
    keys: Sequence[str], tag: str | None, namespace: str | None, *, soft: bool
) -> list[Signal]:
    """What to invalidate, as both levels take it. Raises `TypeError` if it is nothing.

    `ValueError` for a namespace that no key has.
    """
    signals = [Signal("key", checked(key), soft) for key in keys]
    if tag is not None:
        signals += [Signal("tag", each, soft) for each in marked((tag,))]
    if namespace is not None:
        signals.append(Signal("tag", _of_namespace(namespace), soft))
    if not signals:
        raise TypeError("say what: one or more keys, tag=…, or namespace=…; `clear` takes all")
    return signals


def checked(key: str) -> str:
    """A key as both levels take it. Raises `TypeError` if it is no text."""
    if type(key) is not str:
        if not isinstance(key, str):
            raise TypeError(
                f"expected a key of text, found {type(key).__name__}: build one, such as "
                "f'user:{id}', or let `memo` do it"
            )
        key = str(key)
    return key if len(key) <= LONGEST_KEY else _shortened(key)


def marked(tags: Iterable[str]) -> tuple[str, ...]:
    """The internal tags of a user's, which no namespace can be taken for. Raises `TypeError`."""
    if isinstance(tags, str):
        raise TypeError(f"expected several tags, such as ({tags!r},), found one text")
    names = []
    for tag in tags:
        if not isinstance(tag, str):
            raise TypeError(f"expected a tag of text, found {type(tag).__name__}")
        names.append("#" + (tag if len(tag) <= LONGEST_KEY else _shortened(tag)))
    return tuple(names)


def _of_namespace(name: str) -> str:
    if not isinstance(name, str):
        raise TypeError(f"expected a namespace of text, found {type(name).__name__}")
    if ":" in name or len(name) > _LONGEST_NAMESPACE:
        raise ValueError(
            f"expected a namespace: at most {_LONGEST_NAMESPACE} characters, what stands before "
            f"the first ':' of a key; found {shown(name)}"
        )
    return tag_names.namespace(name)


def _shortened(name: str) -> str:
    digest = blake2b(name.encode(errors="surrogatepass"), digest_size=_DIGEST).hexdigest()
    return f"{name[:_KEPT_OF_KEY]}~{digest}"
