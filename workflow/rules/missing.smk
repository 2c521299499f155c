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
        numbers=update(FILES.missing),
        page=update(FILES.missing_page),
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
    shell:
        "pkdot missing --manifest {input.manifest} --grid {input.grid} --folds {input.folds}"
        " --out $(dirname {output.page}) --params {params.cfg:q} 2> {log}"


rule refit_any:
    """Make the bundle of the model for whatever modalities are there, trained on all subjects."""
    input:
        manifest=rules.ingest.output.manifest,
        about=rules.ingest.output.about,
        splits=rules.splits.output,
        embeddings=of_all(rules.encoder.output.embeddings),
        encoders=of_all(rules.encoder.output.weights),
        described=of_all(rules.encoder.output.network),
        networks=FILES.missing_fold(ALL),
        missing=FILES.missing,
    output:
        student=FILES.any_student,
        weights=FILES.any_student.with_name(WEIGHTS),
        card=FILES.any_student.with_name(CARD),
    log:
        f"{LOGS}/refit_any.log",
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        cfg=job_params("refit_any", "experiment"),
    shell:
        "pkdot refit_any --manifest {input.manifest} --splits {input.splits} --embeddings {input.embeddings}"
        " --networks {input.networks} --missing {input.missing} --out $(dirname {output.student})"
        " --params {params.cfg:q} 2> {log}"
