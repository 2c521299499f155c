"""The joint teacher, the teachers of single modalities and T-Net: all seeds of a fold in one job."""


rule teachers:
    """Train the teachers and the T-Nets of a fold."""
    input:
        manifest=rules.ingest.output.manifest,
        about=rules.ingest.output.about,
        splits=rules.splits.output,
        embeddings=by_modality(rules.encoder.output.embeddings),
    output:
        marker=FILES.teachers_summary("{fold}", "{arm}"),
    log:
        f"{LOGS}/{{arm}}teachers/{{fold}}.log",
    conda:
        "../../environment.yml"
    threads: compute_threads
    resources:
        mem_mb=2000,
        runtime=120,
    params:
        cfg=job_params("teachers", "fold", "arm"),
    shell:
        "pkdot teachers --manifest {input.manifest} --splits {input.splits} --embeddings {input.embeddings}"
        " --out $(dirname {output.marker}) --params {params.cfg:q} 2> {log}"


rule tnets:
    """Train the T-Nets of another kind on a fold, for variants of the ablation."""
    input:
        manifest=rules.ingest.output.manifest,
        about=rules.ingest.output.about,
        splits=rules.splits.output,
        embeddings=by_modality(rules.encoder.output.embeddings),
        teachers=FILES.teachers_summary("{fold}"),
    output:
        marker=FILES.tnets("{fold}", "{tnet}"),
    log:
        f"{LOGS}/tnets/{{fold}}-{{tnet}}.log",
    conda:
        "../../environment.yml"
    threads: compute_threads
    resources:
        mem_mb=2000,
        runtime=120,
    params:
        cfg=job_params("tnets", "fold", "tnet"),
    shell:
        "pkdot tnets --manifest {input.manifest} --splits {input.splits} --embeddings {input.embeddings}"
        " --teachers $(dirname {input.teachers}) --out $(dirname {output.marker}) --params {params.cfg:q} 2> {log}"
