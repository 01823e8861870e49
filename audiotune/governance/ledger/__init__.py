"""The ledger: everything that was agreed, given, withdrawn and decided, as signed events that are only ever appended."""
