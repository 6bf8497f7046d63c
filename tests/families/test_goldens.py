"""Every golden case and table of every root in VLM_GOLDENS: each stored number is met.

Run with `-rA` to read the largest difference of every stage.
"""

import ast
import importlib
import re
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from tests.support import goldens
from tests.support.goldens import Case, Check, Table
from vlm import families

CASES = list(goldens.cases())
TABLES = list(goldens.tables())
BLANKED = [case for case in CASES if case.has_images]
ROOT = Path(__file__).parents[2]


def runner(stored: Case | Table) -> ModuleType:
    """The module that runs the goldens of a family. Skips by name what has no family yet."""
    family = stored.family
    assert family in goldens.TOLERANCES, f"{stored.name}: {family!r} has no row of tolerances"
    if family not in families.NAMES:
        pytest.skip(f"{stored.name}: family not there yet")
    return importlib.import_module(f"tests.families.{family}.golden")


def run(case: Case) -> Check:
    check = Check(case)
    runner(case).run(case, check)
    print(check.report())
    return check


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Case) -> None:
    check = run(case)
    assert check.missed == []
    assert check.uncompared == []
    assert check.found


@pytest.mark.parametrize("case", BLANKED, ids=lambda case: case.name)
def test_blanked_images_fail(case: Case) -> None:
    """From the pixels to the last stage, so that no stage can do without the picture."""
    check = run(replace(case, blank=True))
    kinds = {row.kind for row in check.found} - {"exact"}
    assert check.missed_kinds() - {"exact"} == kinds


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_table(table: Table) -> None:
    check = Check(table)
    runner(table).run_table(table, check)
    print(check.report())
    assert check.missed == []
    assert check.uncompared == []
    assert len(check.found) >= table.rows


def test_goldens_here_are_small() -> None:
    sizes = [file.stat().st_size for file in goldens.DEFAULT_ROOT.rglob("*") if file.is_file()]
    assert sum(sizes) <= 12_000_000


def test_no_case_is_known_by_name() -> None:
    names = {case.folder.name for case in CASES if (case.folder / "case.json").exists()}
    names = {name for name in names if "_" in name}  # a single word may mean anything
    for file in [*ROOT.glob("vlm/**/*.py"), *ROOT.glob("tests/**/*.py")]:
        for node in ast.walk(ast.parse(file.read_bytes())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found = names & set(re.findall(r"\w+", node.value))
                assert not found, f"{file} line {node.lineno} names the case {found}"
