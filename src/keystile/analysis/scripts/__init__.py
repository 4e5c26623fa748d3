"""Scripts: taken apart into texts, each of which is analysed by itself.

`split` takes the text apart, `parts` are the values that come of it, `state` and `tables` follow
what runs before what and which table a name may mean there, and `analysis` puts it all together.
"""
