"""The strings below a struct's fields, which Python itself forgets."""

from __future__ import annotations

import ast
import inspect
import textwrap
from functools import cache
from itertools import pairwise


@cache  # as many as there are structs
def field_docs(struct: type) -> dict[str, str]:
    """Field name to the text below it; empty where there is no source to read."""
    found: dict[str, str] = {}
    for each in reversed(struct.__mro__[:-1]):
        try:
            source = textwrap.dedent(inspect.getsource(each))
        except (OSError, TypeError):
            continue
        body = getattr(ast.parse(source).body[0], "body", [])
        for field, text in pairwise(body):
            match field, text:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str(doc))),
                ):
                    found[name] = " ".join(doc.split())
    return found
