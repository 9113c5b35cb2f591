"""The page of all spec fields: `python -m clipexp.spec.reference` writes docs/spec.md."""

import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from clipexp.spec.presets import MODEL_BY_PRESET
from clipexp.spec.run import Incidental, RunSpec

PAGE = Path("docs/spec.md")
HEAD = """# Fields of an experiment

Written by `python -m clipexp.spec.reference`. Each is a line in a file of `experiments/`, or `--set PATH=VALUE`. A
field marked ° leaves the result as it is and is not part of the spec's hash. `extends: FILE` (or a list) takes all
values of another file first; `model: {preset: NAME}` takes the sizes of a preset: %s.

| field | values | default | what it does |
| --- | --- | --- | --- |
"""


def reference_page() -> str:
    """The page, as markdown."""
    presets = ", ".join(f"`{name}`" for name in MODEL_BY_PRESET)
    return HEAD % presets + "\n".join(_rows(RunSpec, "")) + "\n"


def _rows(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        sections = _sections(field.annotation)
        if not sections:
            mark = " °" if Incidental in field.metadata else ""
            values, default = _values(field.annotation), _default(field)
            yield f"| `{prefix}{name}`{mark} | {values} | {default} | {field.description or ''} |"
        for section in sections:
            kind = _kind(section) if len(sections) > 1 else ""
            if kind:
                yield f"| `{prefix}{name}.kind: {kind}` | | | {_first_sentence(section)} |"
            rows = _rows(section, f"{prefix}{name}.")
            yield from (row for row in rows if not (kind and row.startswith(f"| `{prefix}{name}.kind`")))


def _sections(annotation: Any) -> list[type[BaseModel]]:
    """The specs that a field holds: one, several for a tagged union, none for a plain value."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if isinstance(annotation, types.UnionType):
        return [section for member in typing.get_args(annotation) for section in _sections(member)]
    return []


def _kind(section: type[BaseModel]) -> str:
    return str(typing.get_args(section.model_fields["kind"].annotation)[0])


def _first_sentence(section: type[BaseModel]) -> str:
    return " ".join((section.__doc__ or "").split())


def _values(annotation: Any) -> str:
    if typing.get_origin(annotation) is Literal:
        return ", ".join(f"`{value}`" for value in typing.get_args(annotation))
    if typing.get_origin(annotation) is typing.Annotated:
        return _values(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return ", ".join(_values(member) for member in typing.get_args(annotation) if member is not type(None))
    return {int: "whole number", float: "number", str: "text", bool: "true, false"}.get(annotation, "")


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "needed"
    return "none" if field.default in (None, "") else f"`{str(field.default).lower()}`"


if __name__ == "__main__":
    PAGE.write_text(reference_page())
