"""Settings of recipes as text: told apart on a command line, and turned into values of fields."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxstyle.cli.running.arguments import ROOTS, split_overrides
from jaxstyle.errors import JaxstyleError
from jaxstyle.pytrees import get, replace
from jaxstyle.solvers import SOLVERS, Adam, ScipyLbfgsb
from jaxstyle.transfer.presets import DEFAULT, GATYS_2015
from jaxstyle.transfer.settings import override, parse, scalar, solver_named

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
WORDS = st.text("abcdefghijklmnopqrstuvwxyz0123456789./", min_size=1).filter(lambda text: text[0] != "-")


def test_settings_are_told_from_other_arguments():
    rest, settings = split_overrides(["stylize", "a.png", "--terms.style.weight", "3", "--size", "64",
                                      "--style-scale=0.5", "--start", "x.png", "--start.noise", "-0.5"])
    assert rest == ["stylize", "a.png", "--size", "64", "--start", "x.png"]
    assert settings == {"terms.style.weight": "3", "style_scale": "0.5", "start.noise": "-0.5"}


@pytest.mark.parametrize("arguments", [["--solver"], ["--solver", "--pooling", "max"]])
def test_a_setting_without_a_value(arguments):
    with pytest.raises(JaxstyleError, match="--solver needs a value"):
        split_overrides(arguments)


@given(st.dictionaries(st.sampled_from(sorted(ROOTS - {"start"})), WORDS), st.lists(WORDS), st.booleans())
def test_any_settings_among_any_arguments(settings, others, equals):
    given = [part for name, value in settings.items()
             for part in ([f"--{name}={value}"] if equals else [f"--{name}", value])]
    assert split_overrides([*others, *given]) == (others, settings)
    assert split_overrides([*given, *others]) == (others, settings)


@given(NUMBERS)
def test_a_number_comes_through_as_it_is(value):
    changed = override(DEFAULT, {"terms.style.weight": repr(value)})
    found = get(changed, "terms.style.weight")
    assert found == value and isinstance(found, float)


@given(st.integers(-10**9, 10**9))
def test_a_whole_number_keeps_the_kind_of_the_field(value):
    changed = override(DEFAULT, {"terms.style.weight": str(value), "seed": str(value)})
    assert isinstance(get(changed, "terms.style.weight"), float)
    assert get(changed, "seed") == value and isinstance(get(changed, "seed"), int)


@given(st.lists(NUMBERS, min_size=1, max_size=6), st.sampled_from(["{}", "({})", "[{}]"]))
def test_lists_with_and_without_brackets(values, form):
    text = form.format(", ".join(map(repr, values)))
    assert parse(text, (1.0,)) == tuple(values)


@given(st.text(string.printable + "é∑\0"))
def test_no_text_is_too_odd(text):
    """Whatever is typed becomes a value or one line."""
    try:
        override(DEFAULT, {"precision": text, "terms.style.normalization": text})
    except JaxstyleError as error:
        assert str(error)


def test_words_of_settings():
    assert scalar("none") is None and scalar(" None ") is None
    assert scalar("true") is True and scalar("1e3") == 1000 and scalar("relu1_1") == "relu1_1"
    assert parse("1", "text") == "1"


def test_a_whole_is_set_before_its_parts():
    changed = override(GATYS_2015, {"solver.learning_rate": "0.5", "solver": "adam"})
    assert changed.solver == Adam(learning_rate=0.5)


@pytest.mark.parametrize("solver", SOLVERS)
def test_every_solver_has_its_name(solver):
    assert isinstance(solver_named(solver.__name__.lower()), solver)
    assert isinstance(solver_named("scipy-lbfgsb"), ScipyLbfgsb)


@pytest.mark.parametrize(("settings", "message"), [
    ({"solver": "newton"}, "unknown solver 'newton'; there are Lbfgs"),
    ({"terms.color.weight": "1"}, "'color' is not one of content, "),
    ({"terms.style.weight": "much"}, "takes a float such as"),
    ({"terms.style.weight.unit": "1"}, "it is a plain value"),
])
def test_mistakes_name_field_and_choices(settings, message):
    with pytest.raises(JaxstyleError, match=message):
        override(DEFAULT, settings)


def test_nothing_given_changes_nothing():
    assert override(DEFAULT, {}) == DEFAULT == replace(DEFAULT, {})
