"""Settings from flags and variables, and options of an answer; both refuse with a sentence."""

import json
import math
from dataclasses import asdict, fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm.errors import RequestError, SettingError
from vlm.settings import (
    OPTION_RANGES,
    OPTION_TYPES,
    RANGES,
    GenerationOptions,
    Parser,
    Settings,
    generation_options,
    parse_command,
    parse_program,
    read_settings,
    terminal_language,
)

# ---- the program's settings ----

NOT_DEFAULT = {
    "model": "/models/my model",
    "quantization": "nf4",
    "dtype": "float32",
    "device": "cuda:1",
    "backend": "http://127.0.0.1:8000/v1",
    "host": "0.0.0.0",
    "port": 7861,
    "language": "zh",
    "open_browser": True,
    "hosted": True,
    "max_megapixels": 2.5,
    "max_side": 512,
    "max_file_megabytes": 1.5,
    "max_images": 2,
}


def test_defaults():
    assert read_settings({}, {}) == Settings()
    assert Settings().model == "pocket"
    assert (Settings().host, Settings().port) == ("127.0.0.1", 7860)


@pytest.mark.parametrize("name", [field.name for field in fields(Settings)])
def test_every_setting_has_a_variable_and_a_flag(name, monkeypatch):
    value = NOT_DEFAULT[name]
    text = str(int(value)) if isinstance(value, bool) else str(value)
    wanted = asdict(Settings()) | {name: value}
    assert asdict(read_settings({}, {f"VLM_{name.upper()}": f" {text} "})) == wanted
    for variable in (f"VLM_{field.name.upper()}" for field in fields(Settings)):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.delenv("SPACE_ID", raising=False)
    assert asdict(parse_program(["--" + name.replace("_", "-"), text])) == wanted


def test_flag_goes_before_variable_before_default():
    environ = {"VLM_PORT": "8001", "VLM_MODEL": "a", "VLM_DTYPE": ""}
    settings = read_settings({"port": "8002", "model": None}, environ)
    assert (settings.port, settings.model, settings.dtype) == (8002, "a", "auto")


def test_flags_of_yes_and_no():
    assert parse_program(["--open-browser"]).open_browser
    assert not parse_program(["--open-browser", "0"]).open_browser
    for text, value in {"1": True, "TRUE": True, "yes": True, "0": False, "no": False}.items():
        assert read_settings({}, {"VLM_HOSTED": text}).hosted is value


def test_a_space_is_hosted_and_reached_from_outside():
    space = read_settings({}, {"SPACE_ID": "someone/diptych"})
    assert (space.hosted, space.host) == (True, "0.0.0.0")
    assert not read_settings({}, {"SPACE_ID": "someone/diptych", "VLM_HOSTED": "0"}).hosted


@pytest.mark.parametrize(
    ("name", "got", "accepted"),
    [
        ("port", "http", "1 … 65535"),
        ("port", "80.5", "1 … 65535"),
        ("port", "65536", "1 … 65535"),
        ("port", "-1", "1 … 65535"),
        ("max_megapixels", "nan", "0.01 … 1000"),
        ("max_megapixels", "inf", "0.01 … 1000"),
        ("max_images", "0", "1 … 100"),
        ("hosted", "maybe", "0, 1"),
        ("quantization", "int4", "auto, none, int8, nf4, fp4"),
        ("language", "de", "auto, en, zh"),
    ],
)
def test_bad_values_are_named_with_what_is_accepted(name, got, accepted):
    for source in ({name: got}, {}), ({}, {f"VLM_{name.upper()}": got}):
        with pytest.raises(SettingError) as caught:
            read_settings(*source)
        assert caught.value.facts == {"name": name, "got": got, "accepted": accepted}


def test_every_number_has_a_range_that_holds_its_default():
    numbers = {
        name: value for name, value in asdict(Settings()).items() if type(value) in (int, float)
    }
    assert numbers.keys() == RANGES.keys()
    assert all(low <= numbers[name] <= high for name, (low, high) in RANGES.items())


def test_image_limits():
    limits = Settings(max_megapixels=2, max_side=300, max_file_megabytes=1).image_limits
    assert (limits.megapixels, limits.side, limits.file_bytes) == (2, 300, 1_000_000)


@pytest.mark.parametrize(
    ("setting", "environ", "language"),
    [
        ("auto", {"LANG": "zh_CN.UTF-8"}, "zh"),
        ("auto", {"LANG": "zh_CN.UTF-8", "LC_ALL": "en_US.UTF-8"}, "en"),
        ("auto", {}, "en"),
        ("zh", {"LANG": "en_US.UTF-8"}, "zh"),
        ("en", {"LANG": "zh_CN.UTF-8"}, "en"),
    ],
)
def test_language_of_the_terminal(setting, environ, language):
    assert terminal_language(Settings(language=setting), environ) == language


# ---- options of an answer ----


@given(st.sampled_from(list(OPTION_RANGES)), st.data())
def test_options_within_their_range_are_taken(name, data):
    low, high = OPTION_RANGES[name]
    whole = float not in OPTION_TYPES[name]
    numbers = st.integers(int(low), int(high)) if whole else st.floats(low, high)
    value = data.draw(numbers)
    options = GenerationOptions.from_json(json.loads(json.dumps({name: value})))
    assert asdict(options) == asdict(GenerationOptions()) | {name: value}


@pytest.mark.parametrize("name", OPTION_RANGES)
def test_options_outside_their_range_are_refused(name):
    low, high = OPTION_RANGES[name]
    for value in (low - 1, high + 1, math.nan, math.inf):
        with pytest.raises(RequestError) as caught:
            GenerationOptions(**{name: value})
        facts = {"name": name, "low": low, "high": high}
        assert caught.value.facts == facts | {"got": caught.value.facts["got"]}


def test_unset_options_stay_unset():
    assert GenerationOptions.from_json({"seed": None, "temperature": None}) == GenerationOptions()
    assert GenerationOptions.from_json({"stop": ["\n", "."]}).stop == ("\n", ".")
    assert GenerationOptions.from_json({"stop": []}) == GenerationOptions()


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"temprature": 1}, "option_unknown"),
        ({"temperature": "1"}, "option_type"),
        ({"temperature": True}, "option_type"),
        ({"seed": 1.0}, "option_type"),
        ({"seed": [1]}, "option_type"),
        ({"stop": "."}, "option_type"),
        ({"stop": [1]}, "option_type"),
        ({"seed": -1}, "option_out_of_range"),
    ],
)
def test_options_in_json_that_mean_nothing(values, key):
    with pytest.raises(RequestError) as caught:
        GenerationOptions.from_json(values)
    assert caught.value.key == key


@given(
    st.dictionaries(
        st.sampled_from([*OPTION_TYPES, "other"]),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text()),
    )
)
def test_options_in_json_are_taken_or_refused_with_a_sentence(values):
    try:
        options = GenerationOptions.from_json(values)
    except RequestError as error:
        assert str(error)
    else:
        taken = {name: value for name, value in asdict(options).items() if name in values}
        expected = GenerationOptions()
        for name, value in values.items():
            unset = value is None
            value = tuple(value) if isinstance(value, list) else value
            assert taken[name] == (getattr(expected, name) if unset else value)


def test_options_from_flags():
    parser = Parser()
    parser.add_generation_options()
    words = ["--temperature", "0.7", "--top-k", "5", "--stop", ".", "--stop", "!", "--seed=3"]
    options = generation_options({**vars(parser.parse_args(words)), "images": ["a.png"]})
    assert options == GenerationOptions(temperature=0.7, top_k=5, stop=(".", "!"), seed=3)
    assert generation_options(vars(parser.parse_args([]))) == GenerationOptions()


# ---- commands ----


def test_only_the_command_that_was_asked_for_is_imported():
    imported = []

    def load(name):
        imported.append(name)
        return lambda parser: parser.add_argument("word"), lambda arguments, settings: 0

    run, arguments, settings = parse_command(
        ("chat", "info"), load, ["info", "hello", "--port", "8000"]
    )
    assert (imported, arguments.word, settings.port) == (["info"], "hello", 8000)
    assert run(arguments, settings) == 0
