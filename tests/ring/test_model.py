"""The Spin models of rings (ring.pml, attach.pml), of a control lane (lane.pml) and of what is kept for the neighbour
(keep.pml): the protocol holds, and holds for its reasons, for each rule left out is found."""
import re
import subprocess
from pathlib import Path

import pytest
from needs import need

MODEL, ATTACHMENT, LANE, KEEP = (Path(__file__).with_name(f"{name}.pml") for name in ("ring", "attach", "lane", "keep"))


def errors(tmp_path: Path, *defines: str, model: Path) -> tuple[int, str]:
    """Errors that an exhaustive search finds, and what it printed."""
    need("spin", "gcc")
    for command in (["spin", "-a", *(f"-D{d}" for d in defines), str(model)],
                    ["gcc", "-O1", "-w", "-DSAFETY", "-DNOREDUCE", "-DCOLLAPSE", "-o", "pan", "pan.c"]):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stdout + done.stderr
    # -E: both asleep is judged by the observer, not as an invalid end state
    search = subprocess.run(["./pan", "-m1000000", "-E"], cwd=tmp_path, capture_output=True, text=True, timeout=1800)
    assert "max search depth too small" not in search.stdout
    return int(re.search(r"errors: (\d+)", search.stdout).group(1)), search.stdout


def holds(tmp_path: Path, *defines: str, model: Path, states: int) -> None:
    """Without an error, and more than `states` were looked at."""
    found, output = errors(tmp_path, *defines, model=model)
    assert found == 0, output
    assert int(re.search(r"(\d+) states, stored", output).group(1)) > states


@pytest.mark.parametrize("defines", [("KILLS=0", "RECORDS=6", "SLOTS=3"), ("KILLS=2", "RECORDS=3"), ("KILLS=1", "LOSSY", "RECORDS=3")],
                         ids=" ".join)
def test_no_wakeup_is_lost_and_no_wrong_slot_read(tmp_path, defines):
    holds(tmp_path, *defines, model=MODEL, states=10_000)


@pytest.mark.parametrize("scribbles", [1, 2])
def test_whatever_was_written_over_both_sides_attach_again(tmp_path, scribbles):
    holds(tmp_path, f"SCRIBBLES={scribbles}", model=ATTACHMENT, states=1000)


@pytest.mark.parametrize("kills", [0, 1])
def test_a_lane_tells_the_newest_and_nothing_that_was_not_said(tmp_path, kills):
    holds(tmp_path, f"KILLS={kills}", model=LANE, states=1000)


def test_what_is_said_to_be_kept_is_kept_whole(tmp_path):
    holds(tmp_path, "KILLS=2", model=KEEP, states=1000)


@pytest.mark.parametrize("model, rule", [
    (model, rule) for model, rules in (
        (MODEL, "NO_RECHECK NO_SPACE_RECHECK NO_ATTACH_KICK EARLY_PUBLISH EARLY_TAIL NO_DETACH NO_SECOND_LOOK OLD_EPOCH"),
        (ATTACHMENT, "NO_ASK_ANEW NO_ANSWER_ANEW NO_FACTS NO_REPEAT"), (LANE, "NO_CHECK NO_LIFE EVENT NO_LIFE_NEWS"),
        (KEEP, "NO_CHECK NO_LIFE EARLY NO_WAIT"))
    for rule in rules.split()], ids=lambda v: getattr(v, "stem", v))
def test_a_rule_left_out_is_found(tmp_path, model, rule):
    found, output = errors(tmp_path, rule, model=model)
    assert found == 1 and "assertion violated" in output
