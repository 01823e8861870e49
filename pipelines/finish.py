"""Makes a compiled pipeline whole: recipe, cluster and lint. No kfp SDK here: the chart's upload job does the same."""

from __future__ import annotations

from audiotune.errors import PipelineError
from pipelines.cluster.placement import place_tasks
from pipelines.cluster.settings import Cluster
from pipelines.documents import Documents
from pipelines.form import fill_form
from pipelines.lint import find_faults
from pipelines.recipe import Recipe


def finish_pipeline(documents: Documents, recipe: Recipe, cluster: Cluster | None = None) -> Documents:
    """The pipeline as it is uploaded. What was filled in before is replaced, so it may be finished anew.

    Args:
        documents: a compiled pipeline, neutral or finished.
        recipe: defaults of the form and settings of the steps.
        cluster: the facts of one cluster; None takes the recipe's own table and does not ask for images by digest.

    Raises:
        PipelineError: the lint found faults; each is named.
    """
    facts = cluster or recipe.cluster
    made = place_tasks(fill_form(documents, recipe, facts), facts)
    faults = find_faults(made, for_cluster=cluster is not None)
    if faults:
        where = str(made[0]["pipelineInfo"]["name"])
        raise PipelineError("the compiled pipeline breaks rules: " + "; ".join(faults), where=where)
    return made
