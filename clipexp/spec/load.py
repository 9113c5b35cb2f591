"""From a YAML file to a validated spec: extends, deep merge, preset, `--set`, one validation.

    resolved = load_spec("experiments/run1.yaml", ["optim.max_lr=1e-3"])
    resolved.spec.optim.max_lr  # 0.001
    resolved.origin("optim.max_lr")  # "--set"

Every mistake is reported at once, each with its file and line, what is wrong, and the nearest valid key.
"""

import difflib
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from clipexp.errors import Problem, SpecError
from clipexp.spec.presets import MODEL_BY_PRESET
from clipexp.spec.run import DataSpec, ModelSpec, RunSpec, size_mismatch
from clipexp.spec.yaml_lines import Node, Origin, parse, scalar

DEFAULT = Origin("default")
EXTENDS = "extends"
SET = Origin("--set")
ROOT = Origin("spec")
ALTERNATIVES = frozenset({"train.budget"})  # its keys exclude one another: a later layer replaces an earlier one


@dataclass(frozen=True)
class ResolvedRun:
    """A validated spec and where each of its values came from."""

    spec: RunSpec
    origin_by_path: Mapping[str, Origin]

    def origin(self, path: str) -> str:
        """Where the value at a dotted path came from: `run1.yaml:12`, `--set`, a preset, or the default."""
        return str(self.origin_by_path.get(path, DEFAULT))


def load_spec(path: str | Path, overrides: Sequence[str] = ()) -> ResolvedRun:
    """Read a spec, with all that it extends.

    Args:
        path: a YAML file.
        overrides: `dotted.path=value`, as after `--set`.

    Raises:
        SpecError: everything that is wrong with it.
    """
    problems: list[Problem] = []
    tree = _with_bases(Path(path), (), problems)
    for override in overrides:
        layer = _override_node(override, problems)
        tree = _merge(tree, layer, "")
    return _validate(_with_preset(tree), problems)


def resolve(content: Mapping[str, Any]) -> ResolvedRun:
    """Validate a spec that is at hand as plain nested data, with the same presets and errors as a file."""
    return _validate(_with_preset(_plain_node(content, ROOT)), [])


def _with_bases(path: Path, below: tuple[Path, ...], problems: list[Problem]) -> Node:
    """A file laid over what it extends, the last named base over the earlier ones."""
    if path.resolve() in below:
        chain = " -> ".join(p.name for p in (*below, path))
        raise SpecError([Problem(str(path), f"extends itself: {chain}")])
    node = parse(path)
    members = dict(node.value)
    bases = members.pop(EXTENDS, None)
    tree = Node({}, node.origin, node.origin)
    if bases is not None:
        names = [bases.value] if isinstance(bases.value, str) else bases.value
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            problems.append(Problem(str(bases.origin), "extends takes a file's path, or a list of them"))
            names = []
        for name in names:
            base = path.parent / name
            if not base.is_file():
                problems.append(Problem(str(bases.origin), f"extends {name}, but there is no file {base}"))
                continue
            tree = _merge(tree, _with_bases(base, (*below, path.resolve()), problems), "")
    return _merge(tree, Node(members, node.origin, node.key_origin), "")


def _merge(under: Node, over: Node, path: str) -> Node:
    """Mappings merge key by key; anything else is replaced, as is a variant by one of another `kind`."""
    if not isinstance(under.value, dict) or not isinstance(over.value, dict) or path in ALTERNATIVES:
        return over
    kind_over, kind_under = over.value.get("kind"), under.value.get("kind")
    if kind_over and kind_under and kind_over.value != kind_under.value:
        return over
    members = dict(under.value)
    for key, node in over.value.items():
        members[key] = _merge(members[key], node, f"{path}.{key}".lstrip(".")) if key in members else node
    return Node(members, over.origin, over.key_origin)


def _with_preset(tree: Node) -> Node:
    """Lay the model's own keys over those of the preset it names; an unknown name is left to validation."""
    model = tree.value.get("model")
    if model is None or not isinstance(model.value, dict) or "preset" not in model.value:
        return tree
    name = model.value["preset"].value
    if not isinstance(name, str) or name not in MODEL_BY_PRESET:
        return tree
    preset = _plain_node(MODEL_BY_PRESET[name], Origin(f"preset {name}"))
    return Node({**tree.value, "model": _merge(preset, model, "model")}, tree.origin, tree.key_origin)


def _plain_node(value: Any, origin: Origin) -> Node:
    if isinstance(value, Mapping):
        value = {key: _plain_node(member, origin) for key, member in value.items()}
    return Node(value, origin, origin)


def _override_node(override: str, problems: list[Problem]) -> Node:
    path, equals, text = override.partition("=")
    origin = Origin(f"--set {override}")
    if not equals or not path.strip():
        problems.append(Problem(str(origin), "takes dotted.path=value, such as optim.max_lr=1e-3"))
        return Node({}, origin, origin)
    node = _plain_node(scalar(text), origin)
    for key in reversed(path.strip().split(".")):
        node = Node({key: node}, origin, origin)
    return node


def _plain(node: Node) -> Any:
    if isinstance(node.value, dict):
        return {key: _plain(member) for key, member in node.value.items()}
    return node.value


def _origins(node: Node, path: str = "") -> Iterator[tuple[str, Origin]]:
    if isinstance(node.value, dict):
        for key, member in node.value.items():
            yield from _origins(member, f"{path}.{key}".lstrip("."))
    else:
        yield path, node.origin


def _validate(tree: Node, problems: list[Problem]) -> ResolvedRun:
    content = _plain(tree)
    try:
        spec = RunSpec.model_validate(content)
    except ValidationError as error:
        unknown_preset = any(e["loc"] == ("model", "preset") for e in error.errors())
        for detail in error.errors():
            if unknown_preset and detail["type"] == "missing" and detail["loc"][0] == "model":
                continue  # the preset would have brought it
            problems.append(_problem(detail, tree))
        problems += _cross_problems(content, tree)
    if problems:
        raise SpecError(list(dict.fromkeys(problems)))
    return ResolvedRun(spec, dict(_origins(tree)))


def _cross_problems(content: Any, tree: Node) -> list[Problem]:
    """What is wrong between sections, looked at where the rest of the file is wrong too."""
    try:
        data, model = DataSpec.model_validate(content.get("data")), ModelSpec.model_validate(content.get("model"))
    except ValidationError:
        return []
    message = size_mismatch(data, model)
    place = tree.value["data"].value.get("image_size_px", tree)
    return [Problem(str(place.origin), f"data.image_size_px {message}")] if message else []


def _problem(detail: ErrorDetails, tree: Node) -> Problem:
    """One of pydantic's findings, at its line."""
    location = [str(part) for part in detail["loc"]]
    if key := detail.get("ctx", {}).get("key"):
        location += str(key).split(".")
    node, path = tree, list[str]()
    for part in location:
        members = node.value if isinstance(node.value, dict) else {}
        if part in members:
            node = members[part]
            path.append(part)
        elif not (("kind" in members) and members["kind"].value == part):  # pydantic names the variant in between
            path.append(part)
    dotted = ".".join(path)
    match detail["type"]:
        case "extra_forbidden":
            return Problem(str(node.key_origin), f"{dotted} is unknown{_nearest(path)}")
        case "missing":
            return Problem(str(node.key_origin), f"{dotted} is missing; {_expected(path)}")
        case "union_tag_invalid" | "union_tag_not_found":
            node = node.value.get("kind", node) if isinstance(node.value, dict) else node
            expected = str(detail.get("ctx", {}).get("expected_tags", "a mapping with the key kind"))
            return Problem(str(node.origin), f"{dotted}.kind must be one of {expected}{_given(node)}")
        case "inconsistent":
            return Problem(str(node.origin), f"{dotted} {detail['msg']}")
        case "literal_error":
            choices = str(detail["ctx"]["expected"]).replace("'", "")
            near = _close(str(node.value), choices.replace(" or ", ", ").split(", "))
            return Problem(str(node.origin), f"{dotted} must be {choices}{_given(node)}{near}")
        case _:
            return Problem(str(node.origin), f"{dotted}: {_lower(detail['msg'])}{_given(node)}")


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]


def _given(node: Node) -> str:
    return "" if isinstance(node.value, dict) else f", but is {node.value!r}"


def _close(word: str, choices: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, choices, n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else ""


def _nearest(path: list[str]) -> str:
    """`; did you mean X?` for an unknown key: a sibling if one is near, else a key of another section."""
    siblings = sorted(_models_at(path[:-1]))
    if near := difflib.get_close_matches(path[-1], siblings, n=1, cutoff=0.6):
        return f"; did you mean {near[0]}?"
    everywhere = sorted(_all_paths(RunSpec))
    exact = [dotted for dotted in everywhere if dotted.split(".")[-1] == path[-1]]
    if exact:
        return f"; did you mean {exact[0]}?"
    return f"; valid keys: {', '.join(siblings)}" if siblings else ""


def _expected(path: list[str]) -> str:
    field = _models_at(path[:-1]).get(path[-1])
    return _lower(field.rstrip(".")) if field else "add it"


def _models_at(path: list[str]) -> dict[str, str]:
    """Keys valid below a path, with their descriptions (those of all variants together)."""
    models: list[type[BaseModel]] = [RunSpec]
    for part in path:
        models = [sub for model in models if part in model.model_fields for sub in _sub_models(model, part)]
    return {name: field.description or "" for model in models for name, field in model.model_fields.items()}


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
