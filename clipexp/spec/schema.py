"""The JSON schema of experiment files, for editors: `python -m clipexp.spec.schema` writes experiments/schema.json."""

import json
from pathlib import Path
from typing import Any

from clipexp.spec.load import EXTENDS
from clipexp.spec.run import RunSpec

SCHEMA_FILE = Path("experiments/schema.json")


def experiment_schema() -> str:
    """The schema as JSON. A file may leave keys to what it extends, so none is required."""
    schema = RunSpec.model_json_schema()
    _forget_required(schema)
    schema["title"] = "clipexp experiment"
    schema["$comment"] = "Regenerate with: python -m clipexp.spec.schema"
    path = {"type": "string"}
    schema["properties"] = {
        EXTENDS: {
            "anyOf": [path, {"type": "array", "items": path}],
            "description": "File or files, relative to this one, whose values this one amends.",
        },
        **schema["properties"],
    }
    return json.dumps(schema, indent=1) + "\n"


def _forget_required(node: Any) -> None:
    if isinstance(node, dict):
        node.pop("required", None)
        for value in node.values():
            _forget_required(value)
    elif isinstance(node, list):
        for value in node:
            _forget_required(value)


if __name__ == "__main__":
    SCHEMA_FILE.write_text(experiment_schema())
