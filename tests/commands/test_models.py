"""`python -m vlm models`: one row a checkpoint, then how to load any other."""

from vlm import families
from vlm.strings import say


def test_every_checkpoint_has_a_row(run):
    ran = run("models")
    *rows, hint = ran.out.splitlines()
    assert (ran.status, ran.err) == (0, "")
    assert [row.split("\t")[0] for row in rows] == [each.name for each in families.catalogue()]
    assert rows[0].startswith("pocket\t146 M\tApache-2.0\ten\tShips with the program.")
    assert hint == say("cli.any_model")


def test_words_are_in_the_language_asked_for(run):
    assert "随程序附带" in run("models", "--language", "zh").out
