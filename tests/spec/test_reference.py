"""The page of spec fields is fresh and complete."""

from pathlib import Path

from clipexp.spec.reference import PAGE, reference_page

ROOT = Path(__file__).parents[2]


def test_the_committed_page_is_what_the_specs_give() -> None:
    assert (ROOT / PAGE).read_text() == reference_page(), "run: python -m clipexp.spec.reference"


def test_every_field_says_what_it_does_and_what_it_takes() -> None:
    rows = [line for line in reference_page().splitlines() if line.startswith("| `") and ".kind: " not in line]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert len(rows) > 40
    assert [row for row in cells if not all(row)] == []
