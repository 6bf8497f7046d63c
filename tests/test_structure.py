"""What ARCHITECTURE.md promises about the files themselves: who imports whom, sizes, the tree."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from vlm import families

ROOT = Path(__file__).parents[1]
SOURCES = sorted([*(ROOT / "vlm").rglob("*.py"), ROOT / "app.py"])
TREES = {path.relative_to(ROOT).as_posix(): ast.parse(path.read_bytes()) for path in SOURCES}

ORDER = (
    "errors",
    "messages",
    "images",
    "fetch",
    "code_spans",
    "markup",
    "words",
    "strings",
    "options",
    "settings",
    "backend",
    "explanation",
    "inspection",
    "model_slot",
    "families",
    "sources",
    "memory",
    "progress",
    "construction",
    "model_errors",
    "quantization",
    "prequantized",
    "model_parts",
    "download",
    "processor_parts",
    "processors",
    "image_layout",
    "unfilled",
    "loading",
    "saving",
    "rehearsal",
    "kv_cache",
    "workload",
    "blueprint",
    "estimate",
    "tower",
    "sampling",
    "streaming",
    "generation",
    "cache",
    "reading",
    "holding",
    "answer",
    "trace",
    "attention",
    "chances",
    "occlusion",
    "explainer",
    "inspector",
    "embedding",
    "wire",
    "engine",
    "opening",
    "unweighted",
    "precision",
    "measured",
    "picker",
    "remote",
    "chat",
    "report",
    "transcript",
    "arrays",
    "refinement",
    "alignment",
    "exposure",
    "compare",
    "difference_pictures",
    "difference_words",
    "stage_pictures",
    "feature_difference",
    "word_difference",
    "compare_ask",
    "multiples",
    "multiples_export",
    "versus",
    "versus_runner",
    "places",
    "grounding",
    "explain",
    "vlm",
    "serve",
    "ui",
    "commands",
    "__main__",
    "app",
)
"""A module imports only from those before it; a package counts as one; `vlm` is its __init__."""

ONLY_IN = {
    "gradio": ("vlm/ui/", "app.py"),
    "gradio_client": ("vlm/commands/bench.py",),
    "ray": ("vlm/serve/ray_app.py",),
    "fastapi": ("vlm/serve/",),
    "openai": ("vlm/remote.py",),
    "argparse": ("vlm/settings.py",),
}
"""What may be imported in few places only."""


def module_name(file: str) -> str:
    """ "vlm/ui/look.py" -> "vlm.ui.look"."""
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


MODULES = {module_name(file) for file in TREES}


def unit(module: str) -> str:
    """The entry of ORDER that a module belongs to: "vlm.ui.look" -> "ui"."""
    return module.split(".")[1] if module.startswith("vlm.") else module


def imports(file: str) -> Iterator[str]:
    """The full name of every module that a file imports, also inside functions and for types."""
    package = file.rpartition("/")[0].split("/")
    for node in ast.walk(TREES[file]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            for alias in node.names:
                full = f"{base}.{alias.name}"
                yield full if full in MODULES else base


def test_imports_are_seen():
    assert {"typing", "vlm.strings", "vlm.chat", "vlm.engine"} <= set(imports("vlm/__init__.py"))
    assert "vlm.loading" in imports("vlm/commands/info.py")  # inside a function
    assert "vlm.memory" in imports("vlm/engine.py")  # from vlm import memory


@pytest.mark.parametrize("file", TREES)
def test_imports_only_what_comes_before(file):
    mine = unit(module_name(file))
    assert mine in ORDER, f"{file} has no place in ORDER"
    for module in imports(file):
        if module.split(".")[0] == "vlm" and unit(module) != mine:
            assert ORDER.index(unit(module)) < ORDER.index(mine), f"{file} imports {module}"


@pytest.mark.parametrize("file", TREES)
def test_imports_stay_where_they_belong(file):
    for module in imports(file):
        places = ONLY_IN.get(module.split(".")[0], (file,))
        assert file.startswith(places), f"{file} imports {module}"


SHARED = ("common", "stored")
"""Modules beside the families, for what several of them need."""


def test_a_family_imports_no_other_family():
    for file in TREES:
        own = re.match(r"vlm/families/(\w+)/", file)
        for module in imports(file) if own else ():
            other = re.match(r"vlm\.families\.(\w+)", module)
            assert not other or other[1] in (own[1], *SHARED), f"{file} imports {module}"


def test_environment_is_read_in_settings_only():
    readers = {
        file
        for file, tree in TREES.items()
        for node in ast.walk(tree)
        if (isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv", "putenv"))
        or (isinstance(node, ast.alias) and node.name in ("environ", "getenv"))
    }
    assert readers == {"vlm/settings.py"}


HEAVY = ("torch", "transformers", "gradio", "openai", "ray", "fastapi")


@pytest.mark.parametrize(
    "code",
    [
        "import vlm; vlm.open_image; vlm.ChatSession",
        "from vlm import families; assert families.find('someone/something') is None",
        "from vlm import families; assert families.look_up('pocket') and families.catalogue()",
        "import vlm.__main__; [vlm.__main__.load_command(name) for name in vlm.__main__.NAMES]",
    ],
)
def test_importing_is_light(code):
    check = f"import sys; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; {check}"], capture_output=True, text=True, cwd=ROOT
    )
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


MODEL_NAMES = {*families.NAMES, "internvl", "minicpm", "minimind", "paligemma", "siglip", "qwen"}


@pytest.mark.parametrize("file", [file for file in TREES if "vlm/families/" not in file])
def test_no_family_is_named_outside_its_folder(file):
    text = (ROOT / file).read_text(encoding="utf-8")
    if file.startswith("vlm/words/"):
        return
    if file == "vlm/settings.py":
        text = text.replace('model: str = "pocket"', "")
    assert [name for name in MODEL_NAMES if name in text.lower()] == []


# ---- no remote code ----

CALLS = [
    (f"{file}:{node.lineno}", node)
    for file, tree in TREES.items()
    for node in ast.walk(tree)
    if isinstance(node, ast.Call)
]


def keywords(call: ast.Call) -> dict[str | None, str]:
    return {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}


def test_remote_code_is_never_trusted():
    trusting = [
        where
        for where, call in CALLS
        if keywords(call).get("trust_remote_code", "False") != "False"
    ]
    assert trusting == []
    for file in TREES:  # nor through a dictionary or by assignment
        text = (ROOT / file).read_text(encoding="utf-8")
        assert not re.search(r"trust_remote_code['\"\]]*\s*[:=]\s*(?!False\b)", text), file


def test_every_call_that_could_run_remote_code_says_no():
    """Also where the class is only known at run time; `SomeConfig` itself runs its own code."""
    checked = 0
    for where, call in CALLS:
        if not isinstance(call.func, ast.Attribute):
            continue
        if call.func.attr not in ("from_pretrained", "from_config"):
            continue
        owner = ast.unparse(call.func.value)
        if owner.startswith("Auto") or not owner[0].isupper():
            assert keywords(call).get("trust_remote_code") == "False", where
            checked += 1
    assert checked >= 4


def test_pickles_are_read_as_weights_only():
    for where, call in CALLS:
        name = ast.unparse(call.func)
        assert not re.fullmatch(r"(pickle|joblib|numpy|dill)\.loads?", name), where
        if name == "torch.load":
            assert keywords(call).get("weights_only") == "True", where


# ---- sizes ----


@pytest.mark.parametrize("file", TREES)
def test_files_and_functions_are_short(file):
    lines = (ROOT / file).read_text(encoding="utf-8").count("\n")
    assert lines <= 400 or file.startswith("vlm/words/"), (
        f"{file} has {lines} lines: split it by stage"
    )
    for node in ast.walk(TREES[file]):
        if isinstance(node, ast.FunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= 60, f"{file}: {node.name} has {length} lines"


# ---- the tree in README ----


def listed() -> set[str]:
    """The paths of README's tree: indented by two spaces a level, folders end with a slash."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    block = re.search(r"<!-- tree -->\s*```\w*\n(.*?)```", readme, re.DOTALL)
    assert block, "README.md has no fenced block after <!-- tree -->"
    paths: set[str] = set()
    folders: list[str] = []
    for line in block[1].splitlines():
        entry = re.fullmatch(r"((?:  )*)(\S+)\s+(\S.*)", line)
        assert entry, f"not a path and a phrase: {line!r}"
        folders = [*folders[: len(entry[1]) // 2], entry[2]]
        paths.add("".join(folders))
    return paths


def test_tree_lists_what_is_there():
    assert [path for path in sorted(listed()) if not (ROOT / path).exists()] == []
    assert [path for path in sorted(listed()) if (ROOT / path).is_dir() != path.endswith("/")] == []


def test_tree_lists_every_module():
    modules = {file for file in TREES if not file.endswith("__init__.py")}
    assert sorted(modules - listed()) == []


def test_tree_lists_every_top_level_entry():
    git = ["git", "-c", "safe.directory=*", "ls-files"]
    done = subprocess.run(git, capture_output=True, text=True, cwd=ROOT)
    if done.returncode != 0:
        pytest.skip("not a git checkout")
    tracked = {re.sub(r"/.*", "/", path) for path in done.stdout.splitlines()}
    assert sorted(tracked - listed()) == []
