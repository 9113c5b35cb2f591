"""From pydantic's findings to what a person can act on: the line, what is wrong, and the nearest valid key.

explain(validation_error.errors()[0], tree)  # Problem("run1.yaml:12", "optim.max_lrr is unknown; did you mean max_lr?")
"""

import difflib
import types
import typing
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from clipexp.errors import Problem
from clipexp.spec.run import RunSpec
from clipexp.spec.yaml_lines import Node


def explain(detail: ErrorDetails, tree: Node) -> Problem:
    """One of pydantic's findings, at its line."""
    node, parent, path = _find(detail, tree)
    dotted, near_key = ".".join(path), str(node.key_origin)
    match detail["type"]:
        case "extra_forbidden":
            return Problem(near_key, f"{dotted} is unknown{_instead(path, _kind(parent))}")
        case "missing":
            return Problem(near_key, f"{dotted} is missing; {_meaning(path)}")
        case "union_tag_not_found":
            return Problem(near_key, f"{dotted}.kind is missing; it is {_listed(_kinds(path))}")
        case "union_tag_invalid":
            node = node.value["kind"]
            message = f"{dotted}.kind must be {_listed(_kinds(path))}{_given(node)}{_close(node, _kinds(path))}"
        case "model_type" | "model_attributes_type":
            message = f"{dotted} must be a mapping{_given(node)}; {_example(path, node)}"
        case "inconsistent":
            message = f"{dotted} {detail['msg']}"
        case "literal_error":
            choices = str(detail["ctx"]["expected"]).replace("'", "").replace(" or ", ", ").split(", ")
            message = f"{dotted} must be {_listed(choices)}{_given(node)}{_close(node, choices)}"
        case "string_type" if isinstance(node.value, bool | int | float):
            message = f"{dotted} must be a text{_given(node)}; put it in quotes"
        case "string_pattern_mismatch":
            message = (
                f"{dotted} must be letters, digits, '.', '_' and '-', beginning with a letter or digit{_given(node)}"
            )
        case _:
            reason = detail["msg"].replace("Input should be ", "must be ").replace("a valid string", "a text")
            message = f"{dotted} {reason[:1].lower()}{reason[1:]}{_given(node)}"
    return Problem(str(node.origin), message)


def _find(detail: ErrorDetails, tree: Node) -> tuple[Node, Node, list[str]]:
    """The node that a finding is about (or, if that is not there, what it is missed in), its parent and its path."""
    location = [str(part) for part in detail["loc"]]
    if key := detail.get("ctx", {}).get("key"):
        location += str(key).split(".")
    node, parent, path = tree, tree, list[str]()
    for part in location:
        if isinstance(node.value, dict) and part in node.value:
            node, parent = node.value[part], node
            path.append(part)
        elif _kind(node) != part:  # pydantic names the variant in between
            path.append(part)
    return node, parent, path


def _kind(node: Node) -> Any:
    return node.value["kind"].value if isinstance(node.value, dict) and "kind" in node.value else None


def _given(node: Node) -> str:
    match node.value:
        case None:
            return ", but is empty"
        case dict():
            return ", but is a mapping"
        case bool():
            return f", but is {str(node.value).lower()}"
        case _:
            return f", but is {node.value!r}"


def _listed(words: Sequence[str]) -> str:
    return " or ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def _close(node: Node, choices: Sequence[str]) -> str:
    near = difflib.get_close_matches(str(node.value), choices, n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else ""


def _instead(path: list[str], kind: Any) -> str:
    """What to write for an unknown key: a sibling if one is near, else a key of another section, else what there is."""
    siblings = sorted(_description_by_key(path[:-1], kind))
    if near := difflib.get_close_matches(path[-1], siblings, n=1, cutoff=0.6):
        return f"; did you mean {near[0]}?"
    elsewhere = set(_all_paths(RunSpec)) - {".".join(path)}
    leaves = {dotted.split(".")[-1] for dotted in elsewhere}
    if near := difflib.get_close_matches(path[-1], leaves, n=1, cutoff=0.75):
        matches = [dotted for dotted in elsewhere if dotted.split(".")[-1] == near[0]]
        return f"; did you mean {_listed(sorted(matches, key=lambda dotted: (dotted.count('.'), dotted)))}?"
    of_kind = f" with kind {kind}" if kind else ""
    return f"{of_kind}; valid keys: {', '.join(siblings)}" if siblings else ""


def _meaning(path: list[str]) -> str:
    description = _description_by_key(path[:-1]).get(path[-1], "")
    return f"{description[:1].lower()}{description[1:]}".rstrip(".") or "add it"


def _example(path: list[str], node: Node) -> str:
    """What a mapping at a path may look like."""
    if kinds := _kinds(path):
        return f"write {{kind: {node.value if node.value in kinds else kinds[0]}}}"
    return f"its keys are {', '.join(sorted(_description_by_key(path)))}"


def _kinds(path: list[str]) -> list[str]:
    """The variants that a tagged section may be; none for a section of one form."""
    models = _models_at(path)
    return [kind for model in models for kind in _kinds_of(model)] if len(models) > 1 else []


def _kinds_of(model: type[BaseModel]) -> tuple[str, ...]:
    return typing.get_args(model.model_fields["kind"].annotation) if "kind" in model.model_fields else ()


def _description_by_key(path: list[str], kind: Any = None) -> dict[str, str]:
    """Keys valid below a path, with what they mean: those of the variant `kind`, or of all variants together."""
    models = _models_at(path)
    of_kind = [model for model in models if kind in _kinds_of(model)]
    fields = [item for model in of_kind or models for item in model.model_fields.items()]
    return {name: field.description or "" for name, field in fields}


def _models_at(path: list[str]) -> list[type[BaseModel]]:
    models: list[type[BaseModel]] = [RunSpec]
    for part in path:
        models = [sub for model in models if part in model.model_fields for sub in _sub_models(model, part)]
    return models


def _sub_models(model: type[BaseModel], name: str) -> list[type[BaseModel]]:
    """The spec classes that a field may hold, several for a tagged union."""
    pending, found = [model.model_fields[name].annotation], list[type[BaseModel]]()
    while pending:
        annotation = pending.pop(0)
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            found.append(annotation)
        elif isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is not None:
            pending += typing.get_args(annotation)
    return found


def _all_paths(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name in model.model_fields:
        yield f"{prefix}{name}"
        for sub in _sub_models(model, name):
            yield from _all_paths(sub, f"{prefix}{name}.")
