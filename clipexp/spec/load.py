"""From a YAML file to a validated spec: extends, deep merge, a study's parameters, `--set`, preset, one validation.

    resolved = load_spec("experiments/run1.yaml", ["optim.max_lr=1e-3"])
    resolved.spec.optim.max_lr  # 0.001
    resolved.origin("optim.max_lr")  # "--set optim.max_lr=1e-3"

    experiment = read_experiment("experiments/run1.yaml")  # files are read here, once
    experiment.resolved(nested({"optim.max_lr": 1e-3}, lambda path: Origin("study lr")))

Every mistake is reported at once, each with its file and line, what is wrong, and the nearest valid key.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from clipexp.errors import Problem, SpecError
from clipexp.spec.base import Spec
from clipexp.spec.data import size_mismatch
from clipexp.spec.explain import explain
from clipexp.spec.presets import MODEL_BY_PRESET
from clipexp.spec.run import RunSpec
from clipexp.spec.shape import Model, container, fields_at
from clipexp.spec.yaml_lines import Node, Origin, parse, plain, scalar

SpecT = TypeVar("SpecT", bound=Spec)

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


@dataclass
class Reading:
    """What comes up while files are read."""

    problems: list[Problem] = field(default_factory=list)
    is_complete: bool = True  # False where a base can't be read: what is missing may stand there


@dataclass(frozen=True)
class Experiment:
    """What an experiment's files say, merged but not validated: read once, resolved often."""

    tree: Node
    reading: Reading

    def resolved(self, amendment: Node | None = None, overrides: Sequence[str] = ()) -> ResolvedRun:
        """Validate the files' values with an amendment (see `nested`) and `--set` overrides laid over them.

        Raises:
            SpecError: everything that is wrong with it.
        """
        reading = Reading([*self.reading.problems], self.reading.is_complete)
        tree = self.tree if amendment is None else _merge(self.tree, amendment, "")
        tree = _with_preset(with_overrides(tree, overrides, RunSpec, reading.problems))
        spec, details = validated(RunSpec, tree)
        if spec is None:
            unknown_preset = any(detail["loc"] == ("model", "preset") for detail in details)
            for detail in details:
                brought = not reading.is_complete or (unknown_preset and detail["loc"][0] == "model")
                if not (detail["type"] == "missing" and brought):  # the base or the preset would have brought it
                    reading.problems.append(explain(detail, tree, RunSpec))
            reading.problems += _size_problems(tree)
        if spec is None or reading.problems:
            raise SpecError(in_order(reading.problems))
        return ResolvedRun(spec, dict(_origins(tree)))


def load_spec(path: str | Path, overrides: Sequence[str] = ()) -> ResolvedRun:
    """Read a spec, with all that it extends.

    Args:
        path: a YAML file.
        overrides: `dotted.path=value`, as after `--set`.

    Raises:
        SpecError: everything that is wrong with it.
    """
    return read_experiment(path).resolved(overrides=overrides)


def read_experiment(path: str | Path) -> Experiment:
    """Read a spec's files, with all that it extends. Mistakes in them are told when it is resolved.

    Raises:
        SpecError: the file itself can't be read.
    """
    reading = Reading()
    return Experiment(_with_bases(Path(path), (), reading), reading)


def resolve(content: Mapping[str, Any]) -> ResolvedRun:
    """Validate a spec that is at hand as plain nested data, with the same presets and errors as a file."""
    return Experiment(_plain_node(content, ROOT), Reading()).resolved()


def nested(value_by_path: Mapping[str, Any], origin_of: Callable[[str], Origin]) -> Node:
    """Values at dotted paths as a tree to lay over another, the later over the earlier."""
    tree = Node({}, ROOT, ROOT)
    for path, value in value_by_path.items():
        node = _plain_node(value, origin_of(path))
        tree = _merge(tree, _at_keys(path.split("."), node), "")
    return tree


def with_overrides(tree: Node, overrides: Sequence[str], root: Model, problems: list[Problem]) -> Node:
    """A tree of a `root`, amended by what stands after `--set`."""
    for override in overrides:
        tree = _merge(tree, _override_node(override, tree, root, problems), "")
    return tree


def validated(root: type[SpecT], tree: Node) -> tuple[SpecT | None, list[ErrorDetails]]:
    """The spec that a tree holds; or None, and what is wrong with it."""
    try:
        return root.model_validate(plain(tree)), []
    except ValidationError as error:
        return None, error.errors()


def in_order(problems: Sequence[Problem]) -> list[Problem]:
    """Each problem once, by file and line."""
    return sorted(dict.fromkeys(problems), key=_place)


def _with_bases(path: Path, below: tuple[Path, ...], reading: Reading) -> Node:
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


def _base(path: Path, named_at: Origin, chain: tuple[Path, ...], reading: Reading) -> Node:
    if not path.is_file():
        remedy = "give its path from this file's folder"
        raise SpecError([Problem(str(named_at), f"extends {path.name}, but there is no file {path}; {remedy}")])
    if path.resolve() in chain:
        circle = " -> ".join(p.name for p in (*chain, path))
        raise SpecError([Problem(str(named_at), f"extends {path.name} in a circle: {circle}; take one of them out")])
    return _with_bases(path, chain, reading)


def _base_names(bases: Node, reading: Reading) -> list[str]:
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
    items = tuple(_plain_node(member, origin) for member in value) if isinstance(value, list) else ()
    return Node(value, origin, origin, items)


def _at_keys(keys: Sequence[str], node: Node) -> Node:
    for key in reversed(keys):
        node = Node({key: node}, node.origin, node.origin)
    return node


def _override_node(override: str, tree: Node, root: Model, problems: list[Problem]) -> Node:
    path, equals, text = override.partition("=")
    keys = [key.strip() for key in path.split(".")]
    origin = Origin(f"--set {override}", is_file=False)
    if not equals or not all(keys):
        example = "search.optim.max_lr.high=1e-2" if "search" in root.model_fields else "optim.max_lr=1e-3"
        problems.append(Problem(str(origin), f"takes dotted.path=value, such as {example}"))
        return Node({}, origin, origin)
    return _at_keys(_with_dotted_key(keys, tree, root), _plain_node(scalar(text), origin))


def _with_dotted_key(keys: list[str], tree: Node, root: Model) -> list[str]:
    """Below a mapping of free keys, which are dotted paths themselves: the one that is there, or else all the rest."""
    section, rest = keys[0], keys[1:]
    if not rest or all(container(field.annotation) is not dict for field in fields_at(root, [section])):
        return keys
    there = at(tree, [section])
    for num_parts in range(len(rest), 0, -1):
        if there and isinstance(there.value, dict) and (key := ".".join(rest[:num_parts])) in there.value:
            return [section, key, *rest[num_parts:]]
    return [section, ".".join(rest)]


def _origins(node: Node, path: str = "") -> Iterator[tuple[str, Origin]]:
    if isinstance(node.value, dict):
        for key, member in node.value.items():
            yield from _origins(member, f"{path}.{key}".lstrip("."))
    else:
        yield path, node.origin


def _place(problem: Problem) -> tuple[str, int]:
    """Sorts problems by file and line."""
    file, _, line = problem.where.rpartition(":")
    return (file, int(line)) if line.isdigit() else (problem.where, 0)


def _size_problems(tree: Node) -> list[Problem]:
    """The check between sections, which validation skips where anything else is wrong."""
    stored, model = (at(tree, (section, "image_size_px")) for section in ("data", "model"))
    if stored is None or model is None or not (type(stored.value) is type(model.value) is int):
        return []
    message = size_mismatch(stored.value, model.value)
    return [Problem(str(stored.origin), f"data.image_size_px {message}")] if message else []


def at(tree: Node, path: Sequence[str]) -> Node | None:
    """What stands below keys, if anything."""
    for key in path:
        if not isinstance(tree.value, dict) or key not in tree.value:
            return None
        tree = tree.value[key]
    return tree
