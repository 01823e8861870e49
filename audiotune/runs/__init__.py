"""Pipeline runs: the form that starts one and the state it is in."""
