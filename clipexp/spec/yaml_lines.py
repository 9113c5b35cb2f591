"""YAML with the line of every key and value, and numbers as people write them.

    parse(Path("experiments/run1.yaml"))  # a Node tree

PyYAML follows YAML 1.1, in which `1e-3` is a string; here it is a number.
"""

import re
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from clipexp.errors import Problem, SpecError

_FLOAT = re.compile(
    r"^[-+]?(\d[\d_]*)(\.[\d_]*)?([eE][-+]?\d+)$|^[-+]?[\d_]*\.\d[\d_]*([eE][-+]?\d+)?$|^[-+]?\d[\d_]*\.$"
)


@dataclass(frozen=True)
class Origin:
    """Where a value came from: `run1.yaml:12`, `--set`, a preset, or the default."""

    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Node:
    """A value with its place. `value` is a plain scalar or list, or a mapping of keys to nodes."""

    value: Any
    origin: Origin
    key_origin: Origin


class _Loader(yaml.CSafeLoader if hasattr(yaml, "CSafeLoader") else yaml.SafeLoader):  # type: ignore[misc]
    """The safe loader, with floats such as 1e-3."""


# Rebuilt rather than amended in place: the resolvers are shared with every user of PyYAML in the process.
_Loader.yaml_implicit_resolvers = {
    first: [entry for entry in entries if entry[0] != "tag:yaml.org,2002:float"]
    for first, entries in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))


def parse(path: Path) -> Node:
    """Read a YAML file whose top is a mapping.

    Raises:
        SpecError: the file is missing, no YAML, no mapping, or says a key twice.
    """
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "no text"
        raise SpecError([Problem(str(path), f"can't be read ({reason}); give the path of a spec file")]) from error
    return parse_text(text, str(path))


def parse_text(text: str, file: str) -> Node:
    """`parse`, for a text that stands for `file` in messages."""
    loader = _Loader(text)
    try:
        tree = loader.get_single_node()
        problems: list[Problem] = []
        node = _node(loader, tree, file, problems) if tree else Node({}, Origin(file), Origin(file))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise SpecError([Problem(f"{file}:{line}", f"is no valid YAML: {error.problem}")]) from error
    finally:
        loader.dispose()
    if not isinstance(node.value, dict):
        problems.append(Problem(f"{file}:1", "a spec is a mapping of keys to values, such as `name: first`"))
    if problems:
        raise SpecError(problems)
    return node


def scalar(text: str) -> Any:
    """A value as the command line gives it: `1e-3` a number, `true` a truth value, `[1, 2]` a list."""
    loader = _Loader(text)
    try:
        return loader.get_single_data()
    except yaml.YAMLError:
        return text
    finally:
        loader.dispose()


def _node(loader: Any, tree: yaml.Node, file: str, problems: list[Problem], key: Origin | None = None) -> Node:
    origin = Origin(f"{file}:{tree.start_mark.line + 1}")
    if not isinstance(tree, yaml.MappingNode):
        return Node(loader.construct_object(tree, deep=True), origin, key or origin)
    members: dict[Hashable, Node] = {}
    for key_tree, value_tree in tree.value:
        name = str(loader.construct_object(key_tree, deep=True))
        key_origin = Origin(f"{file}:{key_tree.start_mark.line + 1}")
        if name in members:
            problems.append(Problem(str(key_origin), f"{name} stands here again, after {members[name].key_origin}"))
        members[name] = _node(loader, value_tree, file, problems, key_origin)
    return Node(members, origin, key or origin)
