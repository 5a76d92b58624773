"""Stands for `nablafx fit` and `nablafx test` where it is on PYTHONPATH, or is run: their files without their work.

STUB_STEPS validations, STUB_SECONDS apart; STUB_STARTS is a file with a line of JSON for each start. A run whose name
has `fails` in it fails at its first step, one with `stumbles` once.
"""

import json
import os
import sys
import time
from itertools import pairwise
from pathlib import Path


def fit(words):
    given = dict(pairwise(words))
    if "--ckpt_path" in given:
        folder = Path(given["-c"]).parent
        record = json.loads((folder / "run.json").read_text())
        step = int((folder / "checkpoints/last.ckpt").read_text())
    else:
        parent = Path(given["--log_root"], given["--name"])
        folder = parent / f"version_{len(list(parent.glob('version_*')))}"
        (folder / "checkpoints").mkdir(parents=True)
        (folder / "config.yaml").write_text("{}")
        (folder / "history.csv").write_text("step,loss/val/total\n")
        record = {"name": given["--name"], "seed": int(given["--seed_everything"]), "finished": False}
        step = 0
    (folder / "run.json").write_text(json.dumps(record))
    if "fails" in record["name"] or ("stumbles" in record["name"] and not step):
        if "stumbles" in record["name"]:
            (folder / "checkpoints/last.ckpt").write_text("1")
        print("it fails")
        sys.exit(3)
    lr = float(next((word.partition("=")[2] for word in words if word.startswith("--model.lr=")), 0))
    while step < int(os.environ.get("STUB_STEPS", 1)):
        time.sleep(float(os.environ.get("STUB_SECONDS", 0)))
        step += 1
        with (folder / "history.csv").open("a") as file:
            file.write(f"{step},{lr + 1 / step}\n")
        (folder / "checkpoints/last.ckpt").write_text(str(step))
    (folder / "run.json").write_text(json.dumps({**record, "finished": True}))


def main(words):
    if "STUB_STARTS" in os.environ:
        with open(os.environ["STUB_STARTS"], "a") as file:
            file.write(json.dumps({"words": words, "pid": os.getpid(), "environment": dict(os.environ)}) + "\n")
    if words[0] == "fit":
        fit(words[1:])
    else:
        (Path(words[2]).parent / "metrics.csv").write_text("file,esr\nall,0.1\n")


if __name__ == "__main__":
    main(sys.argv[1:])
elif sys.orig_argv[1:3] == ["-m", "nablafx"] and sys.orig_argv[3] in ("fit", "test"):
    try:
        main(sys.orig_argv[3:])
    except SystemExit as ending:
        os._exit(ending.code)
    os._exit(0)
