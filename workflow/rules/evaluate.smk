"""Metrics of a fold, and of all folds; `contest` is empty, or `ablation/` for the variants of a method."""


rule foreign:
    """Check the predictions of a model from elsewhere."""
    input:
        manifest=rules.ingest.output.manifest,
        about=rules.ingest.output.about,
        splits=rules.splits.output,
        predictions=foreign_file,
    output:
        marker=FILES.foreign_marker("{method}"),
    log:
        f"{LOGS}/foreign/{{method}}.log",
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        cfg=job_params("foreign", "method"),
    shell:
        "pkdot foreign --manifest {input.manifest} --splits {input.splits} --predictions {input.predictions:q}"
        " --out $(dirname {output.marker}) --params {params.cfg:q} 2> {log}"


rule fold:
    """Score all methods on a fold."""
    input:
        manifest=rules.ingest.output.manifest,
        about=rules.ingest.output.about,
        teachers=FILES.teachers_summary("{fold}"),
        students=lambda wildcards: expand(
            rules.students.output.marker,
            method=jobs.contestants(
                experiment(wildcards.experiment), wildcards.contest
            ),
            **wildcards,
        ),
        foreign=lambda wildcards: expand(
            rules.foreign.output.marker,
            method=(
                []
                if wildcards.contest
                else experiment(wildcards.experiment).evaluation.foreign
            ),
            **wildcards,
        ),
    output:
        metrics=FILES.fold("{fold}", "{contest}"),
        predictions=FILES.fold_predictions("{fold}", "{contest}"),
    log:
        f"{LOGS}/{{contest}}fold/{{fold}}.log",
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        cfg=job_params("fold", "fold", "contest"),
        students=str(FILES.students("{fold}")),
        foreign=str(FILES.foreign / fold_name("{fold}")),
    shell:
        "pkdot fold --manifest {input.manifest} --teachers $(dirname {input.teachers}) --students {params.students}"
        " --foreign {params.foreign}"
        " --out $(dirname {output.metrics}) --params {params.cfg:q} 2> {log}"


rule summary:
    """Compare all methods over all folds."""
    input:
        manifest=rules.ingest.output.manifest,
        about=rules.ingest.output.about,
        folds=by_fold(rules.fold.output.metrics),
        predictions=by_fold(rules.fold.output.predictions),
        choices=lambda wildcards: expand(
            rules.students.output.marker,
            experiment=wildcards.experiment,
            method=experiment(wildcards.experiment).prevalent_only,
            fold=range(experiment(wildcards.experiment).splits.fold_count),
        ),
    output:
        predictions=FILES.predictions("{contest}"),
        metrics=FILES.metrics("{contest}"),
        summary=FILES.summary("{contest}"),
        means=FILES.means("{contest}"),
    log:
        f"{LOGS}/{{contest}}summary.log",
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        cfg=job_params("summary", "experiment", "contest"),
    shell:
        "pkdot summary --manifest {input.manifest} --folds {input.folds} --choices {input.choices}"
        " --out $(dirname {output.summary}) --params {params.cfg:q} 2> {log}"
