"""Scripts: the second kind of source. `@step` and `@pipeline` are a third spelling of marks; what comes out is a `Pipeline` like any other."""
