"""Scripts: the second kind of source. Decorators are a third spelling of marks; what comes out is a `Pipeline` like any other."""
