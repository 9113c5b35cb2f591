"""From a YAML file to a validated spec: extends, deep merge, preset, `--set`, one validation.

    resolved = load_spec("experiments/run1.yaml", ["optim.max_lr=1e-3"])
    resolved.spec.optim.max_lr  # 0.001
    resolved.origin("optim.max_lr")  # "--set optim.max_lr=1e-3"

Every mistake is reported at once, each with its file and line, what is wrong, and the nearest valid key.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from clipexp.errors import Problem, SpecError
from clipexp.spec.explain import explain
from clipexp.spec.presets import MODEL_BY_PRESET
from clipexp.spec.run import RunSpec, size_mismatch
from clipexp.spec.yaml_lines import Node, Origin, parse, scalar

DEFAULT = Origin("default", is_file=False)
EXTENDS = "extends"
ROOT = Origin("spec", is_file=False)
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
    reading = _Reading()
    tree = _with_bases(Path(path), (), reading)
    for override in overrides:
        tree = _merge(tree, _override_node(override, reading.problems), "")
    return _validate(_with_preset(tree), reading)


def resolve(content: Mapping[str, Any]) -> ResolvedRun:
    """Validate a spec that is at hand as plain nested data, with the same presets and errors as a file."""
    return _validate(_with_preset(_plain_node(content, ROOT)), _Reading())


@dataclass
class _Reading:
    """What comes up while files are read."""

    problems: list[Problem] = field(default_factory=list)
    is_complete: bool = True  # False where a base can't be read: what is missing may stand there


def _with_bases(path: Path, below: tuple[Path, ...], reading: _Reading) -> Node:
    """A file laid over what it extends, the last named base over the earlier ones."""
    node = parse(path, reading.problems)
    chain = (*below, path.resolve())
    members = dict(node.value)
    tree = Node({}, node.origin, node.origin)
    if bases := members.pop(EXTENDS, None):
        for name in _base_names(bases, reading):
            try:
                tree = _merge(tree, _base(path.parent / name, bases.origin, chain, reading), "")
            except SpecError as error:
                reading.problems += error.problems
                reading.is_complete = False
    return _merge(tree, Node(members, node.origin, node.key_origin), "")


def _base(path: Path, named_at: Origin, chain: tuple[Path, ...], reading: _Reading) -> Node:
    if not path.is_file():
        remedy = "give its path from this file's folder"
        raise SpecError([Problem(str(named_at), f"extends {path.name}, but there is no file {path}; {remedy}")])
    if path.resolve() in chain:
        circle = " -> ".join(p.name for p in (*chain, path))
        raise SpecError([Problem(str(named_at), f"extends {path.name} in a circle: {circle}; take one of them out")])
    return _with_bases(path, chain, reading)


def _base_names(bases: Node, reading: _Reading) -> list[str]:
    names = [bases.value] if isinstance(bases.value, str) else bases.value
    if isinstance(names, list) and all(isinstance(name, str) for name in names):
        return names
    reading.problems.append(Problem(str(bases.origin), "extends takes a file's path, or a list of them"))
    reading.is_complete = False
    return []


def _merge(under: Node, over: Node, path: str) -> Node:
    """Mappings merge key by key; anything else is replaced, as is a variant by one of another `kind`.

    A merged mapping stands in the upper file, since a missing key is added there.
    """
    if not isinstance(under.value, dict) or not isinstance(over.value, dict) or path in ALTERNATIVES:
        return over
    kind_over, kind_under = over.value.get("kind"), under.value.get("kind")
    if kind_over and kind_under and kind_over.value != kind_under.value:
        return over
    members = dict(under.value)
    if not path and "name" in over.value:
        members.pop("hypothesis", None)  # it is about the experiment of the other name
    for key, node in over.value.items():
        members[key] = _merge(members[key], node, f"{path}.{key}".lstrip(".")) if key in members else node
    place = over if over.origin.is_file else under
    return Node(members, place.origin, place.key_origin)


def _with_preset(tree: Node) -> Node:
    """Lay the model's own keys over those of the preset it names; an unknown name is left to validation."""
    model = tree.value.get("model")
    if model is None or not isinstance(model.value, dict) or "preset" not in model.value:
        return tree
    name = model.value["preset"].value
    if not isinstance(name, str) or name not in MODEL_BY_PRESET:
        return tree
    preset = _plain_node(MODEL_BY_PRESET[name], Origin(f"preset {name}", is_file=False))
    return Node({**tree.value, "model": _merge(preset, model, "model")}, tree.origin, tree.key_origin)


def _plain_node(value: Any, origin: Origin) -> Node:
    if isinstance(value, Mapping):
        value = {str(key): _plain_node(member, origin) for key, member in value.items()}
    return Node(value, origin, origin)


def _override_node(override: str, problems: list[Problem]) -> Node:
    path, equals, text = override.partition("=")
    keys = [key.strip() for key in path.split(".")]
    origin = Origin(f"--set {override}", is_file=False)
    if not equals or not all(keys):
        problems.append(Problem(str(origin), "takes dotted.path=value, such as optim.max_lr=1e-3"))
        return Node({}, origin, origin)
    node = _plain_node(scalar(text), origin)
    for key in reversed(keys):
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


def _validate(tree: Node, reading: _Reading) -> ResolvedRun:
    problems = reading.problems
    try:
        spec = RunSpec.model_validate(_plain(tree))
    except ValidationError as error:
        details = error.errors()
        unknown_preset = any(detail["loc"] == ("model", "preset") for detail in details)
        for detail in details:
            brought = not reading.is_complete or (unknown_preset and detail["loc"][0] == "model")
            if not (detail["type"] == "missing" and brought):  # the base or the preset would have brought it
                problems.append(explain(detail, tree))
        problems += _size_problems(tree)
    if problems:
        raise SpecError(sorted(dict.fromkeys(problems), key=_place))
    return ResolvedRun(spec, dict(_origins(tree)))


def _place(problem: Problem) -> tuple[str, int]:
    """Sorts problems by file and line."""
    file, _, line = problem.where.rpartition(":")
    return (file, int(line)) if line.isdigit() else (problem.where, 0)


def _size_problems(tree: Node) -> list[Problem]:
    """The check between sections, which validation skips where anything else is wrong."""
    stored, model = (_at(tree, (section, "image_size_px")) for section in ("data", "model"))
    if stored is None or model is None or not (type(stored.value) is type(model.value) is int):
        return []
    message = size_mismatch(stored.value, model.value)
    return [Problem(str(stored.origin), f"data.image_size_px {message}")] if message else []


def _at(tree: Node, path: Sequence[str]) -> Node | None:
    for key in path:
        if not isinstance(tree.value, dict) or key not in tree.value:
            return None
        tree = tree.value[key]
    return tree
