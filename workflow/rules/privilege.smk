"""When privilege pays: the contest with few and with wrong labels, one job a cell and a fold, and the page of them."""


rule cell:
    """Train and score all methods with the labels of a cell, on a fold."""
    input:
        manifest=rules.ingest.output.manifest,
        about=rules.ingest.output.about,
        features=by_modality(rules.index.output.index),
        arrays=lambda wildcards: expand(
            rules.features.output.array,
            experiment=wildcards.experiment,
            modality=experiment(wildcards.experiment).modalities,
            shard=range(experiment(wildcards.experiment).shards),
        ),
    output:
        metrics=FILES.cell("{cell}", "{fold}"),
        predictions=FILES.cell_predictions("{cell}", "{fold}"),
    log:
        f"{LOGS}/cell/{{cell}}-{{fold}}.log",
    priority: -1  # nothing waits for one but the page, so cells fill what the contest leaves free
    conda:
        "../../environment.yml"
    threads: compute_threads
    resources:
        mem_mb=4000,
        runtime=480,
    params:
        cfg=job_params("cell", "cell", "fold"),
    shell:
        "pkdot cell --manifest {input.manifest} --features {input.features} --out $(dirname {output.metrics})"
        " --params {params.cfg:q} 2> {log}"


rule privilege:
    """Write the page of when privilege pays."""
    input:
        manifest=rules.ingest.output.manifest,
        about=rules.ingest.output.about,
        cells=cells_of(rules.cell.output.metrics),
        predictions=cells_of(rules.cell.output.predictions),
    output:
        numbers=FILES.privilege,
        page=update(FILES.privilege_page),
    log:
        f"{LOGS}/privilege.log",
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        cfg=job_params("privilege", "experiment"),
        below=lambda wildcards: jobs.all_cells(experiment(wildcards.experiment)),
    shell:
        "pkdot privilege --manifest {input.manifest} --cells {input.cells} --out $(dirname {output.page})"
        " --params {params.cfg:q} 2> {log}"
