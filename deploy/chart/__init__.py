"""The chart's values as types, and what is generated from them: schema, commented values, rules, reference page, graph."""
