"""One encoder a modality and a fold; trained, frozen, and run over all samples once."""

from pkdot.layout import EMBEDDINGS, HISTORY, METRICS, NETWORK, WEIGHTS

ENCODER = FILES.encoder("{fold}", "{modality}")


rule encoder:
    """Train an encoder on a fold and embed all samples."""
    input:
        manifest=rules.ingest.output.manifest,
        about=rules.ingest.output.about,
        splits=rules.splits.output,
        features=rules.index.output.index,
        arrays=by_shard(rules.features.output.array),
    output:
        weights=ENCODER / WEIGHTS,
        embeddings=ENCODER / EMBEDDINGS,
        history=ENCODER / HISTORY,
        metrics=ENCODER / METRICS,
        network=ENCODER / NETWORK,
    log:
        f"{LOGS}/encoder/{{fold}}-{{modality}}.log",
    conda:
        "../../environment.yml"
    threads: compute_threads
    resources:
        mem_mb=4000,
        runtime=480,
    params:
        cfg=job_params("encoder", "modality", "fold"),
    shell:
        "pkdot encoder --manifest {input.manifest} --splits {input.splits} --features $(dirname {input.features})"
        " --out $(dirname {output.weights}) --params {params.cfg:q} 2> {log}"
