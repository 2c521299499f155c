"""The student that ships: encoders, teachers and the chosen method once more, on all subjects."""


rule refit:
    """Train the student that ships on all subjects."""
    input:
        manifest=rules.ingest.output.manifest,
        about=rules.ingest.output.about,
        splits=rules.splits.output,
        embeddings=of_all(rules.encoder.output.embeddings),
        encoders=of_all(rules.encoder.output.weights),
        networks=of_all(rules.encoder.output.network),
        teachers=FILES.teachers_summary(ALL),
        choices=lambda wildcards: expand(
            rules.students.output.marker,
            experiment=wildcards.experiment,
            method=[
                choice.name
                for choice in jobs.refit(
                    experiment(wildcards.experiment), wildcards.experiment
                ).methods
            ],
            fold=range(experiment(wildcards.experiment).splits.fold_count),
        ),
        summary=FILES.summary(),
        predictions=FILES.predictions(),
    output:
        student=FILES.student,
        weights=FILES.student.with_name(WEIGHTS),
        card=FILES.student.with_name(CARD),
    log:
        f"{LOGS}/refit.log",
    conda:
        "../../environment.yml"
    threads: compute_threads
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        cfg=job_params("refit", "experiment"),
    shell:
        "pkdot refit --manifest {input.manifest} --splits {input.splits} --embeddings {input.embeddings}"
        " --teachers $(dirname {input.teachers}) --choices {input.choices} --summary {input.summary}"
        " --out $(dirname {output.student}) --params {params.cfg:q} 2> {log}"
