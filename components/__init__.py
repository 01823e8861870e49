"""The verbs: equal rooms, none imports another."""
