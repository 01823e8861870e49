"""The facts of a cluster, and what the compiled pipelines and the namespace of the runs need because of them."""
