"""`python -m vlm COMMAND`: finds the command; errors for people end it with a sentence."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

from vlm import __main__ as program
from vlm.commands import NAMES
from vlm.strings import say


def install(monkeypatch, run):
    """Makes `run(arguments, settings)` what every command does."""
    monkeypatch.setattr(program, "load_command", lambda name: (lambda parser: None, run))


def fails_with(error):
    def run(arguments, settings):
        raise error

    return run


def test_command_gets_its_arguments_and_the_settings(monkeypatch, run):
    seen = []
    install(monkeypatch, lambda *given: seen.append(given) or 3)
    assert run("models", "--port", "8000").status == 3
    ((arguments, settings),) = seen
    assert isinstance(arguments, SimpleNamespace)
    assert (arguments.port, settings.port) == ("8000", 8000)


@pytest.mark.parametrize("words", [[], ["walk"], ["--model", "pocket"]])
def test_unknown_command(words, run, capsys):
    with pytest.raises(SystemExit) as caught:
        run(*words)
    ran = capsys.readouterr()
    assert caught.value.code == 2
    assert ran.out == ""
    assert "COMMAND" in ran.err


@pytest.mark.parametrize(("language", "word"), [("en", "The setting"), ("zh", "设置")])
def test_error_is_a_sentence_on_stderr(language, word, monkeypatch, run):
    error = program.VLMError("setting_not_understood", name="port", got="x", accepted="1")
    install(monkeypatch, fails_with(error))
    ran = run("models", "--language", language)
    assert (ran.status, ran.out) == (1, "")
    assert ran.err.startswith(word)
    assert ran.err.count("\n") == 1


def test_bad_setting_is_told_in_the_language_of_the_terminal(monkeypatch, run):
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")
    monkeypatch.setenv("VLM_PORT", "http")
    ran = run("models")
    assert (ran.status, ran.out) == (1, "")
    assert ran.err.startswith("设置 port 的值是 'http'")


@pytest.mark.parametrize("words", [("chat", "-p", "What?", "--repeat"), ("bench", "--runs")])
@pytest.mark.parametrize("count", ["0", "1001", "some"])
def test_counts_that_make_no_sense_are_refused(words, count, run):
    ran = run(*words, count)
    assert (ran.status, ran.out) == (1, "")
    assert ran.err.startswith(f"The setting {words[-1]} is '{count}'; it takes 1 … 1000.")


def test_interrupt_ends_without_a_traceback(monkeypatch, run):
    install(monkeypatch, fails_with(KeyboardInterrupt()))
    assert run("models") == (130, "", "")


def test_a_fault_of_the_program_is_not_hidden(monkeypatch, run):
    install(monkeypatch, fails_with(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        run("models")


def test_help_lists_every_command(run, capsys):
    with pytest.raises(SystemExit) as caught:
        run("--help")
    ran = capsys.readouterr()
    assert (caught.value.code, ran.err) == (0, "")
    assert all(say(f"cli.{name}") in ran.out for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_help_of_a_command_is_there_before_torch(name):
    code = f"""
import sys
from vlm.__main__ import main
try:
    main([{name!r}, "--help"])
finally:
    print([heavy for heavy in ("torch", "gradio", "transformers") if heavy in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"usage: python -m vlm {name}" in done.stdout
    assert "--quantization auto|none|int8|nf4|fp4" in done.stdout
    assert done.stdout.endswith("\n[]\n")
