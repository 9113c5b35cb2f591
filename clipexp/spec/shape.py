"""What a spec class may hold at a dotted path: sections, their variants, their keys and what those mean.

    all_paths(RunSpec)  # name, hypothesis, seed, data, data.source, data.source.kind, ...
    kinds(StudySpec, ["pruner"])  # hyperband, successive_halving, median, none

A path is a list of keys. A key below a mapping of free keys (`search`), or an index of a list, stands for itself.
"""

import types
import typing
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

Model = type[BaseModel]


def sections(annotation: Any) -> list[Model]:
    """The spec classes in an annotation: several for a tagged union, none for a plain value."""
    pending, found = [annotation], list[Model]()
    while pending:
        annotation = pending.pop(0)
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            found.append(annotation)
        elif isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is not None:
            pending += typing.get_args(annotation)
    return found


def container(annotation: Any) -> type | None:
    """`dict` or `list` for a mapping of free keys or a list, else None."""
    origin = typing.get_origin(annotation)
    return origin if origin in (dict, list) else None


def fields_at(root: Model, path: Sequence[str]) -> list[FieldInfo]:
    """The fields at a path, one a variant that has it; none where there is nothing of that name."""
    *parents, name = path
    return [model.model_fields[name] for model in models_at(root, parents) if name in model.model_fields]


def models_at(root: Model, path: Sequence[str]) -> list[Model]:
    """The spec classes that may stand at a path."""
    models, is_free = [root], False
    for part in path:
        if is_free:  # its members' classes are known already
            is_free = False
            continue
        fields = [model.model_fields[part] for model in models if part in model.model_fields]
        models = [section for field in fields for section in sections(field.annotation)]
        is_free = any(container(field.annotation) for field in fields)
    return models


def kinds(root: Model, path: Sequence[str]) -> list[str]:
    """The variants that a tagged section may be; none for a section of one form."""
    models = models_at(root, path)
    return [kind for model in models for kind in kinds_of(model)] if len(models) > 1 else []


def kinds_of(model: Model) -> tuple[str, ...]:
    """The `kind` by which a spec class is told from its siblings, if it has one."""
    return typing.get_args(model.model_fields["kind"].annotation) if "kind" in model.model_fields else ()


def description_by_key(root: Model, path: Sequence[str], kind: Any = None) -> dict[str, str]:
    """Keys valid below a path, with what they mean: those of the variant `kind`, or of all variants together."""
    models = models_at(root, path)
    of_kind = [model for model in models if kind in kinds_of(model)]
    fields = [item for model in of_kind or models for item in model.model_fields.items()]
    return {name: field.description or "" for name, field in fields}


def all_paths(model: Model, prefix: str = "") -> Iterator[str]:
    """Every dotted path, sections included; nothing below mappings of free keys and lists."""
    for name, field in model.model_fields.items():
        yield f"{prefix}{name}"
        if container(field.annotation) is None:
            for section in sections(field.annotation):
                yield from all_paths(section, f"{prefix}{name}.")
