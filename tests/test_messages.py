"""What a run that failed says: commands without their parameters, and the sentences of the jobs last."""

import logging
import os

from pkdot.messages import ShortCommands, last_words, shortened

COMMAND = (
    "set -euo pipefail; export PYTHONPATH=/a PKDOT_LOCK=.snakemake/pkdot.lock; pkdot() (exec /b/python -m pkdot "
    """"$@");  pkdot splits --manifest m --params '{"code":"1","params":{"list":["a b"]}}' 2> logs/splits.log"""
)
SHORT = "pkdot splits --manifest m --params ... 2> logs/splits.log"


def test_a_command_is_told_without_its_parameters_and_its_preamble():
    assert shortened(COMMAND) == SHORT
    assert shortened("nothing to leave out --params here") == "nothing to leave out --params here"


def test_every_text_of_a_message_is_shortened(caplog):
    logger = logging.getLogger("a run")
    logger.addFilter(ShortCommands())
    jobs = [{"shellcmd": COMMAND, "jobid": 3}]
    logger.error(f"Command '{COMMAND}' failed", extra={"shellcmd": COMMAND, "job_error_info": jobs})
    (record,) = caplog.records
    assert record.getMessage() == f"Command '{SHORT}' failed"
    assert record.shellcmd == jobs[0]["shellcmd"] == SHORT


def test_failed_jobs_have_the_last_word(tmp_path):
    logs = {
        "splits": "pkdot splits: too few subjects.\n",
        "encoder/0-face": "step 20 of 300: training loss 0.5\npkdot encoder: one.\npkdot encoder: two,\nin lines.\n",
        "features/eda-0": "eda shard_0:   0%|  | 0/24\rpkdot features: no space is left on the disk.",
        "students/0-kd": "Traceback (most recent call last):\n  File x\nKeyError: 'a'\n",
        "fine": "step 20 of 300: training loss 0.5\n",
        "empty": "",
        "of an earlier run": "pkdot splits: another reason.\n",
    }
    for name, text in logs.items():
        path = tmp_path / f"{name}.log"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        os.utime(path, (100 - 50 * ("earlier" in name), 100 - 50 * ("earlier" in name)))
    (tmp_path / "folder.log").mkdir()
    (tmp_path / "nowhere.log").symlink_to("nothing")
    assert last_words(tmp_path, since=90) == [
        f"{tmp_path}/encoder/0-face.log: pkdot encoder: two,\nin lines.",
        f"{tmp_path}/features/eda-0.log: pkdot features: no space is left on the disk.",
        f"{tmp_path}/splits.log: pkdot splits: too few subjects.",
        f"{tmp_path}/students/0-kd.log: KeyError: 'a'",
    ]
