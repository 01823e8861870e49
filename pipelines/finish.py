"""Finishes a compiled pipeline with recipe, cluster and lint, without the kfp SDK: the chart's upload job does this, too."""

from audiotune.errors import PipelineError
from pipelines.cluster.placement import place_tasks
from pipelines.cluster.settings import Cluster
from pipelines.documents import Documents
from pipelines.form import fill_form
from pipelines.lint import find_faults
from pipelines.recipe import Recipe


def finish_pipeline(documents: Documents, recipe: Recipe, cluster: Cluster | None = None) -> Documents:
    """The pipeline as it is uploaded. Values that were filled in earlier are replaced, so it may be finished again.

    Args:
        documents: a compiled pipeline, finished or not.
        recipe: defaults of the form and settings of the steps.
        cluster: the facts of one cluster, whose images must be named by digest; None takes the recipe's own table.

    Raises:
        PipelineError: the lint found faults; each is named.
    """
    facts = cluster or recipe.cluster
    finished = place_tasks(fill_form(documents, recipe, facts), facts)
    if faults := find_faults(finished, for_cluster=cluster is not None):
        where = str(finished[0]["pipelineInfo"]["name"])
        raise PipelineError("the compiled pipeline breaks rules: " + "; ".join(faults), where=where)
    return finished
