"""The contest: all seeds of a method on a fold in one job, so that one method can be rerun alone."""


rule students:
    """Train the students of a method on a fold."""
    input:
        manifest=rules.ingest.output.manifest,
        about=rules.ingest.output.about,
        splits=rules.splits.output,
        embeddings=by_modality(rules.encoder.output.embeddings),
        encoders=by_modality(rules.encoder.output.weights),
        teachers=teachers_of_students,
        tnets=tnets_of_students,
        features=features_of_students,
    output:
        marker=FILES.choice("{fold}", "{method}"),
    log:
        f"{LOGS}/students/{{fold}}-{{method}}.log",
    conda:
        "../../environment.yml"
    threads: compute_threads
    resources:
        mem_mb=2000,
        runtime=120,
    params:
        cfg=job_params("students", "fold", "method"),
    shell:
        "pkdot students --manifest {input.manifest} --splits {input.splits} --embeddings {input.embeddings}"
        " --teachers $(dirname {input.teachers}) --out $(dirname {output.marker}) --params {params.cfg:q} 2> {log}"
