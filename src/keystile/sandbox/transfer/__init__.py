"""Load, copy and extract jobs, and the uploads that bring data for loads.

Sources of fact: `JobConfigurationLoad`, `JobConfigurationTableCopy`, `JobConfigurationExtract` of
the API, and what Google's clients send. INVARIANT: a job that fails changes no table.
"""
