"""The structure of the package: every room imports only rooms above it, and no module imports in a circle."""

import ast
import graphlib
import importlib
import operator
import re
from pathlib import Path

import jaxstyle

PACKAGE = Path(jaxstyle.__file__).parent
ROOMS = ("root", "ops", "images", "backbones", "losses", "solvers", "weights", "transfer", "metrics", "runs",
         "fast", "video", "sweeps", "report", "cli")
VOCABULARY = {"__init__.py", "errors.py", "pytrees.py", "atomic.py", "reading.py", "references.py",
              "py.typed"}


def modules() -> dict[str, Path]:
    """Every module of the package, by its dotted name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = ("jaxstyle", *path.relative_to(PACKAGE).with_suffix("").parts)
        found[".".join(part for part in parts if part != "__init__")] = path
    return found


def imported(path: Path, known: dict[str, Path]) -> set[str]:
    """Modules of the package that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found.add(whole if whole in known else node.module)
    return found & known.keys()


def room(module: str) -> str:
    """Where a module lives; "" for the public face, which imports from everywhere."""
    parts = module.split(".")
    if len(parts) == 1:
        return ""
    return parts[1] if parts[1] in ROOMS else "root"


def test_every_room_imports_only_rooms_above_it():
    known = modules()
    up = [f"{module} imports {other}" for module, path in known.items() if room(module)
          for other in imported(path, known)
          if room(other) == "" or ROOMS.index(room(other)) > ROOMS.index(room(module))]
    assert up == []


def test_no_module_imports_in_a_circle():
    known = modules()
    graph = {module: imported(path, known) - {module} for module, path in known.items()}
    assert len(list(graphlib.TopologicalSorter(graph).static_order())) == len(known)


def test_the_root_holds_the_vocabulary_alone():
    files = {path.name for path in PACKAGE.iterdir() if path.is_file()}
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and (path / "__init__.py").exists()}
    assert files == VOCABULARY
    assert folders <= set(ROOMS)


def test_a_room_holds_at_most_a_dozen_files():
    for folder in {path.parent for path in modules().values()} - {PACKAGE}:
        assert len([path for path in folder.glob("*.py") if path.name != "__init__.py"]) <= 12, folder


def test_every_room_says_in_one_sentence_what_lives_there():
    for name, path in modules().items():
        if path.name == "__init__.py":
            assert ast.get_docstring(ast.parse(path.read_text())), name


def test_no_module_hides_behind_a_function_of_its_name():
    for name, path in modules().items():
        if path.name != "__init__.py":
            assert importlib.import_module(name) is operator.attrgetter(
                name.removeprefix("jaxstyle."))(jaxstyle), name


def test_no_function_takes_more_than_six_parameters():
    long = []
    for name, path in modules().items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                given = node.args
                names = [each.arg for each in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
                if len(names) - ("self" in names) > 6:
                    long.append(f"{name}.{node.name}({', '.join(names)})")
    assert long == []


def test_no_file_has_over_300_lines():
    assert [name for name, path in modules().items() if len(path.read_text().splitlines()) > 300] == []


def test_only_the_command_line_knows_flags():
    flags = []
    for name, path in modules().items():
        if room(name) != "cli":
            flags += [f"{name}:{node.lineno} {node.value[:60]}"
                      for node in ast.walk(ast.parse(path.read_text()))
                      if isinstance(node, ast.Constant) and isinstance(node.value, str)
                      and re.search(r"(?<![\w-])--[a-z]", node.value)]
    assert flags == []


def named(reference: str, known: dict[str, Path]) -> bool | None:
    """Whether what `room.module.name` in prose names is there; None if it names no room."""
    parts = reference.removeprefix("jaxstyle.").split(".")
    if parts[0] not in ROOMS:
        return None
    for length in range(len(parts), 0, -1):
        module = ".".join(("jaxstyle", *parts[:length]))
        if module in known:
            words = set(re.findall(r"\w+", known[module].read_text()))
            return set(parts[length:]) <= words
    return False


def test_what_prose_names_is_there():
    """Docstrings and documents name what there is as `room.module.name`; moving it leaves no old name."""
    known, root, stale, good = modules(), PACKAGE.parent, [], 0
    prose = (*root.glob("*.md"), *root.glob("docs/*.md"), *root.glob("experiments/*.py"))
    for path in (*PACKAGE.rglob("*.py"), *prose):
        for reference in re.findall(r"`([a-z_]+(?:\.[A-Za-z_]+)+)`", path.read_text()):
            if reference.rpartition(".")[2] in ("py", "md", "json", "toml", "html", "png"):
                continue
            found = named(reference, known)
            stale += [f"{path.name}: {reference}"] if found is False else []
            good += found is True
    assert not stale
    assert good > 20
    assert named("losses.gram.Gram", known) and named("losses.grams.Gram", known) is False
