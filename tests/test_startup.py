"""What is imported before it is needed: nothing."""

import importlib
import subprocess
import sys

import pytest

import jaxstyle
from jaxstyle.cli import main

# What the standard library's own modules do not account for.
LOADED = "import sys; print(*{name.partition('.')[0] for name in sys.modules} - sys.stdlib_module_names)"
HEAVY = {"h5py", "jaxopt", "matplotlib", "optax", "orbax", "pooch", "requests", "scipy"}


def loaded_by(statement):
    run = subprocess.run([sys.executable, "-c", f"{statement}; {LOADED}"], check=True, capture_output=True,
                         text=True)
    return {name for name in run.stdout.split() if not name.startswith(("_", "sphinxcontrib"))}


def test_import_jaxstyle_loads_nothing_but_itself():
    assert loaded_by("import jaxstyle, jaxstyle.cli.main") - loaded_by("pass") == {"jaxstyle"}


def test_a_command_loads_no_library_before_it_is_used():
    loaded = loaded_by("import jaxstyle.cli.stylize, jaxstyle.cli.weights, jaxstyle.cli.sweep")
    assert {"jaxstyle", "jax", "flax", "tyro"} <= loaded
    assert not loaded & HEAVY


@pytest.mark.parametrize("name", jaxstyle.__all__)
def test_public_names(name):
    assert getattr(jaxstyle, name) is not None
    assert name in dir(jaxstyle)


def test_unknown_public_name():
    with pytest.raises(AttributeError, match="has no attribute 'stylise'"):
        jaxstyle.stylise  # noqa: B018


@pytest.mark.parametrize("name", main.COMMANDS)
def test_overview_says_what_each_command_says(name):
    place, about = main.COMMANDS[name]
    module, _, kind = place.partition(".")
    text = getattr(importlib.import_module(f"jaxstyle.cli.{module}"), kind).__doc__
    assert " ".join(text.split("\n\n")[0].split()).startswith(about)


def test_version_overview_and_unknown_command(capsys):
    assert main.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("jaxstyle 0.")
    assert main.main(["--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("usage: jaxstyle") and all(name in out for name in main.COMMANDS)
    assert main.main([]) == 2
    assert main.main(["paint"]) == 2
    assert "no command 'paint'" in capsys.readouterr().err
