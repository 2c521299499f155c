"""Modalities that come and go: models for whatever is there, one job a fold, and the page of them."""


rule completion:
    """Train and score the models for missing modalities on a fold."""
    input:
        manifest=rules.ingest.output.manifest,
        about=rules.ingest.output.about,
        splits=rules.splits.output,
        embeddings=by_modality(rules.encoder.output.embeddings),
        encoders=by_modality(rules.encoder.output.weights),
        teachers=FILES.teachers_summary("{fold}"),
    output:
        networks=FILES.missing_fold("{fold}"),
        masks=FILES.missing_fold("{fold}").with_suffix(f".{MASKS}"),
        sums=FILES.missing_fold("{fold}").with_suffix(f".{SUMS}"),
    log:
        f"{LOGS}/completion/{{fold}}.log",
    conda:
        "../../environment.yml"
    threads: compute_threads
    resources:
        mem_mb=2000,
        runtime=120,
    params:
        cfg=job_params("completion", "fold"),
    shell:
        "pkdot completion --manifest {input.manifest} --splits {input.splits} --embeddings {input.embeddings}"
        " --teachers $(dirname {input.teachers}) --out $(dirname {output.networks}) --params {params.cfg:q} 2> {log}"


rule missing:
    """Write the page of missing modalities."""
    input:
        manifest=rules.ingest.output.manifest,
        about=rules.ingest.output.about,
        grid=by_fold(rules.completion.output.networks),
        sums=by_fold(rules.completion.output.sums),
        folds=by_fold(FILES.fold("{fold}")),
        predictions=by_fold(FILES.fold_predictions("{fold}")),
    output:
        numbers=FILES.missing,
        page=FILES.missing_page,
    log:
        f"{LOGS}/missing.log",
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        cfg=job_params("missing", "experiment"),
        looks=LOOKS,
    shell:
        "pkdot missing --manifest {input.manifest} --grid {input.grid} --folds {input.folds}"
        " --out $(dirname {output.page}) --params {params.cfg:q} 2> {log}"
