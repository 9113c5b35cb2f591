"""The JSON schemas of experiments and studies, for editors.

`python -m clipexp.spec.schema` writes experiments/schema.json and studies/schema.json.
"""

import json
from pathlib import Path
from typing import Any

from clipexp.spec.load import EXTENDS
from clipexp.spec.run import RunSpec
from clipexp.spec.shape import all_paths
from clipexp.spec.study import StudySpec

SCHEMA_FILE = Path("experiments/schema.json")
STUDY_SCHEMA_FILE = Path("studies/schema.json")
COMMENT = "Regenerate with: python -m clipexp.spec.schema"


def experiment_schema() -> str:
    """The schema as JSON. A file may leave keys to what it extends, so none is required."""
    schema = RunSpec.model_json_schema()
    _forget_required(schema)
    schema["title"] = "clipexp experiment"
    schema["$comment"] = COMMENT
    path = {"type": "string"}
    schema["properties"] = {
        EXTENDS: {
            "anyOf": [path, {"type": "array", "items": path}],
            "description": "File or files, relative to this one, whose values this one amends.",
        },
        **schema["properties"],
    }
    return json.dumps(schema, indent=1) + "\n"


def study_schema() -> str:
    """The schema of studies as JSON. Searched paths are those of a run, so that editors complete them."""
    schema = StudySpec.model_json_schema()
    schema["title"] = "clipexp study"
    schema["$comment"] = COMMENT
    schema["properties"]["search"]["propertyNames"] = {"enum": list(all_paths(RunSpec))}
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
    STUDY_SCHEMA_FILE.write_text(study_schema())
