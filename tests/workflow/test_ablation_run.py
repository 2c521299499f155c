"""A variant with another T-Net makes that one due, once a fold, and nothing of the contest."""

from __future__ import annotations

from synthetic import write_config

from pkdot.files import read_json
from tests.workflow.conftest import jobs_of, planned_jobs, snakemake, tiny_config

KD = {"method": {"name": "kd", "weight": 1}}
VARIANTS = {
    "own": KD,
    "proxy": {**KD, "tnet_kind": "attention"},
    "again": {**KD, "tnet_kind": "attention", "start": "random"},
    "equal": {**KD, "tnet_kind": "attention", "tnet": "matched"},
}


def test_t_nets_of_variants_are_jobs_of_their_own(finished):
    config = {**tiny_config(), "ablation": VARIANTS}
    config["evaluation"] = {**config["evaluation"], "ablation_reference": "own"}
    write_config(finished / "config" / "tiny.yaml", config)
    due = planned_jobs(finished, "results/tiny/ablation.html")
    assert due == ["ablation", *["fold"] * 2, *["students"] * 8, "summary", *["tnets"] * 2]
    done = jobs_of(snakemake(finished, "results/tiny/students/fold_0/proxy.json"))
    assert done == ["students", "tnets"]
    metrics = read_json(finished / "results/tiny/students/fold_0/seed_0/proxy/metrics.json")
    trained = read_json(finished / "results/tiny/teachers/fold_0/tnet_attention.json")
    assert metrics["tnet"]["trained"] == trained["0"]["test"]
