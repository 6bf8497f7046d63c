"""Settings from flags and variables, and options of an answer; both refuse with a sentence."""

import json
import math
from dataclasses import asdict, fields
from typing import get_args, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm.backend import ImageKnob
from vlm.errors import RequestError, SettingError
from vlm.options import (
    OPTION_CHOICES,
    OPTION_RANGES,
    OPTION_TYPES,
    GenerationOptions,
    Preset,
    with_preset,
)
from vlm.settings import (
    RANGES,
    SWITCHES,
    Parser,
    Settings,
    generation_options,
    option_words,
    parse_command,
    parse_program,
    read_settings,
    setting_words,
    terminal_language,
)

# ---- the program's settings ----

NOT_DEFAULT = {
    "model": "/models/my model",
    "tokenizer": "/models/my words",
    "quantization": "nf4",
    "dtype": "float32",
    "device": "cuda:1",
    "device_map": "balanced",
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
    "max_conversation_megabytes": 12.5,
    "idle_minutes": 1.5,
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
        ("max_conversation_megabytes", "1001", "0.01 … 1000"),
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
    settings = Settings(max_megapixels=2, max_file_megabytes=1, max_conversation_megabytes=3)
    limits = settings.conversation_limits
    assert (limits.megapixels, limits.file_bytes) == (2, 3_000_000)


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
        ({"seed": {}}, "option_type"),
        ({"temperature": math.nan}, "option_out_of_range"),
        ({"temperature": math.inf}, "option_out_of_range"),
        ({"image_detail": 6}, "option_type"),
        ({"image_detail": True}, "option_type"),
        ({"image_detail": ["tiles=6"]}, "option_type"),
        ({"image_detail": {"tiles": 6.0}}, "option_type"),
        ({"image_detail": {"tiles": "6"}}, "option_type"),
        ({"image_detail": {"tiles": 6, "thumbnail": None}}, "option_type"),
        ({"image_detail": {6: 6}}, "option_type"),
    ],
)
def test_options_in_json_that_mean_nothing(values, key):
    with pytest.raises(RequestError) as caught:
        GenerationOptions.from_json(values)
    assert caught.value.key == key


@given(
    st.dictionaries(
        st.sampled_from([*OPTION_TYPES, "other"]),
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text()
        | st.lists(st.text())
        | st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.floats()),
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


def parse_options(*words: str) -> GenerationOptions:
    parser = Parser()
    parser.add_generation_options()
    return generation_options({**vars(parser.parse_args(words)), "images": ["a.png"]})


def test_options_from_flags():
    words = ["--temperature", "0.7", "--top-k", "5", "--stop", ".", "--stop", "!", "--seed=3"]
    options = GenerationOptions(temperature=0.7, top_k=5, stop=(".", "!"), seed=3)
    assert parse_options(*words) == options
    assert parse_options() == GenerationOptions()


KNOBS = get_args(get_type_hints(ImageKnob)["name"])


def test_what_is_on_or_off_about_images_is_known_by_name():
    assert sorted(SWITCHES) == sorted(set(KNOBS) - {"tiles", "pixels"})


@pytest.mark.parametrize(
    ("words", "detail"),
    [
        (["tiles=6"], {"tiles": 6}),
        ([" tiles = 6 ", "thumbnail=0", "padding=TRUE"], None),
        (["thumbnail=1", "splitting=false"], {"thumbnail": True, "splitting": False}),
        (["tiles=6", "tiles=2"], {"tiles": 2}),
        (["something=1"], {"something": 1}),
    ],
)
def test_image_detail_from_flags(words, detail):
    detail = detail or {"tiles": 6, "thumbnail": False, "padding": True}
    got = parse_options(*(f"--image-detail={word}" for word in words)).image_detail
    assert got == detail
    assert {name: type(value) for name, value in got.items()} == {
        name: type(value) for name, value in detail.items()
    }


@pytest.mark.parametrize(
    "word", ["", "tiles", "tiles=", "=6", "tiles=many", "tiles=6.5", "tiles=true", "padding=6"]
)
def test_image_detail_in_another_form_is_refused(word):
    with pytest.raises(SettingError, match="Write NAME=VALUE, such as tiles=6") as caught:
        parse_options("--image-detail", word)
    assert caught.value.facts == {"got": word}


def test_words_that_are_no_numbers_are_refused_on_the_command_line():
    for word in ("nan", "inf"):
        with pytest.raises(RequestError, match=r"must be from 0\.0 to 5\.0"):
            parse_options("--temperature", word)


def values_of(name: str) -> st.SearchStrategy:
    """Any value that an option takes."""
    if name == "stop":
        # Python 3.11 loses a value that is only "--".
        texts = st.text() | st.sampled_from(["-5", "--seed", "-"])
        return st.lists(texts, max_size=3).map(tuple).filter(lambda texts: "--" not in texts)
    if name == "image_detail":
        counts = st.dictionaries(st.sampled_from(["tiles", "pixels"]), st.integers())
        switches = st.dictionaries(st.sampled_from(SWITCHES), st.booleans())
        return st.builds(lambda one, other: {**one, **other}, counts, switches)
    if name in OPTION_CHOICES:
        return st.sampled_from(OPTION_CHOICES[name])
    low, high = OPTION_RANGES[name]
    whole = float not in OPTION_TYPES[name]
    return st.integers(int(low), int(high)) if whole else st.floats(low, high)


any_options = st.fixed_dictionaries(
    {}, optional={name: values_of(name) for name in OPTION_TYPES}
).map(lambda given: GenerationOptions(**given))


def exact(options: GenerationOptions) -> str:
    """Tells True from 1, which compare as equal."""
    return repr(asdict(options))


@given(any_options)
def test_options_go_to_json_and_to_words_and_back(options):
    given = options.to_json()
    assert given.keys() == {
        name
        for name, value in asdict(options).items()
        if value != getattr(GenerationOptions(), name)
    }
    again = GenerationOptions.from_json(json.loads(json.dumps(given)))
    assert exact(again) == exact(options)
    parsed = parse_options(*option_words(options))
    assert exact(parsed) == exact(options)


def test_options_share_nothing_with_their_json():
    given = {"image_detail": {"tiles": 6}, "stop": ["."]}
    options = GenerationOptions.from_json(given)
    given["image_detail"]["tiles"] = 2
    options.to_json()["image_detail"]["tiles"] = 3
    assert options.to_json() == {"stop": ["."], "image_detail": {"tiles": 6}}
    assert options == GenerationOptions(image_detail={"tiles": 6}, stop=(".",))


@pytest.mark.parametrize("name", [field.name for field in fields(Settings)])
def test_settings_go_to_words_and_back(name, monkeypatch):
    monkeypatch.delenv(f"VLM_{name.upper()}", raising=False)
    settings = Settings(**{name: NOT_DEFAULT[name]})
    words = setting_words(settings, list(NOT_DEFAULT))
    assert getattr(parse_program(words), name) == NOT_DEFAULT[name]
    assert setting_words(Settings(), list(NOT_DEFAULT)) == []
    assert setting_words(settings, []) == []


@pytest.mark.parametrize("word", ["0", "-1", "8", "two", "1.5", "nan"])
def test_counts_have_a_range(word):
    parser = Parser()
    parser.add_count("--times", default=1, most=7, text="how often")
    assert (parser.parse_args([]).times, parser.parse_args(["--times", "7"]).times) == (1, 7)
    with pytest.raises(SettingError) as caught:
        parser.parse_args([f"--times={word}"])
    assert caught.value.facts == {"name": "--times", "got": word, "accepted": "1 … 7"}


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


# ---- presets ----

SURE = Preset(name="sure", values={"temperature": 0, "num_beams": 3})


def test_a_preset_gives_what_was_not_set_otherwise():
    chosen = GenerationOptions(num_beams=2, stop=("END",), image_detail={"tiles": 4})
    options = with_preset(chosen, "sure", [SURE])
    assert options == GenerationOptions(
        temperature=0, num_beams=2, stop=("END",), image_detail={"tiles": 4}
    )
    assert with_preset(chosen, None, [SURE]) is chosen


@pytest.mark.parametrize(("presets", "known"), [([SURE], "sure"), ([], "-")])
def test_an_unknown_preset_names_those_that_are_known(presets, known):
    with pytest.raises(SettingError, match=f"'other'; it has: {known}"):
        with_preset(GenerationOptions(), "other", presets)
