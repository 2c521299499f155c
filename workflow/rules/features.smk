"""From raw files to arrays: shards of subjects, one index a modality, one ledger."""


rule features:
    """Turn the raw files of one shard of one modality into arrays."""
    input:
        manifest=manifest_of_shard,
        root=marker_of_root,
        mark=mark_of_shard,
    output:
        array=FILES.shard("{modality}", "{shard}", ".npy"),
        index=FILES.shard("{modality}", "{shard}", ".parquet"),
        ledger=FILES.shard("{modality}", "{shard}", ".ledger.csv"),
    log:
        f"{LOGS}/features/{{modality}}-{{shard}}.log",
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=240,
    params:
        cfg=job_params("features", "modality", "shard"),
        ingest=job_params("ingest"),
        samples=str(FILES.shard_samples("{modality}", "{shard}")),
    shell:
        "pkdot features --samples {params.samples} --out $(dirname {output.array}) --params {params.cfg:q} 2> {log}"


rule index:
    """Make one index of the shards of a modality."""
    input:
        shards=by_shard(rules.features.output.index),
        ledgers=by_shard(rules.features.output.ledger),
    output:
        index=FILES.index("{modality}"),
        ledger=FILES.index_ledger("{modality}"),
    log:
        f"{LOGS}/index/{{modality}}.log",
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        cfg=job_params("index", "modality"),
    shell:
        "pkdot index --shards {input.shards} --out $(dirname {output.index}) --params {params.cfg:q} 2> {log}"


rule ledger:
    """Make one ledger of all its parts."""
    input:
        ingest=rules.ingest.output.ledger,
        modalities=by_modality(rules.index.output.ledger),
    output:
        FILES.ledger,
    log:
        f"{LOGS}/ledger.log",
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        cfg=job_params("ledger"),
    shell:
        "pkdot ledger --ledgers {input.ingest} {input.modalities} --out $(dirname {output}) --params {params.cfg:q} 2> {log}"
