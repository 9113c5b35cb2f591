"""The pages of all spec fields: `python -m clipexp.spec.reference` writes docs/spec.md and docs/study-spec.md."""

import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from clipexp.spec.base import Incidental
from clipexp.spec.presets import MODEL_BY_PRESET
from clipexp.spec.run import RunSpec
from clipexp.spec.shape import container, kinds_of, sections
from clipexp.spec.study import StudySpec

PAGE = Path("docs/spec.md")
HEAD = """# Fields of an experiment

Written by `python -m clipexp.spec.reference`. Each is a line in a file of `experiments/`, or `--set PATH=VALUE`. A
field marked ° leaves the result as it is and is not part of the spec's hash. `extends: FILE` (or a list) takes all
values of another file first; `model: {preset: NAME}` takes the sizes of a preset: %s.

"""
STUDY_PAGE = Path("docs/study-spec.md")
STUDY_HEAD = """# Fields of a study

Written by `python -m clipexp.spec.reference`. Each is a line in a file of `studies/`, or, but for those of `baselines`,
`--set FIELD=VALUE`. `PATH` is a [field of an experiment](spec.md), such as `optim.max_lr`.

"""
TABLE = """| field | values | default | what it does |
| --- | --- | --- | --- |
"""


def reference_page() -> str:
    """The page of experiments, as markdown."""
    presets = ", ".join(f"`{name}`" for name in MODEL_BY_PRESET)
    return HEAD % presets + TABLE + "\n".join(_rows(RunSpec, "")) + "\n"


def study_reference_page() -> str:
    """The page of studies, as markdown."""
    return STUDY_HEAD + TABLE + "\n".join(_rows(StudySpec, "")) + "\n"


def _rows(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        path = f"{prefix}{name}"
        held = sections(field.annotation)
        if not held:
            mark = " °" if Incidental in field.metadata else ""
            values, default = _values(field.annotation), _default(field)
            yield f"| `{path}`{mark} | {values} | {default} | {field.description or ''} |"
        free = container(field.annotation)
        member = path if free is None else f"{path}.PATH" if free is dict else f"{path}[]"
        for section in held:
            kind = kinds_of(section)[0] if len(held) > 1 else ""
            if kind:
                yield f"| `{member}.kind: {kind}` | | | {_first_sentence(section)} |"
            rows = _rows(section, f"{member}.")
            yield from (row for row in rows if not (kind and row.startswith(f"| `{member}.kind`")))


def _first_sentence(section: type[BaseModel]) -> str:
    return " ".join((section.__doc__ or "").split())


def _values(annotation: Any) -> str:
    if form := container(annotation):
        return "list of values" if form is list else "mapping of paths to values"
    if typing.get_origin(annotation) is tuple:
        return "list of texts"
    if typing.get_origin(annotation) is Literal:
        return ", ".join(f"`{value}`" for value in typing.get_args(annotation))
    if typing.get_origin(annotation) is typing.Annotated:
        return _values(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return ", ".join(_values(member) for member in typing.get_args(annotation) if member is not type(None))
    return {int: "whole number", float: "number", str: "text", bool: "true, false"}.get(annotation, "")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "needed"
    if field.default in (None, "", PydanticUndefined):
        return "none"
    match field.default:
        case bool():
            return f"`{str(field.default).lower()}`"  # as YAML writes it
        case tuple():
            return f"`[{', '.join(field.default)}]`"
        case _:
            return f"`{field.default}`"


if __name__ == "__main__":
    PAGE.write_text(reference_page())
    STUDY_PAGE.write_text(study_reference_page())
